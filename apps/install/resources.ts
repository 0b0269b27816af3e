/** Kinds that an install is made of. */
import { WeftError } from "@weft/base";
import { type KubernetesObject, NAMESPACES, NODES, PODS, type Resource } from "@weft/cluster/client";

const define = (apiVersion: string, kind: string, plural: string, namespaced: boolean): Resource => ({
  apiVersion,
  kind,
  plural,
  namespaced,
});
const RBAC = "rbac.authorization.k8s.io/v1";

export { NAMESPACES };
export const CUSTOM_RESOURCES = define(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  false,
);
export const DAEMONSETS = define("apps/v1", "DaemonSet", "daemonsets", true);
export const DEPLOYMENTS = define("apps/v1", "Deployment", "deployments", true);
export const CONFIGMAPS = define("v1", "ConfigMap", "configmaps", true);
export const CORE_EVENTS = define("v1", "Event", "events", true);

const ALL: readonly Resource[] = [
  CUSTOM_RESOURCES,
  NAMESPACES,
  NODES,
  PODS,
  CONFIGMAPS,
  DAEMONSETS,
  DEPLOYMENTS,
  define("v1", "ServiceAccount", "serviceaccounts", true),
  define(RBAC, "ClusterRole", "clusterroles", false),
  define(RBAC, "ClusterRoleBinding", "clusterrolebindings", false),
  define(RBAC, "Role", "roles", true),
  define(RBAC, "RoleBinding", "rolebindings", true),
];

/** Throws "internal" for a kind that no install has. */
export function resourceOf({ apiVersion, kind }: KubernetesObject): Resource {
  const found = ALL.find((r) => r.apiVersion === apiVersion && r.kind === kind);
  if (found === undefined) throw new WeftError("internal", `no resource for ${apiVersion} ${kind}`);
  return found;
}

/** "DaemonSet weft-system/weft-agent" */
export function nameOf({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`;
}

export const placeOf = ({ metadata }: KubernetesObject): { name: string; namespace?: string } =>
  metadata.namespace === undefined
    ? { name: metadata.name }
    : { name: metadata.name, namespace: metadata.namespace };
