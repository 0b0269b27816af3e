/** What wire.json says of Kubernetes' own types (generate.ts makes it). */
import types from "./wire.json";

export interface WireField {
  /** In JSON; "" when the fields of the inner type stand in its place. */
  readonly name: string;
  /** A scalar or a type; "[]" before it is a list, "{}" a mapping. */
  readonly form: string;
  /** A zero, or an empty list or mapping, is the same as absent, and JSON does not have it. */
  readonly hidden: boolean;
}

export type WireType = ReadonlyMap<number, WireField>;

/** By "apiVersion kind"; those of any version by kind alone. */
export const ROOTS: Readonly<Record<string, string>> = {
  "v1 Namespace": "core.Namespace",
  "v1 Node": "core.Node",
  "v1 Pod": "core.Pod",
  "v1 Service": "core.Service",
  "v1 ConfigMap": "core.ConfigMap",
  "v1 Secret": "core.Secret",
  "v1 ServiceAccount": "core.ServiceAccount",
  "v1 Event": "core.Event",
  "apps/v1 Deployment": "apps.Deployment",
  "apps/v1 ReplicaSet": "apps.ReplicaSet",
  "discovery.k8s.io/v1 EndpointSlice": "discovery.EndpointSlice",
  "networking.k8s.io/v1 NetworkPolicy": "networking.NetworkPolicy",
  "networking.k8s.io/v1 ServiceCIDR": "networking.ServiceCIDR",
  "coordination.k8s.io/v1 Lease": "coordination.Lease",
  "events.k8s.io/v1 Event": "events.Event",
  "autoscaling/v1 Scale": "autoscaling.Scale",
  "v1 Binding": "core.Binding",
  "policy/v1 Eviction": "policy.Eviction",
  DeleteOptions: "meta.DeleteOptions",
};

const made = new Map<string, WireType>();

/** The fields of a type by their number; none of a type that is not known. */
export function typeOf(name: string): WireType {
  let type = made.get(name);
  if (type === undefined) {
    const entries = Object.entries((types as Record<string, Record<string, string>>)[name] ?? {});
    type = new Map(entries.map(([number, entry]) => [Number(number), fieldOf(entry)]));
    made.set(name, type);
  }
  return type;
}

/** "NAME FORM" or "NAME FORM?" */
function fieldOf(entry: string): WireField {
  const space = entry.indexOf(" ");
  const hidden = entry.endsWith("?");
  return { name: entry.slice(0, space), form: entry.slice(space + 1, hidden ? -1 : undefined), hidden };
}
