/**
 * A reconciler brings a target, such as the kernel's routes, to a table, and keeps it there. Operations are update,
 * delete and prune, each idempotent. A failure stops at its row, which is tried again with backoff for ever. A repair
 * reads the target and writes only what differs: at the start, so that a restart changes nothing; periodically; and when
 * something hints that the target was changed behind our back.
 */
import { describeError, WeftError } from "@weft/base";
import { type Comparison, compare } from "./compare.ts";
import type {
  Reconciler,
  ReconcilerOptions,
  ReconcilerSummary,
  RepairReport,
  RowStatus,
  StatusListener,
} from "./reconcile-types.ts";
import { RepairPlan } from "./repair-plan.ts";
import { rowError } from "./row-entry.ts";
import { RowQueue } from "./row-queue.ts";
import { Scheduler } from "./scheduler.ts";
import { nextTurn } from "./turn.ts";

const NOTHING: Comparison = { checked: 0, different: [], drifted: 0, leftovers: [] };

export class ReconcilerCore<Row, Actual> implements Reconciler {
  readonly name: string;
  readonly chunk: number;
  readonly queue: RowQueue<Row, Actual>;
  readonly plan: RepairPlan;
  readonly #options: ReconcilerOptions<Row, Actual>;
  /** Hears of no more changes of the table. */
  readonly endWatch: () => void;
  #scheduler: Scheduler;
  #isPart = false;
  #repairError: string | undefined;
  /** Of the target, when all of it was compared last. */
  #revision: number | undefined;

  constructor(options: ReconcilerOptions<Row, Actual>) {
    const { name, table, clock, logger, random = Math.random } = options;
    this.name = name;
    this.chunk = options.chunk ?? 64;
    if (!Number.isInteger(this.chunk) || this.chunk < 1) {
      throw new WeftError("invalid", `reconciler ${name}: chunk ${options.chunk} is not a positive integer`);
    }
    this.#options = options;
    const retry = options.retry ?? { first: 100, cap: 30_000 };
    this.queue = new RowQueue<Row, Actual>({ name, table, ops: options.ops, clock, logger, random, retry });
    const interval = options.repairInterval ?? 60_000;
    this.plan = new RepairPlan({ clock, random, interval, minInterval: options.repairMinInterval ?? 1000 });
    this.#scheduler = new Scheduler([this as ReconcilerCore<unknown, unknown>], clock, logger);
    for (const key of table.keys()) this.queue.observe(key);
    this.endWatch = table.watch(({ changes }) => {
      for (const { key } of changes) this.queue.observe(key);
    });
  }

  /** From now on part of an applier, which drives it. */
  join(scheduler: Scheduler): void {
    this.#scheduler = scheduler;
    this.#isPart = true;
  }

  get isPart(): boolean {
    return this.#isPart;
  }

  start(): void {
    this.#mustBeFree();
    this.#scheduler.start();
  }

  async stop(): Promise<void> {
    this.#mustBeFree();
    this.endWatch();
    await this.#scheduler.stop();
  }

  #mustBeFree(): void {
    if (!this.#isPart) return;
    throw new WeftError("invalid", `reconciler ${this.name} belongs to an applier`, {
      hint: "Start and stop the applier.",
    });
  }

  status(key: string): RowStatus | undefined {
    return this.queue.statuses.get(key);
  }

  statuses(): ReadonlyMap<string, RowStatus> {
    return this.queue.statuses;
  }

  summary(): ReconcilerSummary {
    const counts = { done: 0, pending: 0, error: 0 };
    let last: { key: string; message: string; code: WeftError["code"]; since: number } | undefined;
    for (const [key, { state, since, message, code }] of this.queue.statuses) {
      counts[state]++;
      if (message === undefined || code === undefined || (last !== undefined && last.since > since)) continue;
      last = { key, message, code, since };
    }
    return {
      rows: this.#options.table.size,
      done: counts.done,
      pending: counts.pending,
      errors: counts.error,
      lastError: last,
      repairError: this.#repairError,
      lastRepair: this.plan.lastRepair,
      pausedUntil: this.plan.pausedUntil,
    };
  }

  onChange(listener: StatusListener): () => void {
    return this.queue.onChange(listener);
  }

  async flush(keys?: Iterable<string>): Promise<void> {
    const list = keys === undefined ? this.pending() : [...keys];
    await this.apply(list, keys === undefined);
    this.throwFirst(list);
  }

  async repair(keys?: Iterable<string>): Promise<RepairReport> {
    const list = keys === undefined ? undefined : [...keys];
    const found = await this.compare(list);
    await this.apply([...found.different, ...found.leftovers], list === undefined);
    return this.report(found);
  }

  requestRepair(): void {
    this.plan.request();
    this.#scheduler.wake();
  }

  pause(ms: number): void {
    this.plan.pause(ms);
  }

  resume(): void {
    this.plan.resume();
    this.#scheduler.wake();
  }

  settled(): Promise<void> {
    return this.#scheduler.settled();
  }

  /** Keys that wait to be applied or are in flight; rows in backoff are not among them. */
  pending(): string[] {
    return [...this.queue.statuses].filter(([, { state }]) => state === "pending").map(([key]) => key);
  }

  /** Applies these keys whatever the queue says, each once or, if its row changes meanwhile, until it is up to date. */
  async apply(keys: readonly string[], inChunks: boolean): Promise<void> {
    const size = inChunks ? this.chunk : keys.length;
    for (let start = 0; start < keys.length; start += size) {
      if (start > 0) await nextTurn();
      let todo = keys.slice(start, start + size);
      while (todo.length > 0) {
        this.queue.run(todo);
        const busy = todo
          .map((key) => this.queue.entry(key)?.busy)
          .filter((promise) => promise !== undefined);
        if (busy.length > 0) await Promise.all(busy);
        todo = todo.filter((key) => this.queue.entry(key)?.status.state === "pending");
      }
    }
  }

  /** Throws the error of the first of these keys that is in error. */
  throwFirst(keys: readonly string[]): void {
    for (const key of keys) {
      const error = this.queue.entry(key)?.error;
      if (error !== undefined) throw error;
    }
  }

  async compare(keys: readonly string[] | undefined): Promise<Comparison> {
    const { table, ops } = this.#options;
    const isFull = keys === undefined;
    if (isFull) this.plan.begin();
    try {
      const revision = isFull ? ops.actual?.revision?.() : undefined;
      const isKnown = revision !== undefined && revision === this.#revision;
      const found =
        ops.actual === undefined || isKnown
          ? NOTHING
          : await compare(table, this.queue, ops.actual, this.chunk, keys);
      if (isFull) {
        this.plan.succeed();
        // As it was before the look: what changed meanwhile is looked at next time.
        this.#revision = revision;
      }
      this.#repairError = undefined;
      return found;
    } catch (cause) {
      if (isFull) this.plan.fail();
      this.#repairError = describeError(cause);
      throw rowError(this.name, "cannot be read from the target", cause);
    }
  }

  report({ checked, different, leftovers }: Comparison): RepairReport {
    const failed = [...different, ...leftovers].filter((key) => this.status(key)?.state === "error");
    const repaired = different.filter((key) => !failed.includes(key));
    const pruned = leftovers.filter((key) => this.status(key) === undefined).length;
    return { checked, repaired, failed, pruned };
  }
}

/** Makes a reconciler. It takes note of changes at once, and applies them once started. */
export function createReconciler<Row, Actual = never>(options: ReconcilerOptions<Row, Actual>): Reconciler {
  return new ReconcilerCore(options);
}
