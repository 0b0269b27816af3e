/**
 * The controllers: several, of whom an election makes one write. On the node's own network, because they are what
 * declares pods' network fit; tolerating every taint that keeps pods off, because they are what removes some. From a
 * node that is not ready or not reachable they move on after five minutes like any pod (of several tolerations for
 * one taint the first counts).
 */
import type { KubernetesObject } from "@weft/cluster/client";
import { securityContext } from "../capabilities.ts";
import type { InstallOptions } from "../options.ts";
import { NAMES, selectorOf } from "./labels.ts";
import { apiServerEnvironment, SECURITY, TEMPORARY } from "./pod.ts";

/** There once the API server has answered. */
const READY_FILE = "/tmp/ready";

const LEAVES = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map((key) => ({
  key,
  operator: "Exists",
  effect: "NoExecute",
  tolerationSeconds: 300,
}));

export const controllerObject = (options: InstallOptions): KubernetesObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: NAMES.controller, namespace: options.namespace, labels: selectorOf("controller") },
  spec: {
    replicas: options.controllerReplicas,
    selector: { matchLabels: selectorOf("controller") },
    template: { metadata: { labels: selectorOf("controller") }, spec: podSpec(options) },
  },
});

const podSpec = (options: InstallOptions): object => ({
  serviceAccountName: NAMES.controller,
  hostNetwork: true,
  dnsPolicy: "Default",
  nodeSelector: { "kubernetes.io/os": "linux" },
  priorityClassName: "system-cluster-critical",
  tolerations: [...LEAVES, { operator: "Exists" }],
  affinity: {
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          podAffinityTerm: {
            labelSelector: { matchLabels: selectorOf("controller") },
            topologyKey: "kubernetes.io/hostname",
          },
        },
      ],
    },
  },
  terminationGracePeriodSeconds: 10,
  securityContext: { ...SECURITY, runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532 },
  containers: [
    {
      name: "controller",
      image: options.image,
      imagePullPolicy: options.imagePullPolicy,
      command: [
        ...["/bin/weft", "controller", "--namespace", "$(NAMESPACE)", "--identity", "$(POD_NAME)"],
        ...["--ready-file", READY_FILE],
      ],
      env: [
        { name: "NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
        { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        ...apiServerEnvironment(options),
      ],
      terminationMessagePolicy: "FallbackToLogsOnError",
      securityContext: securityContext([]),
      resources: { requests: { cpu: "10m", memory: "64Mi" } },
      readinessProbe: {
        exec: { command: ["/bin/weft", "controller", "ready", "--file", READY_FILE] },
        periodSeconds: 5,
        timeoutSeconds: 10,
      },
      volumeMounts: [TEMPORARY.mount],
    },
  ],
  volumes: [TEMPORARY.volume],
});
