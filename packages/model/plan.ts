/**
 * Plan rows: what the kernel of one node should hold. One table a kind; each row has a key, an origin, and is
 * a complete statement of its object, so that comparing it with the kernel needs nothing else.
 */
import type { IpAddress, IpWithLength, Mac, Prefix } from "@weft/base";
import { type HostPort, hostPortText } from "./host-port.ts";
import type { Origin } from "./nouns.ts";
import { type ServicePlanRow, servicePlanKey } from "./service-plan.ts";

interface Planned {
  readonly origin: Origin;
}

/** A key below /proc/sys of the node. */
export interface SysctlRow extends Planned {
  readonly kind: "sysctl";
  /** Lower stages are written first: what must hold before forwarding is turned on, then forwarding. */
  readonly stage: 0 | 1;
  readonly key: string;
  readonly value: string;
}

/** The node's VXLAN tunnel device. */
export interface TunnelRow extends Planned {
  readonly kind: "tunnel";
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly vni: number;
  readonly port: number;
  readonly local: IpAddress;
  readonly underlay: string;
  readonly udpChecksum: boolean;
  /** Checksum offload of the tunnel device: off works around drivers that spoil inner checksums. */
  readonly transmitChecksumOffload: boolean;
}

/** An address on one of the node's own links of ours. */
export interface AddressRow extends Planned {
  readonly kind: "address";
  readonly link: string;
  readonly address: IpWithLength;
}

/**
 * A container's interface: the veth pair, the node's end, and all that is ours inside the container.
 * Inside: addresses /32 and /128, a route to the gateway and a default route for each family, and the
 * gateway's permanent neighbour entry.
 */
export interface AttachmentRow extends Planned {
  readonly kind: "attachment";
  /** Workload.id */
  readonly workload: string;
  readonly namespacePath: string;
  readonly namespaceIdentity: string;
  readonly hostLink: string;
  readonly hostMac: Mac;
  readonly alias: string;
  readonly interface: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly addresses: readonly IpAddress[];
}

/** Permanent neighbour entry on the node. */
export interface NeighbourRow extends Planned {
  readonly kind: "neighbour";
  readonly link: string;
  readonly ip: IpAddress;
  readonly mac: Mac;
}

/** Which remote tunnel end an Ethernet address is behind. */
export interface ForwardingRow extends Planned {
  readonly kind: "forwarding";
  readonly link: string;
  readonly mac: Mac;
  readonly remote: IpAddress;
}

/** A route of ours (protocol ROUTE_PROTOCOL) on the node. */
export interface RouteRow extends Planned {
  readonly kind: "route";
  readonly destination: Prefix;
  readonly table: number;
  readonly type: "unicast" | "unreachable";
  readonly link: string | undefined;
  readonly gateway: IpAddress | undefined;
  readonly onlink: boolean;
  readonly source: IpAddress | undefined;
  readonly metric: number;
}

/** A routing rule: packets from that prefix look into that table first. */
export interface RuleRow extends Planned {
  readonly kind: "rule";
  readonly from: Prefix;
  readonly table: number;
  readonly priority: number;
}

/** What a container may send from: one element of the anti-spoofing sets. */
export interface AllowedSourceRow extends Planned {
  readonly kind: "allowed-source";
  readonly link: string;
  readonly mac: Mac;
  readonly ip: IpAddress;
}

/** Addresses whose packets get a node's address when they leave the cluster: pods of this node. Disjoint. */
export interface MasqueradeSourceRow extends Planned {
  readonly kind: "masquerade-source";
  readonly prefix: Prefix;
}

/** Addresses that pods reach under their own: pods and nodes of the cluster, and what settings exclude. Disjoint. */
export interface MasqueradeInsideRow extends Planned {
  readonly kind: "masquerade-inside";
  readonly prefix: Prefix;
}

/** A port of the node's own addresses that leads to a pod of it. */
export interface HostPortRow extends Planned {
  readonly kind: "host-port";
  /** One address of the node; 0.0.0.0 or :: stands for all of that family. */
  readonly address: IpAddress;
  readonly protocol: HostPort["protocol"];
  readonly port: number;
  /** Of the same family. */
  readonly target: IpAddress;
  readonly targetPort: number;
}

/** A pod that host ports lead to: when it comes to itself by one of them, it has to see another address than its own. */
export interface HostPortHairpinRow extends Planned {
  readonly kind: "host-port-hairpin";
  readonly ip: IpAddress;
}

export type PlanRow =
  | SysctlRow
  | TunnelRow
  | AddressRow
  | AttachmentRow
  | NeighbourRow
  | ForwardingRow
  | RouteRow
  | RuleRow
  | AllowedSourceRow
  | MasqueradeSourceRow
  | MasqueradeInsideRow
  | HostPortRow
  | HostPortHairpinRow
  | ServicePlanRow;
export type PlanKind = PlanRow["kind"];
export type PlanRowOf<K extends PlanKind> = Extract<PlanRow, { kind: K }>;

/**
 * Order in which kinds are added; removal goes the other way. What a pod may send is known before its link is up, what is
 * inside of the cluster before anything is translated, and the way to a pod before a port of the node leads there. Those of
 * services are a plan of their own: SERVICE_PLAN_KINDS.
 */
export const PLAN_KINDS: readonly PlanKind[] = [
  "sysctl",
  "allowed-source",
  "masquerade-inside",
  "masquerade-source",
  "tunnel",
  "attachment",
  "address",
  "neighbour",
  "forwarding",
  "route",
  "rule",
  "host-port-hairpin",
  "host-port",
];

/** Key of a row inside the table of its kind. */
export function planKey(row: PlanRow): string {
  switch (row.kind) {
    case "sysctl":
      return `${row.stage} ${row.key}`;
    case "tunnel":
      return row.name;
    case "address":
      return `${row.link} ${row.address}`;
    case "attachment":
      return row.workload;
    case "neighbour":
      return `${row.link} ${row.ip}`;
    case "forwarding":
      return `${row.link} ${row.mac}`;
    case "route":
      return `${row.destination} table ${row.table} metric ${row.metric}`;
    case "rule":
      return `${row.from} table ${row.table}`;
    case "allowed-source":
      return `${row.link} ${row.mac} ${row.ip}`;
    case "masquerade-source":
    case "masquerade-inside":
      return row.prefix;
    case "host-port":
      return hostPortText(row.address, row.port, row.protocol);
    case "host-port-hairpin":
      return row.ip;
    default:
      return servicePlanKey(row);
  }
}

/** Something that was asked for and cannot be: shown in `status` with the object that asked. */
export interface Problem {
  readonly key: string;
  readonly message: string;
  readonly hint: string;
  readonly origin: Origin;
}

/** How this node reaches a peer's block. */
export interface PeerPath {
  readonly node: string;
  readonly block: Prefix;
  readonly backend: "direct" | "vxlan" | "none";
  /** Next hop or remote tunnel end. */
  readonly via: IpAddress | undefined;
}
