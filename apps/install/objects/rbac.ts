/**
 * Who may do what. An agent reads, and writes nothing but events: whoever takes over a node gets no right to change
 * another. The controller alone writes, and of nodes only their status and their taints (the API has no finer right than
 * to patch a node).
 */
import type { KubernetesObject } from "@weft/cluster/client";
import type { InstallOptions } from "../options.ts";
import { type Component, NAMES, selectorOf } from "./labels.ts";

const API = "rbac.authorization.k8s.io";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const AGENT: readonly Rule[] = [
  { apiGroups: [""], resources: ["nodes", "pods", "services"], verbs: ["list", "watch"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list", "watch"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

const CONTROLLER: readonly Rule[] = [
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch", "patch"] },
  { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

/** In its own namespace: the agents' pods, and the lease of its election. */
const CONTROLLER_AT_HOME: readonly Rule[] = [
  { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    resourceNames: [NAMES.controller],
    verbs: ["get", "update"],
  },
];

export function rbac({ namespace }: InstallOptions): KubernetesObject[] {
  return [
    account("agent", namespace),
    account("controller", namespace),
    ...clusterWide("agent", AGENT, namespace),
    ...clusterWide("controller", CONTROLLER, namespace),
    ...atHome("controller", CONTROLLER_AT_HOME, namespace),
  ];
}

export const account = (component: "agent" | "controller" | "cleanup", namespace: string) => ({
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { name: NAMES[component], namespace, labels: selectorOf(component) },
});

function clusterWide(
  component: "agent" | "controller",
  rules: readonly Rule[],
  namespace: string,
): KubernetesObject[] {
  const metadata = { name: NAMES[component], labels: selectorOf(component) };
  return [
    { apiVersion: `${API}/v1`, kind: "ClusterRole", metadata, rules },
    {
      apiVersion: `${API}/v1`,
      kind: "ClusterRoleBinding",
      metadata,
      roleRef: { apiGroup: API, kind: "ClusterRole", name: NAMES[component] },
      subjects: [subject(component, namespace)],
    },
  ];
}

function atHome(component: "controller", rules: readonly Rule[], namespace: string): KubernetesObject[] {
  const metadata = { name: NAMES[component], namespace, labels: selectorOf(component) };
  return [
    { apiVersion: `${API}/v1`, kind: "Role", metadata, rules },
    {
      apiVersion: `${API}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: API, kind: "Role", name: NAMES[component] },
      subjects: [subject(component, namespace)],
    },
  ];
}

const subject = (component: Component & keyof typeof NAMES, namespace: string): object => ({
  kind: "ServiceAccount",
  name: NAMES[component],
  namespace,
});
