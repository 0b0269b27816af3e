/** Node (v1) into a Node row and the Block rows of its pod ranges. */
import { familyOf, type IpAddress, overlaps, type Prefix } from "@weft/base";
import { type Block, NETWORK_LABEL, type Node, type NodeNetwork } from "@weft/model";
import { prefixOf, refuseSpecial, unicastOf } from "./addresses.ts";
import { type Field, isMapping } from "./field.ts";
import { type Metadata, originOf, readMetadata } from "./metadata.ts";
import { hasEffect, NODE_SPEC_KNOWN, type Notes, noteOthers } from "./unhonoured.ts";

const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];

const ZONE_LABEL = "topology.kubernetes.io/zone";
const AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler";

export interface NodeRows {
  readonly node: Node;
  readonly blocks: readonly Block[];
}

export function readNode(object: Field, notes: Notes): NodeRows {
  const metadata = readMetadata(object, notes);
  const spec = object.at("spec");
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  noteOthers(spec, ["podCIDR", "podCIDRs", "providerID", "externalID"], NODE_SPEC_KNOWN, notes);
  const name = metadata.name ?? "";
  const blocks = readRanges(spec).map(({ prefix, field }): Block => {
    return { prefix, node: name, origin: originOf("Node", metadata, false, field) };
  });
  const addresses = readAddresses(object.at("status").at("addresses"));
  const zone = metadata.labels[ZONE_LABEL];
  const network = networkOf(metadata);
  const node: Node = {
    name,
    addresses,
    ...(zone === undefined || zone === "" ? {} : { zone }),
    ...(isLeaving(object) ? { leaving: true as const } : {}),
    origin: originOf("Node", metadata, false),
    ...(network === undefined ? {} : { network }),
  };
  return { node, blocks };
}

/** Deleted, or chosen by the cluster autoscaler: what kube-proxy's health server answers 503 for (KEP-3836). */
function isLeaving(object: Field): boolean {
  if (hasEffect(object.at("metadata").at("deletionTimestamp").value)) return true;
  const taints = object.at("spec").at("taints").value;
  return Array.isArray(taints) && taints.some((t: unknown) => isMapping(t) && t["key"] === AUTOSCALER_TAINT);
}

/** Any other value counts as none, as it does for the agents' DaemonSet: a slip must not take a node's routes away. */
function networkOf({ labels }: Metadata): NodeNetwork | undefined {
  const value = labels[NETWORK_LABEL];
  return value === "weft" || value === "other" ? value : undefined;
}

/** The first InternalIP of each family, in the order of the list. */
function readAddresses(list: Field): IpAddress[] {
  const found: IpAddress[] = [];
  let internal = 0;
  for (const item of list.items()) {
    const type = item.at("type").requiredString();
    if (type !== undefined && !ADDRESS_TYPES.includes(type))
      item.at("type").fault(unsupported(type, ADDRESS_TYPES));
    if (type !== "InternalIP") continue;
    internal++;
    const address = item.at("address");
    const ip = unicastOf(address);
    if (ip === undefined) continue;
    if (!found.some((other) => familyOf(other) === familyOf(ip))) found.push(ip);
  }
  if (internal === 0 && (!list.present || Array.isArray(list.value))) {
    list.required("the address of type InternalIP at which other nodes reach this one");
  }
  return found;
}

function readRanges(spec: Field): { prefix: Prefix; field: string }[] {
  const list = spec.at("podCIDRs");
  const single = spec.at("podCIDR");
  const items = list.items();
  const first = items[0];
  if (first !== undefined && hasEffect(single.value) && single.value !== first.value) {
    single.invalid(`must be the same as ${first.text}`);
  }
  const fields = first === undefined && hasEffect(single.value) ? [single] : items;
  const ranges: { prefix: Prefix; field: string }[] = [];
  for (const field of fields) {
    const prefix = prefixOf(field);
    if (prefix === undefined || refuseSpecial(field, prefix)) continue;
    const other = ranges.find((r) => overlaps(r.prefix, prefix));
    if (other !== undefined) field.invalid(`overlaps ${other.prefix} of ${other.field}`);
    else ranges.push({ prefix, field: field.text });
  }
  return ranges;
}

export const unsupported = (value: string, allowed: readonly string[]): string =>
  `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed.map((a) => `"${a}"`).join(", ")}`;
