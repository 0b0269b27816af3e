/**
 * A limit of rate: `burst` at once, and `qps` a second on average. Whoever has to wait does so in order of
 * arrival, because each one takes its token at once and waits until the bucket would have had it.
 */
import { type Clock, WeftError } from "@weft/base";
import { sleep } from "./abort.ts";

export interface RateLimit {
  /** Tokens a second, above 0. */
  readonly qps: number;
  /** Tokens of a full bucket, at least 1. */
  readonly burst: number;
}

export class TokenBucket {
  readonly #limit: RateLimit;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor(limit: RateLimit, clock: Clock) {
    if (!(limit.qps > 0) || !(limit.burst >= 1)) {
      throw new WeftError("invalid", `a rate of ${limit.qps} a second with a burst of ${limit.burst}`, {
        hint: "qps must be above 0, and burst at least 1.",
      });
    }
    this.#limit = limit;
    this.#clock = clock;
    this.#tokens = limit.burst;
    this.#at = clock.monotonic();
  }

  /** Takes a token if there is one. */
  tryTake(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Takes a token, waiting for it; when called off, the token is given back. */
  async take(signal?: AbortSignal): Promise<void> {
    this.#refill();
    this.#tokens--;
    if (this.#tokens >= 0) return;
    try {
      await sleep(this.#clock, (-this.#tokens / this.#limit.qps) * 1000, signal);
    } catch (error) {
      this.#tokens++;
      throw error;
    }
  }

  /** True when it has rested for so long that it is as good as new. */
  get full(): boolean {
    this.#refill();
    return this.#tokens >= this.#limit.burst;
  }

  #refill(): void {
    const now = this.#clock.monotonic();
    const gained = ((now - this.#at) / 1000) * this.#limit.qps;
    this.#tokens = Math.min(this.#limit.burst, this.#tokens + gained);
    this.#at = now;
  }
}
