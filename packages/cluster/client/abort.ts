/** Waiting that can be called off. */
import { abortReason, type Clock } from "@weft/base";

/** Resolves after that many milliseconds of `clock`; rejects with the signal's reason when that comes first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const aborted = (): void => {
      cancel();
      reject(abortReason(signal as AbortSignal));
    };
    const cancel = clock.setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** A signal that follows another one, and is aborted as well when nothing happened for a while. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** True once the time was over. */
  readonly expired: boolean;
  /** Starts the time afresh, with another length in milliseconds if given. */
  extend(ms?: number): void;
  /** Ends the timer; the other signal is still followed. */
  stop(): void;
  /** Ends timer and following. */
  release(): void;
  abort(reason: Error): void;
}

export function deadline(clock: Clock, ms: number, reason: () => Error, outer?: AbortSignal): Deadline {
  const controller = new AbortController();
  let expired = false;
  let length = ms;
  const end = (): void => {
    expired = true;
    controller.abort(reason());
  };
  let cancel = clock.setTimeout(end, length);
  const follow = (): void => controller.abort(abortReason(outer as AbortSignal));
  if (outer?.aborted) follow();
  else outer?.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    get expired() {
      return expired;
    },
    extend(next = length) {
      cancel();
      length = next;
      cancel = clock.setTimeout(end, length);
    },
    stop: () => cancel(),
    release() {
      cancel();
      outer?.removeEventListener("abort", follow);
    },
    abort: (why) => controller.abort(why),
  };
}
