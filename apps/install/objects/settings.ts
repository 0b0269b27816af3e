/** The namespace, and the settings that agents find at /etc/weft/settings.yaml and read again when they change. */
import type { KubernetesObject } from "@weft/cluster/client";
import { stringify } from "yaml";
import type { InstallOptions } from "../options.ts";
import { MANAGED_LABEL, NAME_LABEL, NAMES, selectorOf } from "./labels.ts";

/** Agents use the host's network and namespaces, which only the policy "privileged" lets them. */
export const namespaceObject = (name: string): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: {
    name,
    labels: {
      [NAME_LABEL]: "weft",
      [MANAGED_LABEL]: "weft-install",
      "pod-security.kubernetes.io/enforce": "privileged",
      "pod-security.kubernetes.io/audit": "privileged",
      "pod-security.kubernetes.io/warn": "privileged",
    },
  },
});

export const settingsObject = ({ namespace, settings }: InstallOptions): KubernetesObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: NAMES.settings, namespace, labels: selectorOf("settings") },
  data: { "settings.yaml": stringify(settings) },
});
