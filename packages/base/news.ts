/** Waiting for something to be told, whatever it is, but not for ever. */
import { type Clock, systemClock } from "./clock.ts";

/**
 * ```ts
 * while (!isKnown()) await news.next(200);
 * ```
 *
 * Whoever waits looks again by himself: that something was told says no more than that.
 */
export class News {
  readonly #clock: Pick<Clock, "setTimeout">;
  readonly #waiting = new Set<() => void>();

  constructor(clock: Pick<Clock, "setTimeout"> = systemClock) {
    this.#clock = clock;
  }

  /** Ends every wait. */
  tell(): void {
    for (const end of [...this.#waiting]) end();
  }

  /** Resolves with the next `tell`, or after `most` milliseconds. */
  next(most: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        this.#waiting.delete(end);
        resolve();
      };
      const cancel = this.#clock.setTimeout(end, most);
      this.#waiting.add(end);
    });
  }

  /** How many wait now. */
  get waiting(): number {
    return this.#waiting.size;
  }
}
