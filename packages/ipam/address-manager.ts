/** What hands out addresses on a node. Implementations pass the suite in suite.ts. */
import type { IpAddress, Prefix } from "@weft/base";
import type { Workload } from "@weft/model";

/**
 * allocating: addresses are held, the interface is being made.
 * ready: the runtime was told.
 * releasing: the interface is being removed; addresses are held until `release`.
 */
export type WorkloadState = "allocating" | "ready" | "releasing";

/** A workload before it has addresses. */
export type AddressRequest = Omit<Workload, "addresses" | "since">;

export interface LedgerEntry {
  readonly workload: Workload;
  readonly state: WorkloadState;
}

export interface BlockUsage {
  readonly prefix: Prefix;
  /** Addresses in use. */
  readonly used: number;
  /** Addresses that can be handed out, at most Number.MAX_SAFE_INTEGER. */
  readonly size: number;
}

export interface AddressManager {
  /**
   * Gives a new workload, in state "allocating", one address of each family that has a block: all of them or
   * none. Addresses come in the order in which their families first appear in `blocks`.
   *
   * Of a family's blocks the first that has a free address is used. Inside a block, addresses that were never
   * used come first, in ascending order, then the one that was freed the longest ago. Never given: `reserved`
   * ones, and of blocks with more than two addresses the first (network; subnet-router anycast, RFC 4291
   * section 2.6.1) and the last IPv4 one (broadcast). Blocks of one or two addresses are used whole (RFC 3021,
   * RFC 6164).
   *
   * `wanted` asks for certain addresses, at most one of a family, each inside one of `blocks`.
   *
   * Throws "exists" (the id is there, in any state), "exhausted" (no block, or no free address), "busy" (a
   * wanted address is in use), "invalid" (a wanted address cannot be given). Nothing changes when it throws.
   */
  allocate(
    request: AddressRequest,
    blocks: readonly Prefix[],
    reserved: readonly IpAddress[],
    wanted?: readonly IpAddress[],
  ): Workload;

  /** To state "ready". Throws "not-found", or "conflict" when it is being released. */
  markReady(id: string): void;

  /** To state "releasing"; false when there is no such workload. */
  beginRelease(id: string): boolean;

  /**
   * Forgets the workload, from any state, and frees its addresses; false when there was none. `why`, in words, where it
   * was not the runtime that deleted it.
   */
  release(id: string, why?: string): boolean;

  get(id: string): LedgerEntry | undefined;

  /** All workloads, the oldest first. */
  workloads(): readonly LedgerEntry[];

  /** One item for each of `blocks`, in their order. */
  usage(blocks: readonly Prefix[]): readonly BlockUsage[];

  close(): void;
}
