/**
 * Who may do what. An agent reads, and writes nothing but events and, in clusters with pools, blocks of addresses: whoever
 * takes over a node gets no right to change another, but could take addresses away or give them out twice (ARCHITECTURE.md,
 * "In a cluster"). The controller writes blocks too, what it finds about pools, and of nodes only their status and their
 * taints (the API has no finer right than to patch a node).
 */
import type { KubernetesObject } from "@weft/cluster/client";
import { API_GROUP } from "@weft/model";
import type { InstallOptions } from "../options.ts";
import { type Component, NAMES, selectorOf } from "./labels.ts";

const API = "rbac.authorization.k8s.io";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const BLOCK_VERBS = ["get", "list", "watch", "create", "update", "delete"];

const AGENT: readonly Rule[] = [
  { apiGroups: [""], resources: ["nodes", "services"], verbs: ["list", "watch"] },
  // A pod that has just been bound is asked for, when what it wants of pools is not known yet.
  { apiGroups: [""], resources: ["pods", "namespaces"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list", "watch"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: [API_GROUP], resources: ["ippools"], verbs: ["get", "list", "watch"] },
  { apiGroups: [API_GROUP], resources: ["ipblocks", "ipblocks/status"], verbs: BLOCK_VERBS },
];

const CONTROLLER: readonly Rule[] = [
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch", "patch"] },
  { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list", "watch"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
  // Its finalizer is part of a pool, and the pool itself nobody's but its author's.
  { apiGroups: [API_GROUP], resources: ["ippools"], verbs: ["get", "list", "watch", "update"] },
  { apiGroups: [API_GROUP], resources: ["ippools/status"], verbs: ["update"] },
  { apiGroups: [API_GROUP], resources: ["ipblocks"], verbs: ["get", "list", "watch", "update", "delete"] },
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
