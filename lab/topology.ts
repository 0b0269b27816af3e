/**
 * The plan of a lab: what namespaces, links, addresses and routes its underlay is made of. Pure.
 *
 *        outside              a host beyond the cluster
 *           |
 *         spine               a router that knows the racks and no pod
 *         /    \
 *     rack1    rack2          a switch each: one bridge in a namespace of its own
 *      /  \       |
 *  node1  node2  node3
 *
 * 198.18.0.0/15 is for tests of network devices (RFC 2544), 203.0.113.0/24 for documentation (RFC 5737).
 */
import {
  addressAt,
  type Family,
  type IpAddress,
  type IpWithLength,
  type Mac,
  macFromSeed,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixLength,
  withLength,
} from "@weft/base";
import { familiesOf, type LabOptions } from "./options.ts";

export const UNDERLAY_MTU = 1500;
/** Every pod address lies in one of these. */
export const CLUSTER_RANGES: Readonly<Record<Family, Prefix>> = {
  4: parsePrefix("10.244.0.0/16"),
  6: parsePrefix("fd00:10:244::/48"),
};

export type Role = "outside" | "spine" | "rack" | "node";

export interface PlannedNamespace {
  /** "weft-lab-node1" */
  readonly name: string;
  /** "node1" */
  readonly label: string;
  readonly role: Role;
}

export interface LinkEnd {
  readonly namespace: string;
  readonly name: string;
  readonly mac: Mac;
  readonly addresses: readonly IpWithLength[];
  /** Bridge of the same namespace that this end is a port of. */
  readonly bridge: string | undefined;
}

export interface PlannedLink {
  readonly ends: readonly [LinkEnd, LinkEnd];
  readonly mtu: number;
}

export interface PlannedRoute {
  readonly namespace: string;
  readonly destination: Prefix;
  readonly gateway: IpAddress;
}

export interface PlannedNode {
  readonly name: string;
  readonly namespace: string;
  readonly rack: string;
  /** Where other nodes reach it, IPv4 first. */
  readonly addresses: readonly IpAddress[];
  readonly podCIDRs: readonly Prefix[];
}

export interface PlannedRack {
  readonly name: string;
  readonly namespace: string;
  readonly bridge: string;
  readonly bridgeMac: Mac;
  readonly prefixes: readonly Prefix[];
}

export interface Topology {
  readonly options: LabOptions;
  /** In the order of the drawing: outside, spine, racks, nodes. */
  readonly namespaces: readonly PlannedNamespace[];
  readonly links: readonly PlannedLink[];
  readonly routes: readonly PlannedRoute[];
  readonly racks: readonly PlannedRack[];
  readonly nodes: readonly PlannedNode[];
  readonly outside: readonly IpAddress[];
  /** Ranges of the pods, of the families that the pods have. */
  readonly clusterRanges: readonly Prefix[];
}

/** The plan for checked options (parseLabOptions). The same options always give the same plan. */
export function planTopology(options: LabOptions): Topology {
  const families = familiesOf(options.underlay);
  const ns = (label: string): string => namespaceName(options.name, label);
  const namespaces: PlannedNamespace[] = [
    { name: ns("outside"), label: "outside", role: "outside" },
    { name: ns("spine"), label: "spine", role: "spine" },
  ];
  const links: PlannedLink[] = [];
  const routes: PlannedRoute[] = [];
  const end = (
    label: string,
    name: string,
    addresses: readonly IpWithLength[] = [],
    bridge?: string,
  ): LinkEnd => ({
    namespace: ns(label),
    name,
    mac: macFromSeed(`${options.name} ${label} ${name}`),
    addresses,
    bridge,
  });
  const defaultRoutes = (label: string, prefixes: readonly Prefix[]): void => {
    for (const prefix of prefixes) routes.push({ namespace: ns(label), ...defaultRoute(prefix) });
  };

  const outside = families.map(outsidePrefix);
  links.push({
    ends: [
      end(
        "spine",
        "outside",
        outside.map((p) => interfaceAddress(p, 1)),
      ),
      end(
        "outside",
        "eth0",
        outside.map((p) => interfaceAddress(p, 10)),
      ),
    ],
    mtu: UNDERLAY_MTU,
  });
  defaultRoutes("outside", outside);

  const racks: PlannedRack[] = [];
  for (let number = 1; number <= options.racks; number++) {
    const name = `rack${number}`;
    const prefixes = families.map((family) => rackPrefix(family, number));
    namespaces.push({ name: ns(name), label: name, role: "rack" });
    racks.push({
      name,
      namespace: ns(name),
      bridge: "switch",
      bridgeMac: macFromSeed(`${options.name} ${name} switch`),
      prefixes,
    });
    links.push({
      ends: [
        end(
          "spine",
          name,
          prefixes.map((p) => interfaceAddress(p, 1)),
        ),
        end(name, "spine", [], "switch"),
      ],
      mtu: UNDERLAY_MTU,
    });
  }

  const nodes: PlannedNode[] = [];
  const inRack = new Map<string, number>();
  for (let number = 1; number <= options.nodes; number++) {
    const name = `node${number}`;
    const rack = racks[Math.floor(((number - 1) * options.racks) / options.nodes)] as PlannedRack;
    const place = inRack.get(rack.name) ?? 0;
    inRack.set(rack.name, place + 1);
    namespaces.push({ name: ns(name), label: name, role: "node" });
    const addresses = rack.prefixes.map((p) => interfaceAddress(p, 11 + place));
    links.push({
      ends: [end(name, "eth0", addresses), end(rack.name, name, [], rack.bridge)],
      mtu: UNDERLAY_MTU,
    });
    defaultRoutes(name, rack.prefixes);
    nodes.push({
      name,
      namespace: ns(name),
      rack: rack.name,
      addresses: rack.prefixes.map((p) => hostAt(p, 11 + place)),
      podCIDRs: familiesOf(options.pods).map((family) => podPrefix(family, number)),
    });
  }
  return {
    options,
    namespaces,
    links,
    routes,
    racks,
    nodes,
    outside: outside.map((p) => hostAt(p, 10)),
    clusterRanges: familiesOf(options.pods).map((family) => CLUSTER_RANGES[family]),
  };
}

/** Name of a lab's namespace: namespaceName("lab", "node1"). */
export const namespaceName = (lab: string, label: string): string => `weft-${lab}-${label}`;

/** Name of a pod's namespace. */
export const podNamespaceName = (lab: string, namespace: string, pod: string): string =>
  namespaceName(lab, `pod-${namespace}-${pod}`);

/** True if a namespace of that name is this lab's own; false for those of a lab "lab-2" when asked for "lab". */
export function ownsNamespace(lab: string, name: string): boolean {
  const prefix = namespaceName(lab, "");
  return (
    name.startsWith(prefix) && /^(node\d+|rack\d+|spine|outside|pod-.+)$/.test(name.slice(prefix.length))
  );
}

const rackPrefix = (family: Family, rack: number): Prefix =>
  parsePrefix(family === 4 ? `198.18.${rack}.0/24` : `${parseIp(`fd57:eff7:0:${rack}::`)}/64`);

const outsidePrefix = (family: Family): Prefix =>
  parsePrefix(family === 4 ? "203.0.113.0/24" : "fd57:eff7:ffff::/64");

/** node7 has 10.244.7.0/24 and fd00:10:244:7::/64: the number reads the same in both, as it does in the racks. */
const podPrefix = (family: Family, node: number): Prefix =>
  parsePrefix(family === 4 ? `10.244.${node}.0/24` : `${parseIp(`fd00:10:244:${node}::`)}/64`);

/** Host number as it reads: 11 is .11 and ::11. */
const hostAt = (prefix: Prefix, host: number): IpAddress =>
  addressAt(prefix, BigInt(prefix.includes(":") ? Number.parseInt(String(host), 16) : host));

const interfaceAddress = (prefix: Prefix, host: number): IpWithLength =>
  withLength(hostAt(prefix, host), prefixLength(prefix));

const defaultRoute = (prefix: Prefix): { destination: Prefix; gateway: IpAddress } => ({
  destination: parsePrefix(prefix.includes(":") ? "::/0" : "0.0.0.0/0"),
  gateway: hostAt(prefix, 1),
});
