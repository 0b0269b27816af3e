/**
 * Plan rows of services: what one node's kernel should hold so that cluster addresses, node ports, load balancers'
 * and external addresses lead to their endpoints. ARCHITECTURE.md ("Services") has the tables and chains that these
 * become elements of.
 */
import type { Family, IpAddress, Prefix } from "@weft/base";
import type { Origin } from "./nouns.ts";

interface Planned {
  readonly origin: Origin;
}

export type Transport = "tcp" | "udp" | "sctp";

/** Where an endpoint listens, after translation. */
export interface Backend {
  readonly ip: IpAddress;
  readonly port: number;
}

/** What clients connect to. `address` "node": every address of the node that takes node ports (NodePortAddressRow). */
export interface FrontendMatch {
  readonly address: IpAddress | "node";
  readonly family: Family;
  readonly protocol: Transport;
  readonly port: number;
}

/**
 * One frontend of a service port. Key: `scope family address protocol port`. Two rows of one match, scope "outside"
 * and scope "any": connections from outside of this node (neither its pods nor its own processes) take the former,
 * all others the latter. That is externalTrafficPolicy Local; most frontends have one row, of scope "any".
 */
export interface FrontendRow extends Planned {
  readonly kind: "frontend";
  readonly scope: "any" | "outside";
  readonly match: FrontendMatch;
  /** reject: answered with an ICMP error, there is no endpoint; drop: there are, but policy keeps them from here. */
  readonly action: "balance" | "reject" | "drop";
  /** Distinct, sorted by address and port; empty unless the action is "balance". */
  readonly backends: readonly Backend[];
  /** random: evenly for each new connection. maglev: by source, the same on every node, moving few when backends change. */
  readonly balance: "random" | "maglev";
  /** sessionAffinity ClientIP: seconds that a client keeps its backend after its last new connection. */
  readonly affinity: number | undefined;
  /** foreign: sources that are no pods of this node, nor this node, get its address, so that replies come back by it. */
  readonly masquerade: "never" | "foreign";
  /** loadBalancerSourceRanges: only these sources may connect; undefined: all. Empty: nobody. */
  readonly sources: readonly Prefix[] | undefined;
}

/** Addresses that belong to services: whatever is sent there and was not translated is rejected, never routed on. */
export interface ServiceAddressRow extends Planned {
  readonly kind: "service-address";
  /** A cluster address as /32 or /128, or a whole service range. Ranges are disjoint; addresses may lie in one. */
  readonly prefix: Prefix;
}

/** An address of this node that takes node ports. */
export interface NodePortAddressRow extends Planned {
  readonly kind: "node-port-address";
  readonly ip: IpAddress;
}

/** A backend on this node: a connection to itself through a service must come back through the node. */
export interface HairpinRow extends Planned {
  readonly kind: "hairpin";
  readonly ip: IpAddress;
}

/**
 * Ranges of pods. local: of this node; cluster: of any node. Rows of one role are disjoint. Packets from and to them
 * that connection tracking calls INVALID are dropped.
 */
export interface PodRangeRow extends Planned {
  readonly kind: "pod-range";
  readonly role: "local" | "cluster";
  readonly prefix: Prefix;
}

/** What this node's own address is, when it must stand for a client: at most one row a family. */
export interface NodeSourceRow extends Planned {
  readonly kind: "node-source";
  readonly ip: IpAddress;
}

export type ServicePlanRow =
  | FrontendRow
  | ServiceAddressRow
  | NodePortAddressRow
  | HairpinRow
  | PodRangeRow
  | NodeSourceRow;
export type ServicePlanKind = ServicePlanRow["kind"];

/** Order in which kinds are added; removal goes the other way. */
export const SERVICE_PLAN_KINDS: readonly ServicePlanKind[] = [
  "node-source",
  "pod-range",
  "hairpin",
  "node-port-address",
  "frontend",
  "service-address",
];

/** Key of a row inside the table of its kind. */
export function servicePlanKey(row: ServicePlanRow): string {
  switch (row.kind) {
    case "frontend": {
      const { address, family, protocol, port } = row.match;
      return `${row.scope} ${family} ${address} ${protocol} ${port}`;
    }
    case "service-address":
      return row.prefix;
    case "node-port-address":
    case "hairpin":
    case "node-source":
      return row.ip;
    case "pod-range":
      return `${row.role} ${row.prefix}`;
  }
}
