/**
 * The loop that drives one reconciler, or several in order of dependency. Each round: compare those targets whose repair
 * is due; then one chunk of the first reconciler that has updates; when none has, one chunk of deletes of the last
 * that has some. Then the event loop gets a turn. When nothing can be done, one timer waits for the next retry or repair.
 */
import { type Clock, describeError, type Logger } from "@weft/base";
import type { ReconcilerCore } from "./reconciler.ts";
import type { Operation } from "./row-entry.ts";
import { nextTurn } from "./turn.ts";

type Worker = ReconcilerCore<unknown, unknown>;

export class Scheduler {
  readonly #workers: readonly Worker[];
  readonly #reversed: readonly Worker[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  #state: "new" | "running" | "stopped" = "new";
  /** The round under way or about to begin. */
  #rounds: Promise<void> | undefined;
  #wokenMeanwhile = false;
  #cancelTimer: () => void = () => {};

  constructor(workers: readonly Worker[], clock: Clock, logger: Logger) {
    this.#workers = workers;
    this.#reversed = workers.toReversed();
    this.#clock = clock;
    this.#logger = logger;
    for (const worker of workers) worker.queue.wake = () => this.wake();
  }

  start(): void {
    if (this.#state !== "new") return;
    this.#state = "running";
    this.wake();
  }

  async stop(): Promise<void> {
    this.#state = "stopped";
    this.#cancelTimer();
    await this.#rounds;
    for (const { queue } of this.#workers) await queue.inFlight();
  }

  wake(): void {
    if (this.#state !== "running") return;
    this.#wokenMeanwhile = true;
    this.#rounds ??= nextTurn().then(() => this.#run());
  }

  async settled(): Promise<void> {
    this.wake();
    while (this.#rounds !== undefined) await this.#rounds;
    for (const { queue } of this.#workers) await queue.inFlight();
  }

  async #run(): Promise<void> {
    this.#cancelTimer();
    while (this.#state === "running") {
      this.#wokenMeanwhile = false;
      const worked = (await this.#repairOne()) || (await this.#work());
      if (!worked && !this.#wokenMeanwhile) break;
      await nextTurn();
    }
    this.#rounds = undefined;
    if (this.#state === "running") this.#setTimer();
  }

  /** Comparing comes first, so that the first round of all adopts what is there before anything is written. */
  async #repairOne(): Promise<boolean> {
    const worker = this.#workers.find(({ plan }) => plan.dueAt <= this.#clock.monotonic());
    if (worker === undefined) return false;
    try {
      const { checked, drifted, different, leftovers } = await worker.compare(undefined);
      const log = drifted + leftovers.length > 0 ? this.#logger.info : this.#logger.debug;
      const counts = { checked, drifted, different: different.length, leftovers: leftovers.length };
      log("compared with the target", { reconciler: worker.name, ...counts });
    } catch (error) {
      this.#logger.warn("cannot read the target", { reconciler: worker.name, error: describeError(error) });
    }
    return true;
  }

  /** One chunk of work at most. A chunk is shared: half of one reconciler's leaves half of the next one's. */
  async #work(): Promise<boolean> {
    this.#helpWaiting();
    for (const { queue } of this.#workers) queue.promote(this.#clock.monotonic());
    let load = 0;
    for (const [operation, workers] of this.#order()) {
      for (const worker of workers) {
        const limit = Math.ceil((1 - load) * worker.chunk);
        const keys = worker.queue.dueKeys(operation, limit);
        if (keys.length > 0) worker.queue.run(keys);
        // Whoever depends on these must not start before they have ended.
        await worker.queue.inFlight();
        load += keys.length / worker.chunk;
        if (load >= 1 || worker.queue.dueCount(operation) > 0) return true;
      }
      // Updates that came meanwhile go before deletes.
      if (operation === "update" && load > 0) return true;
    }
    return load > 0;
  }

  #order(): readonly (readonly [Operation, readonly Worker[]])[] {
    return [
      ["update", this.#workers],
      ["delete", this.#reversed],
    ];
  }

  /** An update helps rows of later reconcilers that failed; a delete helps those of its own and of earlier ones. */
  #helpWaiting(): void {
    this.#workers.forEach((worker, place) => {
      const { succeeded } = worker.queue;
      const from = succeeded.delete ? 0 : place + 1;
      const to = succeeded.update ? this.#workers.length : place + 1;
      for (const other of this.#workers.slice(from, to)) other.queue.hurry();
      succeeded.update = false;
      succeeded.delete = false;
    });
  }

  #setTimer(): void {
    const now = this.#clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const { queue, plan } of this.#workers) {
      next = Math.min(next, plan.dueAt, queue.promote(now) ?? Number.POSITIVE_INFINITY);
      if (queue.dueCount("update") + queue.dueCount("delete") > 0) next = now;
    }
    this.#cancelTimer();
    if (next === Number.POSITIVE_INFINITY) return;
    const ms = Math.min(Math.max(next - now, 0), LONGEST_TIMER);
    this.#cancelTimer = this.#clock.setTimeout(() => this.wake(), ms);
  }
}

/** Timers of the runtime are signed 32-bit milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;
