/** When to compare a target with its table: at the start, then periodically, upon request, and never while paused. */
import { backoffDelay, type Clock } from "@weft/base";

export interface RepairPlanOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** Milliseconds; 0: not periodically. */
  readonly interval: number;
  readonly minInterval: number;
}

/** After the target could not be read. */
const RETRY = { first: 1000, cap: 30_000 };

export class RepairPlan {
  /** Epoch milliseconds of the last success. */
  lastRepair: number | undefined;
  readonly #options: RepairPlanOptions;
  #isFirst = true;
  /** Monotonic times. */
  #periodic = Number.POSITIVE_INFINITY;
  #requested = Number.POSITIVE_INFINITY;
  #last = Number.NEGATIVE_INFINITY;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(options: RepairPlanOptions) {
    this.#options = options;
  }

  request(): void {
    const { clock, minInterval } = this.#options;
    this.#requested = Math.min(this.#requested, Math.max(clock.monotonic(), this.#last + minInterval));
  }

  pause(ms: number): void {
    this.#pausedUntil = this.#options.clock.monotonic() + ms;
  }

  resume(): void {
    this.#pausedUntil = Number.NEGATIVE_INFINITY;
  }

  get pausedUntil(): number | undefined {
    const { clock } = this.#options;
    const left = this.#pausedUntil - clock.monotonic();
    return left > 0 ? clock.now() + left : undefined;
  }

  /** Monotonic time of the next repair. The first one is due at once, paused or not: it adopts what is there. */
  get dueAt(): number {
    if (this.#isFirst) return Number.NEGATIVE_INFINITY;
    return Math.max(Math.min(this.#periodic, this.#requested), this.#pausedUntil);
  }

  /** A full repair begins: requests from now on ask for another one. */
  begin(): void {
    this.#isFirst = false;
    this.#last = this.#options.clock.monotonic();
    this.#requested = Number.POSITIVE_INFINITY;
    this.#schedule();
  }

  succeed(): void {
    this.#failures = 0;
    this.lastRepair = this.#options.clock.now();
  }

  fail(): void {
    const { clock, random } = this.#options;
    this.#failures++;
    this.#requested = Math.min(
      this.#requested,
      clock.monotonic() + backoffDelay(this.#failures, RETRY, random),
    );
  }

  #schedule(): void {
    const { clock, interval, random } = this.#options;
    if (interval > 0) this.#periodic = clock.monotonic() + interval * (0.9 + random() / 5);
  }
}
