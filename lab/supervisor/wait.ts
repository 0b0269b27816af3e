/** Waiting that can be ended early, and a limit on how much is done at once. */
import type { Clock } from "@weft/base";

/** Resolves after `ms`, true, or at once when aborted, false. */
export function pause(clock: Clock, ms: number, aborted: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (aborted.aborted) return resolve(false);
    const cancel = clock.setTimeout(() => {
      aborted.removeEventListener("abort", stop);
      resolve(true);
    }, ms);
    const stop = (): void => {
      cancel();
      resolve(false);
    };
    aborted.addEventListener("abort", stop, { once: true });
  });
}

/** Waits from 200 ms, doubling, to 10 s. */
export class Backoff {
  #next: number;
  readonly #first: number;
  readonly #most: number;

  constructor(first = 200, most = 10_000) {
    this.#first = first;
    this.#next = first;
    this.#most = most;
  }
  next(): number {
    const ms = this.#next;
    this.#next = Math.min(this.#most, ms * 2);
    return ms;
  }
  reset(): void {
    this.#next = this.#first;
  }
}

/** At most `places` of the functions run at a time; the others wait in the order they came. */
export class Limit {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(fn: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await fn();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
