/** What the rest of Weft sees of reconcilers: one brings one kind of kernel object to one table. */
import type { Backoff, Clock, ErrorCode, Logger } from "@weft/base";
import type { ReadableTable } from "./types.ts";

/**
 * How to reach the target. The table's key is the object's identity in the target. Operations are idempotent:
 * updating what is there already and deleting what is absent succeed. They may return a promise, which must
 * settle; up to a chunk of rows then run at once, in no particular order. They throw when they fail.
 */
export interface ReconcilerOps<Row, Actual> {
  /** `previous`: the row last applied, if that is known. It is a hint: the target may hold something else. */
  update(row: Row, previous: Row | undefined): void | Promise<void>;
  /** `row`: the one last applied or tried. */
  delete(row: Row): void | Promise<void>;
  /** One call for many rows. When it throws, every row is tried by itself, so that failures stop at the row. */
  updateMany?(rows: readonly Row[]): void | Promise<void>;
  deleteMany?(rows: readonly Row[]): void | Promise<void>;
  /** How to read the target. Without it there is no repair, adoption or prune. */
  readonly actual?: ActualOps<Row, Actual>;
}

export interface ActualOps<Row, Actual> {
  /** All objects that may be ours. With `rows`, at least those that stand in the place of these rows. */
  list(rows?: readonly Row[]): Iterable<Actual> | Promise<Iterable<Actual>>;
  /** Key of the row this object would belong to; undefined: foreign, never touched. */
  keyOf(actual: Actual): string | undefined;
  /** True when the object is as the row wants it. */
  matches(row: Row, actual: Actual): boolean;
  /** Removes an object that is ours but that no row wants. */
  delete(actual: Actual): void | Promise<void>;
  /**
   * For targets that can tell that nobody else has changed them: another number each time that they may hold something
   * else than was written here. While it is the same, comparing everything again would find nothing, and is left out.
   */
  revision?(): number;
}

export interface RowStatus {
  readonly state: "pending" | "done" | "error";
  readonly operation: "update" | "delete";
  /** When the state began, milliseconds since the epoch; retries that fail again do not move it. */
  readonly since: number;
  /** Failures in a row. */
  readonly attempts: number;
  /** For "error": what failed, what to do about it, and when it is tried again (milliseconds since the epoch). */
  readonly message: string | undefined;
  readonly code: ErrorCode | undefined;
  readonly hint: string | undefined;
  readonly nextTry: number | undefined;
}

export interface ReconcilerSummary {
  /** Rows of the table. done + pending + errors can be larger: rows being deleted count there. */
  readonly rows: number;
  readonly done: number;
  readonly pending: number;
  readonly errors: number;
  /** The row that turned to error last, of those that are in error now. */
  readonly lastError:
    | { readonly key: string; readonly message: string; readonly code: ErrorCode; readonly since: number }
    | undefined;
  /** Why the target could not be read at the last attempt. */
  readonly repairError: string | undefined;
  /** Epoch milliseconds of the last full comparison with the target. */
  readonly lastRepair: number | undefined;
  /** Epoch milliseconds until which drift is left alone. */
  readonly pausedUntil: number | undefined;
}

export interface RepairReport {
  /** Rows compared with the target. */
  readonly checked: number;
  /** Rows that differed or were missing, and were applied again. */
  readonly repaired: readonly string[];
  /** Rows and leftovers whose repair failed; their status says why, and they are retried. */
  readonly failed: readonly string[];
  /** Leftovers removed. */
  readonly pruned: number;
}

/** `status` undefined: the row is gone from table and target. */
export type StatusListener = (key: string, status: RowStatus | undefined) => void;

export interface ReconcilerOptions<Row, Actual> {
  readonly name: string;
  readonly table: ReadableTable<Row>;
  readonly ops: ReconcilerOps<Row, Actual>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 <= x < 1. Default Math.random. */
  readonly random?: () => number;
  /** Rows handled in one turn of the event loop. Default 64. */
  readonly chunk?: number;
  /** First delay after a failure; doubles up to the cap. Default 100 ms and 30 s. Jitter takes off up to half. */
  readonly retry?: Backoff;
  /** Time between full repairs, milliseconds, give or take a tenth. Default 60 000; 0: only upon request. */
  readonly repairInterval?: number;
  /** Least time between full repairs that are asked for by `requestRepair`. Default 1000 ms. */
  readonly repairMinInterval?: number;
}

export interface Reconciler {
  readonly name: string;
  /** Works by itself from now on. A reconciler of an applier is started and stopped by that alone. */
  start(): void;
  /** Ends timers and the watch; resolves when nothing is in flight. Status stays readable. */
  stop(): Promise<void>;
  status(key: string): RowStatus | undefined;
  /** By key, in no particular order. A live view. */
  statuses(): ReadonlyMap<string, RowStatus>;
  summary(): ReconcilerSummary;
  onChange(listener: StatusListener): () => void;
  /**
   * Applies these rows (or removals) now, ahead of the queue and of any backoff; with synchronous operations that has
   * happened when the call returns. Without `keys`: all that is pending, chunk by chunk. Rejects with the error of the
   * first row that failed, after all were tried; that row is retried as usual. Works before `start` too.
   */
  flush(keys?: Iterable<string>): Promise<void>;
  /**
   * Compares the target with the table, applies rows that differ and, without `keys`, removes leftovers. Rows that
   * match are adopted without a write. Runs even while paused: somebody asked for it. Rejects if the target cannot be read.
   */
  repair(keys?: Iterable<string>): Promise<RepairReport>;
  /** A full repair soon: many requests become one, not more often than `repairMinInterval`. */
  requestRepair(): void;
  /** Leaves drift and leftovers alone for that many milliseconds. Changed rows are still applied and failed ones retried. */
  pause(ms: number): void;
  resume(): void;
  /** Resolves when nothing can be done now: each row is done or waits for its next try. */
  settled(): Promise<void>;
}

export interface ApplierOptions {
  /** In order of dependency: what others need comes first. Updates go in this order, deletes in reverse. */
  readonly reconcilers: readonly Reconciler[];
  readonly clock: Clock;
  readonly logger: Logger;
}

export type KeysByReconciler = Readonly<Record<string, Iterable<string>>>;

/** Several reconcilers that depend on each other. */
export interface Applier {
  readonly reconcilers: readonly Reconciler[];
  /** First compares every reconciler with its target, adopting what matches; then updates in order; then deletes. */
  start(): void;
  stop(): Promise<void>;
  /** By name. */
  summary(): Readonly<Record<string, ReconcilerSummary>>;
  onChange(listener: (reconciler: string, key: string, status: RowStatus | undefined) => void): () => void;
  /**
   * Applies these rows now, updates in order of reconcilers, then removals in reverse. Rejects with the first error, leaving
   * later reconcilers to the queue. Without `keys`: all that is pending. Throws "invalid" for an unknown name.
   */
  flush(keys?: KeysByReconciler): Promise<void>;
  /** By name of reconciler. With `keys`, only those rows and no prune. */
  repair(keys?: KeysByReconciler): Promise<Readonly<Record<string, RepairReport>>>;
  requestRepair(): void;
  pause(ms: number): void;
  resume(): void;
  settled(): Promise<void>;
}
