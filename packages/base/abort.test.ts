import { expect, test } from "bun:test";
import { abortReason, hasCode, unlessAborted } from "./index.ts";

/** What it comes to, in words; "waits" when that takes long. */
const outcome = (promise: Promise<string>): Promise<string> =>
  Promise.race([promise.catch((error: Error) => error.message), Bun.sleep(1000).then(() => "waits")]);

test("what comes first counts: the work's end, its failure, or the abort", async () => {
  const stop = new AbortController();
  const { signal } = stop;
  const work = Promise.withResolvers<string>();
  expect(await outcome(unlessAborted(Promise.resolve("done"), signal))).toBe("done");
  expect(await outcome(unlessAborted(Promise.resolve("done"), undefined))).toBe("done");
  expect(await outcome(unlessAborted(Promise.reject(new Error("broken")), signal))).toBe("broken");
  const waiting = outcome(unlessAborted(work.promise, signal));
  stop.abort(new Error("enough"));
  expect(await waiting).toBe("enough");
  expect(await outcome(unlessAborted(work.promise, signal))).toBe("enough");
  // It fails when nobody waits any more: that harms nobody.
  work.reject(new Error("late"));
  await Bun.sleep(0);
});

test("a reason that is no error becomes one", () => {
  const reason = abortReason(AbortSignal.abort("because"));
  expect(hasCode(reason, "unavailable")).toBe(true);
  expect(reason.cause).toBe("because");
});
