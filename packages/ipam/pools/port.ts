/**
 * What the engine of a node needs of the API server: single objects, read and written one at a time.
 *
 * Every call ends: by itself after some seconds ("timeout"), or with its signal. What a failed write leaves behind is
 * known from its code alone. "exists", "conflict", "not-found", "invalid", "permission" and "unsupported" were answered
 * by the server: nothing was changed. Everything else ("unavailable", "timeout", "busy", "internal") says nothing: the
 * write may have been done, or may be done later, when its answer was lost or it still travels. The engine then reads,
 * and counts on conditions of versions to stop what comes late. So no implementation repeats a write by itself.
 */
import { hasCode } from "@weft/base";
import type { Allocation, IpBlock, IpPool } from "@weft/model";

/** A block that is to be claimed: its name follows from its prefix. */
export type NewBlock = Pick<IpBlock, "prefix" | "pool" | "poolUid" | "node" | "tunnelAddress" | "loans">;

/** One version of one object. */
export type BlockVersion = Pick<IpBlock, "name" | "uid" | "resourceVersion">;

/** What a block's status says, for people and for lists. */
export interface BlockReport {
  readonly allocations: readonly Allocation[];
  /** Addresses that somebody has, and addresses that nobody has and somebody could get. */
  readonly used: number;
  readonly free: number;
  /** Milliseconds since the epoch; kept to the millisecond, so that every report makes a new version. */
  readonly reported: number;
}

export interface PoolApi {
  /** The latest state, never an older one; undefined when there is none of that name. */
  pool(name: string, signal: AbortSignal): Promise<IpPool | undefined>;
  /** The latest state, never an older one. Throws "invalid" for an object that cannot be read. */
  block(name: string, signal: AbortSignal): Promise<IpBlock | undefined>;
  /** "exists" when there is a block of that prefix, whoever's. */
  create(block: NewBlock, signal: AbortSignal): Promise<IpBlock>;
  /** Node, tunnel address and loans, of that version alone: "conflict" when it is another now, "not-found" when it is gone. */
  replace(block: IpBlock, signal: AbortSignal): Promise<IpBlock>;
  /** Deletes that version alone: "conflict" when it is another now. Resolves also when there is none of that name. */
  remove(block: BlockVersion, signal: AbortSignal): Promise<void>;
  /** The status, of that version alone: as `replace`. The new state has another resourceVersion. */
  writeStatus(block: IpBlock, report: BlockReport, signal: AbortSignal): Promise<IpBlock>;
}

const ANSWERED = ["exists", "conflict", "not-found", "invalid", "permission", "unsupported"] as const;

/** True when the server has answered, and nothing was changed: see above. */
export const isAnswered = (error: unknown): boolean => ANSWERED.some((code) => hasCode(error, code));
