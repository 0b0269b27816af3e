/**
 * The rows of one reconciler on their way to the target. For each key it remembers what the table wants, what was
 * applied last, and whether an operation is in flight; so a key has at most one operation at a time, and what happens
 * to the row meanwhile is looked at when that ends.
 *
 *   pending --run--> done             (update)
 *      ^   \--run--> gone             (delete)
 *      |    \-run--> error --backoff--> run
 *      +-- the row changes, or drift is seen
 */
import { type Backoff, backoffDelay, type Clock, describeError, hintOf, type Logger } from "@weft/base";
import type { ReconcilerOps, RowStatus, StatusListener } from "./reconcile-types.ts";
import { sameRow } from "./row.ts";
import { newEntry, type Operation, operationOf, plainStatus, type RowEntry, rowError } from "./row-entry.ts";
import type { ReadableTable } from "./types.ts";

export interface RowQueueOptions<Row, Actual> {
  readonly name: string;
  readonly table: ReadableTable<Row>;
  readonly ops: ReconcilerOps<Row, Actual>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly retry: Backoff;
}

interface Attempt<Row, Actual> {
  readonly entry: RowEntry<Row, Actual>;
  readonly row: Row | undefined;
}

/** Rows that another row's success may help are tried again no sooner than this after their last attempt. */
const HURRIED_RETRY = 1000;

export class RowQueue<Row, Actual> {
  readonly statuses = new Map<string, RowStatus>();
  /** Called when there may be something to do. */
  wake: () => void = () => {};
  /** What succeeded since this was last reset. */
  readonly succeeded = { update: false, delete: false };

  readonly #options: RowQueueOptions<Row, Actual>;
  readonly #entries = new Map<string, RowEntry<Row, Actual>>();
  /** Keys that can be run now. */
  readonly #due = { update: new Set<string>(), delete: new Set<string>() };
  /** Keys in error, to the monotonic time of the next try. */
  readonly #waiting = new Map<string, number>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #listeners = new Set<StatusListener>();
  readonly #touchLogs = new Set<Set<string>>();

  constructor(options: RowQueueOptions<Row, Actual>) {
    this.#options = options;
  }

  // What the table and the target say.

  /** Looks at the table's row of that key; calling it too often does no harm. */
  observe(key: string): void {
    const row = this.#options.table.get(key);
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      if (row !== undefined) this.#add(newEntry<Row, Actual>(key, row, undefined, this.#options.clock.now()));
      return;
    }
    if (entry.row === row) return;
    const isSame = entry.row !== undefined && row !== undefined && sameRow(entry.row, row);
    entry.row = row;
    if (!isSame) this.#place(entry);
  }

  /** The target holds this row already. */
  adopt(key: string, row: Row): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.busy !== undefined) return;
    Object.assign(entry, { applied: row, tried: row, clean: true, leftover: undefined });
    if (entry.status.state !== "done") this.#place(entry);
  }

  /** The target does not hold the row. True if that is news: the row was done. */
  drifted(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.busy !== undefined) return false;
    entry.clean = false;
    if (entry.status.state !== "done") return false;
    this.#place(entry);
    return true;
  }

  /** The target holds an object of ours that no row wants. */
  leftover(key: string, actual: Actual): void {
    if (!this.#entries.has(key))
      this.#add(newEntry<Row, Actual>(key, undefined, actual, this.#options.clock.now()));
  }

  /** Collects the keys that operations touch from now on, those in flight included; `end` stops that. */
  logTouches(): { readonly touched: ReadonlySet<string>; end(): void } {
    const touched = new Set<string>();
    for (const entry of this.#entries.values()) if (entry.busy !== undefined) touched.add(entry.key);
    this.#touchLogs.add(touched);
    return { touched, end: () => void this.#touchLogs.delete(touched) };
  }

  // What can be done.

  entry(key: string): RowEntry<Row, Actual> | undefined {
    return this.#entries.get(key);
  }

  dueCount(operation: Operation): number {
    return this.#due[operation].size;
  }

  dueKeys(operation: Operation, limit = Number.POSITIVE_INFINITY): string[] {
    const keys: string[] = [];
    for (const key of this.#due[operation]) {
      if (keys.length >= limit) break;
      keys.push(key);
    }
    return keys;
  }

  /** Makes rows due whose time has come; returns the time of the next one. */
  promote(now: number): number | undefined {
    let next: number | undefined;
    for (const [key, at] of this.#waiting) {
      if (at > now) next = Math.min(next ?? at, at);
      else {
        this.#waiting.delete(key);
        this.#due[operationOf(this.#entries.get(key) as RowEntry<Row, Actual>)].add(key);
      }
    }
    return next;
  }

  /** Something that rows in error may have waited for has been done: they need not sit out a long backoff. */
  hurry(): void {
    for (const [key, at] of this.#waiting) {
      const lastTry = this.#entries.get(key)?.lastTry ?? at;
      this.#waiting.set(key, Math.min(at, lastTry + HURRIED_RETRY));
    }
  }

  /** Resolves when what is in flight now has ended; undefined if nothing is. */
  inFlight(): Promise<unknown> | undefined {
    return this.#inFlight.size === 0 ? undefined : Promise.all(this.#inFlight);
  }

  onChange(listener: StatusListener): () => void {
    const own: StatusListener = (key, status) => listener(key, status);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  // Doing it.

  /** Starts the operation of each key that has one to do and none in flight. Synchronous operations have ended upon return. */
  run(keys: Iterable<string>): void {
    const updates: RowEntry<Row, Actual>[] = [];
    const deletes: RowEntry<Row, Actual>[] = [];
    const prunes: RowEntry<Row, Actual>[] = [];
    for (const key of keys) {
      this.observe(key);
      const entry = this.#entries.get(key);
      if (entry === undefined || entry.busy !== undefined || entry.status.state === "done") continue;
      if (entry.row !== undefined) updates.push(entry);
      else (entry.tried !== undefined ? deletes : prunes).push(entry);
    }
    const { ops } = this.#options;
    this.#runAll(updates, ops.updateMany && ((rows) => ops.updateMany?.(rows)));
    this.#runAll(deletes, ops.deleteMany && ((rows) => ops.deleteMany?.(rows)));
    this.#runAll(prunes, undefined);
  }

  #runAll(
    entries: readonly RowEntry<Row, Actual>[],
    many: ((rows: readonly Row[]) => void | Promise<void>) | undefined,
  ): void {
    if (many === undefined || entries.length < 2) {
      for (const entry of entries) this.#runOne(entry);
      return;
    }
    const attempts = entries.map((entry) => this.#begin(entry));
    const rows = entries.map((entry) => (entry.row ?? entry.tried) as Row);
    this.#track(
      attempts,
      () => many(rows),
      // Which row is to blame, only single attempts can tell.
      () => Promise.all(entries.map((entry) => this.#runOne(entry))),
    );
  }

  #runOne(entry: RowEntry<Row, Actual>): void | Promise<void> {
    const { ops } = this.#options;
    const attempt = this.#begin(entry);
    const operate = (): void | Promise<void> => {
      if (attempt.row !== undefined) return ops.update(attempt.row, entry.applied);
      if (entry.tried !== undefined) return ops.delete(entry.tried);
      return ops.actual?.delete(entry.leftover as Actual);
    };
    return this.#track([attempt], operate, (error) => this.#finish(attempt, error));
  }

  /** Runs `operate` for these attempts and sees them through to their end. */
  #track(
    attempts: readonly Attempt<Row, Actual>[],
    operate: () => void | Promise<void>,
    failed: (error: unknown) => unknown,
  ): void | Promise<void> {
    const succeed = (): void => {
      for (const attempt of attempts) this.#finish(attempt, undefined);
    };
    const fail = (error: unknown): unknown => {
      for (const { entry } of attempts) entry.busy = undefined;
      return failed(error ?? new Error("failed without saying why"));
    };
    let result: void | Promise<void>;
    try {
      result = operate();
    } catch (error) {
      fail(error);
      return;
    }
    if (!(result instanceof Promise)) return succeed();
    const ended = result.then(succeed, fail).then(() => {
      this.#inFlight.delete(ended);
      this.wake();
    });
    this.#inFlight.add(ended);
    for (const { entry } of attempts) entry.busy = ended;
    return ended;
  }

  #begin(entry: RowEntry<Row, Actual>): Attempt<Row, Actual> {
    this.#clear(entry.key);
    this.#touch(entry.key);
    entry.clean = false;
    entry.lastTry = this.#options.clock.monotonic();
    if (entry.row !== undefined) entry.tried = entry.row;
    return { entry, row: entry.row };
  }

  #finish({ entry, row }: Attempt<Row, Actual>, error: unknown): void {
    entry.busy = undefined;
    if (error !== undefined) {
      if (entry.row === row) this.#fail(entry, error);
      else this.#place(entry);
      return;
    }
    this.succeeded[row === undefined ? "delete" : "update"] = true;
    Object.assign(entry, { applied: row, tried: row, clean: row !== undefined, leftover: undefined });
    this.#place(entry);
  }

  #fail(entry: RowEntry<Row, Actual>, cause: unknown): void {
    const { name, clock, logger, random, retry } = this.#options;
    const error = rowError(name, entry.key, cause);
    const attempts = entry.status.attempts + 1;
    const delay = backoffDelay(attempts, retry, random);
    if (attempts === 1) {
      logger.warn("row failed", {
        reconciler: name,
        key: entry.key,
        error: describeError(cause),
        retry: delay,
      });
    }
    entry.error = error;
    this.#waiting.set(entry.key, clock.monotonic() + delay);
    this.#set(entry, {
      state: "error",
      operation: operationOf(entry),
      since: entry.status.state === "error" ? entry.status.since : clock.now(),
      attempts,
      message: describeError(cause),
      code: error.code,
      hint: hintOf(cause),
      nextTry: clock.now() + delay,
    });
    this.wake();
  }

  // States.

  #add(entry: RowEntry<Row, Actual>): void {
    this.#entries.set(entry.key, entry);
    this.#place(entry);
  }

  /** Puts the entry where it belongs after it has changed: done, gone, or pending with a fresh backoff. */
  #place(entry: RowEntry<Row, Actual>): void {
    this.#clear(entry.key);
    entry.error = undefined;
    const operation = operationOf(entry);
    const now = this.#options.clock.now();
    if (
      entry.busy === undefined &&
      entry.row === undefined &&
      entry.tried === undefined &&
      entry.leftover === undefined
    ) {
      this.#entries.delete(entry.key);
      this.statuses.delete(entry.key);
      this.#emit(entry.key, undefined);
      return;
    }
    if (entry.clean && sameRow(entry.applied, entry.row)) {
      this.#set(entry, plainStatus("done", operation, now));
      return;
    }
    this.#set(entry, plainStatus("pending", operation, now));
    if (entry.busy !== undefined) return;
    this.#due[operation].add(entry.key);
    this.wake();
  }

  #clear(key: string): void {
    this.#due.update.delete(key);
    this.#due.delete.delete(key);
    this.#waiting.delete(key);
  }

  #set(entry: RowEntry<Row, Actual>, status: RowStatus): void {
    entry.status = status;
    this.statuses.set(entry.key, status);
    this.#emit(entry.key, status);
  }

  #emit(key: string, status: RowStatus | undefined): void {
    for (const listener of this.#listeners) {
      try {
        listener(key, status);
      } catch (error) {
        const { name, logger } = this.#options;
        logger.error("status listener failed", { reconciler: name, key, error: describeError(error) });
      }
    }
  }

  #touch(key: string): void {
    for (const log of this.#touchLogs) log.add(key);
  }
}
