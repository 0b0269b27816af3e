/** Work that is not waited for any longer than a signal says. */
import { WeftError } from "./errors.ts";

/** What a signal was aborted with, as an error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new WeftError("unavailable", "it was called off", { cause: signal.reason });
}

/** What the promise comes to, unless the signal's abort comes first: rejects with its reason then. The work itself goes on. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const calledOff = Promise.withResolvers<never>();
  const aborted = (): void => calledOff.reject(abortReason(signal));
  if (signal.aborted) aborted();
  else signal.addEventListener("abort", aborted, { once: true });
  try {
    return await Promise.race([calledOff.promise, promise]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}
