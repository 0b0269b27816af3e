/** Rows that a node has because it proxies services at all: its own addresses, its pods' ranges, the services' ranges. */
import { contains, type IpAddress, type Prefix, prefixIp } from "@weft/base";
import type {
  Block,
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
import { merged, outermost } from "./disjoint.ts";

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
 * counts as one of this node, where clusterCIDRs say which those are.
 */
export function podRanges(own: readonly Block[], all: readonly Block[], settings: Settings): PodRangeRow[] {
  const rows = (
    role: PodRangeRow["role"],
    ranges: readonly Prefix[],
    from: readonly Block[],
  ): PodRangeRow[] =>
    merged(ranges).map((prefix) => {
      const block = from.find((b) => contains(prefix, b.prefix));
      return { kind: "pod-range", role, prefix, origin: block?.origin ?? setting("clusterCIDRs") };
    });
  const prefixes = (blocks: readonly Block[]): Prefix[] => blocks.map((b) => b.prefix);
  const { clusterCIDRs } = settings;
  const cluster =
    clusterCIDRs.length > 0 ? rows("cluster", clusterCIDRs, []) : rows("cluster", prefixes(all), all);
  return [
    ...(own.length > 0 ? rows("local", prefixes(own), own) : rows("local", clusterCIDRs, [])),
    ...cluster,
  ];
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
