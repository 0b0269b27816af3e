/** Rows that a node has because it proxies services at all: its own addresses, its pods' ranges, the services' ranges. */
import { contains, type IpAddress, overlaps, type Prefix, prefixIp } from "@weft/base";
import type {
  Block,
  IpPool,
  Node,
  NodePortAddressRow,
  NodeSourceRow,
  Origin,
  PodRangeRow,
  Problem,
  ServiceAddressRow,
  ServiceRange,
  Settings,
  UnderlayLink,
} from "@weft/model";
import { merged, outermost, without } from "./disjoint.ts";

export interface NodeFacts {
  readonly rows: readonly (NodeSourceRow | NodePortAddressRow)[];
  readonly problems: readonly Problem[];
}

const setting = (field: string): Origin => ({ kind: "Settings", name: "weft", field });

/** What the node's own addresses are for. An address that is on no link can neither be a source nor be reached. */
export function addressRows(node: Node, settings: Settings, links: readonly UnderlayLink[]): NodeFacts {
  const held = new Map<IpAddress, string>();
  for (const link of links) for (const address of link.addresses) held.set(prefixIp(address), link.name);
  const own = node.addresses.filter((ip) => held.has(ip));
  const origin = { ...node.origin, field: "status.addresses" };
  const problems = node.addresses
    .filter((ip) => !held.has(ip))
    .map((ip): Problem => {
      return {
        key: `service address ${ip}`,
        message: `node address ${ip} is on none of this machine's links: services do without it`,
        hint: "Give the link its address, or correct the node's InternalIP in status.addresses.",
        origin,
      };
    });
  const sources = own.map((ip): NodeSourceRow => ({ kind: "node-source", ip, origin }));
  const { nodePortAddresses: wanted } = settings.services;
  const field = setting("services.nodePortAddresses");
  const chosen =
    wanted === "primary"
      ? own.map((ip) => ({ ip, origin }))
      : [...held.keys()]
          .filter((ip) => wanted === "all" || wanted.some((range) => contains(range, ip)))
          .map((ip) => ({ ip, origin: field }));
  if (typeof wanted !== "string" && wanted.length > 0 && chosen.length === 0) {
    problems.push({
      key: "node port addresses",
      message: `no address of this node lies in services.nodePortAddresses (${wanted.join(", ")})`,
      hint: "Node ports do not work here. Correct the list, or set it to primary or all.",
      origin: field,
    });
  }
  return {
    rows: [...sources, ...chosen.map((c): NodePortAddressRow => ({ kind: "node-port-address", ...c }))],
    problems,
  };
}

/**
 * Ranges of pods. Without blocks of its own (another network plugin hands out addresses) every pod of the cluster
 * counts as one of this node, where clusterCIDRs say which those are. An address that is lent to another node is one of
 * that node. Pools are ranges of the cluster whether they are listed or not.
 */
export function podRanges(
  own: readonly Block[],
  all: readonly Block[],
  pools: readonly IpPool[],
  settings: Settings,
): PodRangeRow[] {
  const listed = settings.clusterCIDRs.map(
    (prefix, i): Range => ({ prefix, origin: setting(`clusterCIDRs[${i}]`) }),
  );
  const held = new Set(own.map((b) => b.prefix));
  const lent = all.flatMap((b) => (b.lentFrom !== undefined && held.has(b.lentFrom) ? [b.prefix] : []));
  const local = own.flatMap(({ prefix, origin }) =>
    without(prefix, lent).map((part): Range => ({ prefix: part, origin })),
  );
  const ofPools = pools
    .filter((p) => p.ready)
    .map(({ cidr, origin }): Range => ({ prefix: cidr, origin: { ...origin, field: "spec.cidr" } }));
  return [
    ...rows("local", own.length > 0 ? local : listed),
    ...rows("cluster", [...(listed.length > 0 ? listed : all), ...ofPools]),
  ];
}

interface Range {
  readonly prefix: Prefix;
  readonly origin: Origin;
}

function rows(role: PodRangeRow["role"], ranges: readonly Range[]): PodRangeRow[] {
  return merged(ranges.map((r) => r.prefix)).map((prefix) => {
    // Several that came to one: the first of them speaks.
    const range = ranges.find((r) => overlaps(prefix, r.prefix));
    return { kind: "pod-range", role, prefix, origin: range?.origin ?? setting("clusterCIDRs") };
  });
}

export function rangeRows(ranges: readonly ServiceRange[], settings: Settings): ServiceAddressRow[] {
  const origins = new Map<Prefix, Origin>();
  settings.serviceCIDRs.forEach((prefix, i) => {
    origins.set(prefix, setting(`serviceCIDRs[${i}]`));
  });
  for (const { prefix, origin } of ranges) if (!origins.has(prefix)) origins.set(prefix, origin);
  return outermost([...origins.keys()]).map((prefix) => {
    return { kind: "service-address", prefix, origin: origins.get(prefix) ?? setting("serviceCIDRs") };
  });
}
