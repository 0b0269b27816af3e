/** What a node's agent says of its addresses: the answer to GET /v1/ipam on its socket. */
import type { IpAddress, Prefix } from "@weft/base";
import type { AddressOrigin, AuditFinding } from "./audit.ts";

/** Seconds until a range is full if its use goes on growing; null: never; undefined: too little is known yet. */
export type SecondsLeft = number | null | undefined;

export interface RangeUse {
  readonly prefix: Prefix;
  /** Undefined: one of the node's podCIDRs. */
  readonly pool: string | undefined;
  /** Of one address that is borrowed: the block that it is of. */
  readonly lentFrom: Prefix | undefined;
  readonly state: "open" | "closed" | "lost";
  readonly used: number;
  /** Addresses that can be handed out, at most Number.MAX_SAFE_INTEGER. */
  readonly size: number;
  /** Of `used`: on loan to other nodes. */
  readonly lent: number;
  readonly left: SecondsLeft;
}

/** An address that an attachment of this node has. */
export interface AddressLease {
  readonly address: IpAddress;
  readonly id: string;
  readonly origin: AddressOrigin;
  readonly state: "allocating" | "ready" | "releasing";
  readonly hostLink: string;
  readonly namespacePath: string;
}

/** An address of a block of this node that is another node's, or its own end of a tunnel. */
export interface AddressHeld {
  readonly address: IpAddress;
  readonly block: Prefix;
  readonly node: string;
  readonly pod: string | undefined;
  /** Undefined: the end of this node's tunnels. */
  readonly loan: string | undefined;
  readonly since: number;
}

/** An attachment that had an address before. */
export interface AddressFormer {
  readonly address: IpAddress;
  readonly origin: AddressOrigin;
  readonly until: number;
  /** Undefined: the runtime deleted it. */
  readonly why: string | undefined;
}

export interface NodeAddresses {
  readonly node: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly ranges: readonly RangeUse[];
  readonly leases: readonly AddressLease[];
  readonly held: readonly AddressHeld[];
  /** The latest first. */
  readonly former: readonly AddressFormer[];
  readonly findings: readonly AuditFinding[];
}
