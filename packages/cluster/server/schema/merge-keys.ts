/**
 * By what a strategic merge patch tells the items of a list apart (the Kubernetes API reference says it of each field as
 * "patch merge key"). Lists that are not named here are replaced as a whole.
 */

/** Model and field: the key of lists of mappings; "" for lists of plain values that are merged as sets. */
const KEYS: Readonly<Record<string, string>> = {
  "V1ObjectMeta.finalizers": "",
  "V1ObjectMeta.ownerReferences": "uid",
  "V1PodSpec.containers": "name",
  "V1PodSpec.initContainers": "name",
  "V1PodSpec.ephemeralContainers": "name",
  "V1PodSpec.volumes": "name",
  "V1PodSpec.imagePullSecrets": "name",
  "V1PodSpec.hostAliases": "ip",
  "V1PodSpec.topologySpreadConstraints": "topologyKey",
  "V1PodSpec.resourceClaims": "name",
  "V1PodSpec.schedulingGates": "name",
  "V1PodStatus.conditions": "type",
  "V1PodStatus.podIPs": "ip",
  "V1PodStatus.hostIPs": "ip",
  "V1PodStatus.resourceClaimStatuses": "name",
  "V1Container.ports": "containerPort",
  "V1Container.env": "name",
  "V1Container.volumeMounts": "mountPath",
  "V1Container.volumeDevices": "devicePath",
  "V1EphemeralContainer.ports": "containerPort",
  "V1EphemeralContainer.env": "name",
  "V1EphemeralContainer.volumeMounts": "mountPath",
  "V1EphemeralContainer.volumeDevices": "devicePath",
  "V1ContainerStatus.allocatedResourcesStatus": "name",
  "V1ContainerStatus.volumeMounts": "mountPath",
  "V1NodeSpec.podCIDRs": "",
  "V1NodeStatus.addresses": "type",
  "V1NodeStatus.conditions": "type",
  "V1NamespaceStatus.conditions": "type",
  "V1ServiceSpec.ports": "port",
  "V1ServiceStatus.conditions": "type",
  "V1ServiceAccount.secrets": "name",
  "V1DeploymentStatus.conditions": "type",
  "V1ReplicaSetStatus.conditions": "type",
};

/** How a list is merged: by the key of its items, as a set, or not at all. */
export type ListMerge = { readonly by: string } | "set" | "replace";

export function listMerge(model: string | undefined, field: string): ListMerge {
  const key = model === undefined ? undefined : KEYS[`${model}.${field}`];
  if (key === undefined) return "replace";
  return key === "" ? "set" : { by: key };
}

export const mergeKeys = (): readonly string[] => Object.keys(KEYS);
