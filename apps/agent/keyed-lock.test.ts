import { expect, test } from "bun:test";
import fc from "fast-check";
import { KeyedLock } from "./keyed-lock.ts";

test("one at a time for each key, in order of arrival, whatever fails and however long each takes", async () => {
  const job = fc.record({ key: fc.constantFrom("a", "b", "c"), turns: fc.nat(3), fails: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(job, { maxLength: 20 }), async (jobs) => {
      const lock = new KeyedLock();
      const inside = new Map<string, number>();
      const order: number[] = [];
      const results = await Promise.allSettled(
        jobs.map(({ key, turns, fails }, i) =>
          lock.run(key, async () => {
            expect(inside.get(key) ?? 0).toBe(0);
            inside.set(key, 1);
            order.push(i);
            for (let t = 0; t < turns; t++) await Promise.resolve();
            expect(lock.busy(key)).toBe(true);
            inside.set(key, 0);
            if (fails) throw new Error(`${i}`);
            return i;
          }),
        ),
      );
      expect(results.map((r) => r.status)).toEqual(jobs.map((j) => (j.fails ? "rejected" : "fulfilled")));
      for (const key of ["a", "b", "c"]) {
        const mine = order.filter((i) => jobs[i]?.key === key);
        expect(mine).toEqual([...mine].sort((x, y) => x - y));
        expect(lock.busy(key)).toBe(false);
      }
    }),
  );
});

test("keys do not wait for each other", async () => {
  const lock = new KeyedLock();
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = lock.run("slow", () => promise);
  expect(await lock.run("quick", async () => "done")).toBe("done");
  resolve();
  await slow;
});
