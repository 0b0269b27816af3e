/**
 * Keys of objects to look at: each at most once in the queue, never twice at a time, again when it was added meanwhile,
 * and after a failure again later and later. What an event said is not kept: whoever looks sees the state of now.
 */
import { type Backoff, backoffDelay, type Clock, describeError, type Logger } from "@weft/base";

/** Looks at an object. Returns milliseconds after which to look again though nothing may have changed. */
export type Look = (key: string) => Promise<number | undefined>;

export interface KeyQueueOptions {
  readonly name: string;
  readonly look: Look;
  /** How many are looked at at a time; 4 by default. */
  readonly atOnce?: number;
  /** Milliseconds that the first key waits for others, when nothing is being looked at; none by default. */
  readonly gather?: number;
  /** Without jitter; from 20 milliseconds to 10 seconds by default. */
  readonly retry?: Backoff;
  /** True for failures that are no news: somebody else was first. Many in a row for one key are news all the same. */
  readonly isExpected?: (error: unknown) => boolean;
  /** True for failures that end it: there is nothing to look at any more. */
  readonly isFinal?: (error: unknown) => boolean;
  /** Once it is aborted nothing is looked at, and no failure told; `stop` is still to be called. */
  readonly signal?: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RETRY: Backoff = { first: 20, cap: 10_000 };
/** Failures of a key in a row that may be expected: who was outrun that often is not outrun, but wrong about what there is. */
const EXPECTED_AT_MOST = 8;

export class KeyQueue {
  readonly #o: KeyQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  /** Added while they are looked at. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { readonly at: number; readonly cancel: () => void }>();
  #gathering: (() => void) | undefined;
  #started = false;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: KeyQueueOptions) {
    this.#o = options;
  }

  add(key: string): void {
    if (this.#ended) return;
    if (this.#running.has(key)) this.#again.add(key);
    else this.#waiting.add(key);
    this.#begin();
  }

  /** Adds the key after that many milliseconds. The earlier of two times counts, and whatever adds it before. */
  later(key: string, ms: number): void {
    if (this.#ended) return;
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

  /** The key is not waited for any more, nor its failures remembered. Whoever is looking at it goes on. */
  forget(key: string): void {
    this.#waiting.delete(key);
    this.#again.delete(key);
    this.#failures.delete(key);
    this.#cancel(key);
  }

  /** Nothing is looked at before. */
  start(): void {
    this.#started = true;
    if (this.#waiting.size > 0) this.#begin();
  }

  /** Resolves when nobody is looking any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#gathering?.();
    for (const { cancel } of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#waiting.clear();
    this.#again.clear();
    if (this.#running.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  get #ended(): boolean {
    return this.#stopped || this.#o.signal?.aborted === true;
  }

  #begin(): void {
    const { gather, clock } = this.#o;
    if (gather === undefined || this.#running.size > 0) this.#pump();
    else if (this.#started && this.#gathering === undefined)
      this.#gathering = clock.setTimeout(() => {
        this.#gathering = undefined;
        this.#pump();
      }, gather);
  }

  #pump(): void {
    const { atOnce = 4 } = this.#o;
    if (!this.#started || this.#ended) return;
    for (const key of this.#waiting) {
      if (this.#running.size >= atOnce) return;
      this.#waiting.delete(key);
      this.#running.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    const { look } = this.#o;
    // Whoever added it may be in the middle of a change, and may add it again.
    await null;
    this.#again.delete(key);
    this.#cancel(key);
    try {
      const ms = await look(key);
      this.#failures.delete(key);
      if (ms !== undefined) this.later(key, ms);
    } catch (error) {
      this.#failed(key, error);
    }
    this.#running.delete(key);
    if (this.#again.delete(key)) this.#waiting.add(key);
    if (this.#running.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    this.#pump();
  }

  #failed(key: string, error: unknown): void {
    const { name, retry = RETRY, isExpected, isFinal, logger } = this.#o;
    if (isFinal?.(error) === true) {
      this.#failures.delete(key);
      return;
    }
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const expected = failures <= EXPECTED_AT_MOST && isExpected?.(error) === true;
    if (!expected && !this.#ended) {
      logger.warn("will be tried again", { controller: name, object: key, error: describeError(error) });
    }
    this.later(key, backoffDelay(failures, retry));
  }

  #cancel(key: string): void {
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
  }
}
