/** What the parts of an engine share: what they were given, and what is known of the cluster. */
import type { Clock, Family, IpAddress, Logger, Prefix } from "@weft/base";
import type { IpBlock, IpPool, PodAddressing, Workload } from "@weft/model";
import type { Ledger } from "../ledger.ts";
import type { BlockRecord } from "../pool-records.ts";
import type { KnownBlocks } from "./known-blocks.ts";
import type { PoolApi } from "./port.ts";

/** What watches tell, as a whole each time. */
export interface PoolView {
  readonly pools: readonly IpPool[];
  /** Names of those that are ready, not disabled, and whose node selector has this node. */
  readonly usable: readonly string[];
  /** This node's blocks, and all that have a loan of this node. */
  readonly blocks: readonly IpBlock[];
  /** Of a pod that nothing is known of. */
  readonly otherwise: PodAddressing;
  /** Of a pod of which nothing but its namespace is known, where that makes a difference. */
  readonly byNamespace?: Readonly<Record<string, PodAddressing>>;
  /** False while the server is away: the last known state. */
  readonly current: boolean;
  /** False while there is neither a pool nor a block of this node. */
  readonly enabled: boolean;
}

/** Blocks of a pool, and how much of the whole pool is in use, as far as is known. */
export interface Found {
  readonly prefixes: readonly Prefix[];
  readonly used: number;
  readonly size: number;
}

/** Answers may be old: what is found is tried. */
export interface BlockFinder {
  /** Blocks that nobody has: at most `count`, beginning elsewhere on every node. */
  freeBlocks(pool: string, count: number): Promise<Found>;
  /** Blocks of other nodes, those with most free addresses first. */
  lenders(pool: string): Promise<Found>;
}

export type PoolEvent =
  | { readonly type: "claimed"; readonly block: Prefix; readonly pool: string }
  | {
      readonly type: "borrowed";
      readonly address: IpAddress;
      readonly pool: string;
      readonly lender: string;
      readonly pod: string | undefined;
      /** It was this address that was asked for, and not any. */
      readonly wanted: boolean;
    }
  | { readonly type: "exhausted"; readonly pool: IpPool; readonly used: number; readonly size: number }
  /** Another node has a block that pods here have addresses of. */
  | {
      readonly type: "lost";
      readonly block: Prefix;
      readonly to: string | undefined;
      readonly pods: readonly string[];
    };

/** Places at which a test can end an engine: before and after everything that outlives it. */
export const POOL_STEPS = [
  "claim:create",
  "claim:created",
  "claim:verified",
  "claim:opened",
  "borrow:ask",
  "borrow:asked",
  "borrow:granted",
  "borrow:opened",
  "return:closed",
  "return:write",
  "return:written",
  "return:forgotten",
  "lend:held",
  "lend:written",
  "lend:let-go",
  "tunnel:held",
  "release:closed",
  "release:delete",
  "release:deleted",
  "release:forgotten",
  "reclaim:create",
  "reclaim:created",
] as const;
export type PoolStep = (typeof POOL_STEPS)[number];

/** Milliseconds. */
export interface PoolTimes {
  /** How long a block that may be used is kept though it is empty, and one that may not. */
  readonly idle: number;
  readonly drained: number;
  /** Between two reports of one block. */
  readonly report: number;
  /** How long a lender is waited for, and how often its block is read meanwhile. */
  readonly answer: number;
  readonly poll: number;
  /** After a failure: doubling to ten seconds. */
  readonly retry: number;
  /** How long an ADD waits for a wanted address that somebody here still has. */
  readonly wanted: number;
}
export const POOL_TIMES: PoolTimes = {
  idle: 60_000,
  drained: 1_000,
  report: 1_000,
  answer: 4_000,
  poll: 500,
  retry: 250,
  wanted: 5_000,
};

export interface EngineOptions {
  readonly node: string;
  readonly ledger: Ledger;
  readonly api: PoolApi;
  readonly finder: BlockFinder;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What this node wrote or read, so that its own watches know before they are told. */
  readonly written: (block: IpBlock) => void;
  readonly gone: (block: Pick<IpBlock, "name" | "uid">) => void;
  readonly tell: (event: PoolEvent) => void;
  /**
   * Families in which the node has a range of its own besides, and with it an end of its tunnels; undefined as long as that
   * is not known: then no end is put anywhere.
   */
  readonly plain?: () => ReadonlySet<Family> | undefined;
  readonly step?: (step: PoolStep) => void;
  /** Ids of loans; random UUIDs by default. */
  readonly newId?: () => string;
  readonly times?: Partial<PoolTimes>;
}

export interface Parts extends Required<Omit<EngineOptions, "times">> {
  readonly times: PoolTimes;
  readonly known: KnownBlocks;
  readonly signal: AbortSignal;
  readonly view: () => PoolView | undefined;
  /** Something has changed: look at everything again. */
  readonly wake: () => void;
}

/** The pool of that name, if addresses of it may be given out on this node. */
export function usablePool(view: PoolView | undefined, name: string): IpPool | undefined {
  return view?.usable.includes(name) ? view.pools.find((p) => p.name === name) : undefined;
}

/** The pool that a block was claimed of, if it is that one still and may be used. */
export function usablePoolOf(view: PoolView | undefined, record: BlockRecord): IpPool | undefined {
  const pool = usablePool(view, record.pool);
  return pool?.uid === record.poolUid ? pool : undefined;
}

export const FAMILIES: readonly Family[] = [4, 6];

/** "shop/web" of a workload, or its container. */
export const holderText = (w: Pick<Workload, "podNamespace" | "podName" | "containerId">): string =>
  w.podName === undefined ? `container ${w.containerId}` : `pod ${w.podNamespace ?? "default"}/${w.podName}`;
