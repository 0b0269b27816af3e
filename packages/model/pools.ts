/**
 * Pools of addresses, and the blocks of them that nodes have claimed (ARCHITECTURE.md, "Pools").
 *
 * A pool is what somebody wrote; a block is what agents and the controller make of it. A block's node alone gives out its
 * addresses, from its ledger; other nodes get single ones on loan.
 */
import { type Family, familyOf, type IpAddress, makePrefix, type Prefix, prefixLength } from "@weft/base";
import type { Origin } from "./nouns.ts";

/** API group of our own kinds. */
export const API_GROUP = "weft.network";
export const POOLS_API_VERSION = "weft.network/v1alpha1";

/** Annotation of pods and namespaces: names of pools, separated by commas; the pod's comes first, then its namespace's. */
export const POOLS_ANNOTATION = "weft.network/pools";
/** Annotation of pods: addresses that they are to have, separated by commas, at most one of each family. */
export const ADDRESSES_ANNOTATION = "weft.network/addresses";
/** Finalizer of pools: they go once none of their blocks is left. */
export const POOL_FINALIZER = "weft.network/blocks";

/** Terms of a LabelSelector (Kubernetes API, meta/v1), all of which must hold. None: everything matches. */
export interface SelectorTerm {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}
export type Selector = readonly SelectorTerm[];

/** An IPPool as its object has it. */
export interface IpPool {
  readonly name: string;
  readonly uid: string;
  readonly cidr: Prefix;
  /** Prefix length of its blocks: 20 to 32 for IPv4, 116 to 128 for IPv6, and no shorter than that of `cidr`. */
  readonly blockSize: number;
  /** Which nodes may claim blocks of it. */
  readonly nodeSelector: Selector;
  /** Pods of which namespaces get addresses of it without asking for it. */
  readonly namespaceSelector: Selector;
  /** Whether what its pods send out of the cluster is translated; undefined: as settings say for all. */
  readonly natOutgoing: boolean | undefined;
  /** No address of it is given out any more, and blocks go back as they become empty. Also true of one that is being deleted. */
  readonly disabled: boolean;
  /** The controller has found nothing that speaks against its range (condition Ready). Nobody uses it before. */
  readonly ready: boolean;
  /** Milliseconds since the epoch. Of two that apply the older comes first, then the one of the lower name. */
  readonly created: number;
  readonly origin: Origin;
}

/** An address of a block that another node has, or asks for. */
export interface Loan {
  /** Made up by the borrower: whoever repeats a request is recognised by it. */
  readonly id: string;
  /** The borrower. */
  readonly node: string;
  /** Which address is asked for; undefined: any. */
  readonly wanted: IpAddress | undefined;
  /** Written by the lender: the address, held in its ledger until the loan is gone. Undefined: not answered yet. */
  readonly address: IpAddress | undefined;
  /** Written by the lender, instead of an address: why not. */
  readonly refused: string | undefined;
  /** Written by the borrower: it is done with it. The lender then takes the loan out, and only then frees the address. */
  readonly returned: boolean;
  /** It is the borrower's end of its tunnel, no pod's. */
  readonly tunnel: boolean;
  /** The pod that it is for, as "namespace/name"; for people. */
  readonly pod: string | undefined;
}

/** One line of a block's status: who has an address, copied from its node's ledger for people to read. */
export interface Allocation {
  readonly address: IpAddress;
  /** "namespace/name" of the pod. */
  readonly pod: string | undefined;
  readonly podUid: string | undefined;
  readonly containerId: string | undefined;
  /** The node that it is lent to; undefined: the block's own. */
  readonly node: string | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** An IPBlock as its object has it. Its name follows from its prefix: making it is claiming it. */
export interface IpBlock {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly prefix: Prefix;
  readonly pool: string;
  /** uid of that pool: one of the same name that came later has no say over it. */
  readonly poolUid: string;
  /** Whose ledger gives out its addresses. Undefined: its node is gone, and it only waits for loans to come back. */
  readonly node: string | undefined;
  /** The node's end of its tunnels for this family; of one block of a node at a time. */
  readonly tunnelAddress: IpAddress | undefined;
  readonly loans: readonly Loan[];
  readonly allocations: readonly Allocation[];
  /** When status was written, milliseconds since the epoch; undefined: never. */
  readonly reported: number | undefined;
  readonly origin: Origin;
}

/** "10.244.3.0/26" is "10-244-3-0-26", "fd00::40/122" is "6-fd00--40-122": a DNS label that no other block has. */
export function blockName(prefix: Prefix): string {
  const [address = "", length = ""] = prefix.split("/");
  return familyOf(prefix) === 4
    ? `${address.replaceAll(".", "-")}-${length}`
    : `6-${address.replaceAll(":", "-")}-${length}`;
}

/** The block of a pool that an address lies in. */
export const blockOf = (pool: Pick<IpPool, "blockSize">, address: IpAddress): Prefix =>
  makePrefix(address, pool.blockSize);

/** How many blocks a pool has. */
export const blockCount = (pool: Pick<IpPool, "cidr" | "blockSize">): bigint =>
  1n << BigInt(pool.blockSize - prefixLength(pool.cidr));

/** What a pod or a namespace asks for of pools, by its annotations. */
export interface AddressRequest {
  /** Names of pools in order; none: as without the annotation. */
  readonly pools: readonly string[];
  /** Of pods alone, at most one of each family. */
  readonly addresses: readonly IpAddress[];
  /** What is wrong with the annotations, in a sentence. */
  readonly problem: string | undefined;
}

/** From where a pod gets its addresses: worked out from its pod, its namespace and the pools that there are. */
export interface PodAddressing {
  /** Names of pools in order, of each family that any applies of; other families come from the node's podCIDRs. */
  readonly pools: Readonly<Partial<Record<Family, readonly string[]>>>;
  /** At most one of each family. */
  readonly wanted: readonly IpAddress[];
  /** What is wrong with its annotations: it gets no address. */
  readonly problem: string | undefined;
}
