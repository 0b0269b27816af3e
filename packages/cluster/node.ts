/** Node (v1) into a Node row and the Block rows of its pod ranges. */
import {
  describeError,
  familyOf,
  hintOf,
  type IpAddress,
  overlaps,
  type Prefix,
  parseIp,
  parsePrefix,
} from "@weft/base";
import { type Block, NETWORK_LABEL, type Node, type NodeNetwork } from "@weft/model";
import type { Field } from "./field.ts";
import { type Metadata, originOf, readMetadata } from "./metadata.ts";
import { hasEffect, NODE_SPEC_KNOWN, type Notes, noteOthers } from "./unhonoured.ts";

const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];

/** Ranges that have a meaning of their own and can hold neither a node nor pods (RFC 6890). */
const SPECIAL: readonly [range: string, what: string][] = [
  ["0.0.0.0/8", '"this network"'],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["::/127", "unspecified and loopback"],
  ["fe80::/10", "link-local"],
  ["ff00::/8", "multicast"],
];

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
  const network = networkOf(metadata);
  const node = {
    name,
    addresses,
    origin: originOf("Node", metadata, false),
    ...(network === undefined ? {} : { network }),
  };
  return { node, blocks };
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
    const text = address.requiredString();
    const ip = text === undefined ? undefined : parsed(address, text, parseIp);
    if (ip === undefined || refuseSpecial(address, `${ip}/${ip.includes(":") ? 128 : 32}`)) continue;
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
    const text = field.requiredString();
    const prefix = text === undefined ? undefined : parsed(field, text, parsePrefix);
    if (prefix === undefined || refuseSpecial(field, prefix)) continue;
    const other = ranges.find((r) => overlaps(r.prefix, prefix));
    if (other !== undefined) field.invalid(`overlaps ${other.prefix} of ${other.field}`);
    else ranges.push({ prefix, field: field.text });
  }
  return ranges;
}

function refuseSpecial(field: Field, prefix: string): boolean {
  const special = SPECIAL.find(([range]) => overlaps(range, prefix));
  if (special !== undefined) field.invalid(`must not touch ${special[0]} (${special[1]})`);
  return special !== undefined;
}

function parsed<T>(field: Field, text: string, parse: (text: string) => T): T | undefined {
  try {
    return parse(text);
  } catch (error) {
    const hint = hintOf(error);
    field.invalid(hint === undefined ? describeError(error) : `${describeError(error)}. ${hint}`);
    return undefined;
  }
}

export const unsupported = (value: string, allowed: readonly string[]): string =>
  `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed.map((a) => `"${a}"`).join(", ")}`;
