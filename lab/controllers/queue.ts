/**
 * Keys of objects to look at: each at most once in the queue, never twice at a time, again when it was added meanwhile,
 * and after a failure again later and later. What an event said is not kept: whoever looks sees the state of now.
 */
import { type Clock, describeError, type Logger } from "@weft/base";

/** Looks at an object. Returns milliseconds after which to look again though nothing may have changed. */
export type Look = (key: string) => Promise<number | undefined>;

export interface QueueOptions {
  readonly name: string;
  readonly look: Look;
  /** How many are looked at at a time; 4 by default. */
  readonly atOnce?: number;
  /** True for failures that are no news: somebody else was first. */
  readonly isExpected?: (error: unknown) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FIRST_MS = 20;
const LONGEST_MS = 10_000;

export class Queue {
  readonly #o: QueueOptions;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  /** Added while they are looked at. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { readonly at: number; readonly cancel: () => void }>();
  #started = false;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#o = options;
  }

  add(key: string): void {
    if (this.#stopped) return;
    if (this.#running.has(key)) this.#again.add(key);
    else this.#waiting.add(key);
    this.#pump();
  }

  /** Nothing is looked at before. */
  start(): void {
    this.#started = true;
    this.#pump();
  }

  /** Resolves when nobody is looking any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { cancel } of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#waiting.clear();
    this.#again.clear();
    if (this.#running.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    const { atOnce = 4 } = this.#o;
    if (!this.#started || this.#stopped) return;
    for (const key of this.#waiting) {
      if (this.#running.size >= atOnce) return;
      this.#waiting.delete(key);
      this.#running.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    const { name, look, isExpected, logger } = this.#o;
    // Whoever added it may be in the middle of a change.
    await null;
    this.#cancel(key);
    try {
      const ms = await look(key);
      this.#failures.delete(key);
      if (ms !== undefined) this.#later(key, ms);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      if (isExpected?.(error) !== true && !this.#stopped) {
        logger.warn("will be tried again", { controller: name, object: key, error: describeError(error) });
      }
      this.#later(key, Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20)));
    }
    this.#running.delete(key);
    if (this.#again.delete(key)) this.#waiting.add(key);
    if (this.#running.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    this.#pump();
  }

  /** The earlier of two times counts. */
  #later(key: string, ms: number): void {
    if (this.#stopped) return;
    const { clock } = this.#o;
    const at = clock.monotonic() + ms;
    const held = this.#timers.get(key);
    if (held !== undefined && held.at <= at) return;
    held?.cancel();
    const cancel = clock.setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, ms);
    this.#timers.set(key, { at, cancel });
  }

  #cancel(key: string): void {
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
  }
}
