import { expect, test } from "bun:test";
import { abortReason, hasCode, unlessAborted } from "./index.ts";

test("what comes first counts: the work's end, its failure, or the abort", async () => {
  const stop = new AbortController();
  const { signal } = stop;
  const work = Promise.withResolvers<string>();
  expect(await unlessAborted(Promise.resolve("done"), signal)).toBe("done");
  expect(await unlessAborted(Promise.resolve("done"), undefined)).toBe("done");
  expect(unlessAborted(Promise.reject(new Error("broken")), signal)).rejects.toThrow("broken");
  const waiting = unlessAborted(work.promise, signal);
  stop.abort(new Error("enough"));
  expect(waiting).rejects.toThrow("enough");
  expect(unlessAborted(work.promise, signal)).rejects.toThrow("enough");
  // It fails when nobody waits any more: that harms nobody.
  work.reject(new Error("late"));
  await Bun.sleep(0);
});

test("a reason that is no error becomes one", () => {
  const reason = abortReason(AbortSignal.abort("because"));
  expect(hasCode(reason, "unavailable")).toBe(true);
  expect(reason.cause).toBe("because");
});
