/** Any order of what users and looks do: no key is lost, none is looked at twice at a time, and no look is for nothing. */
import { expect, test } from "bun:test";
import { FakeClock, silentLogger } from "@weft/base";
import fc from "fast-check";
import { KeyQueue } from "./key-queue.ts";

const RETRY = { first: 5, cap: 40 };
const key = fc.constantFrom("a", "b", "c", "d");
const ms = fc.integer({ min: 1, max: 30 });
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant("add" as const), key, times: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("later" as const), key, ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("forget" as const), key }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("succeed" as const), key, ms: fc.option(ms) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("fail" as const), key }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("advance" as const), ms }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("start" as const) }) },
);
const options = fc.record({
  atOnce: fc.integer({ min: 1, max: 3 }),
  gather: fc.option(ms, { nil: undefined }),
  steps: fc.array(step, { maxLength: 80, size: "max" }),
});

/** Lets everything run that waits for nothing. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await null;
};

interface Running {
  readonly succeed: (again: number | undefined) => void;
  readonly fail: (error: Error) => void;
}

test("no key lost, no key twice at a time, added during a look: one look more", async () => {
  await fc.assert(
    fc.asyncProperty(options, async ({ atOnce, gather, steps }) => {
      const clock = new FakeClock();
      /** Keys for which there is a reason to be looked at, now or later. */
      const due = new Set<string>();
      const running = new Map<string, Running>();
      const wrong: string[] = [];
      const queue = new KeyQueue({
        name: "t",
        look(key) {
          if (running.has(key)) wrong.push(`${key} twice at a time`);
          if (running.size >= atOnce) wrong.push(`${key} is one too many`);
          if (!due.delete(key)) wrong.push(`${key} for nothing`);
          return new Promise((succeed, fail) => running.set(key, { succeed, fail }));
        },
        atOnce,
        ...(gather === undefined ? {} : { gather }),
        retry: RETRY,
        clock,
        logger: silentLogger,
      });
      const end = async (key: string, how: (look: Running) => void, again: boolean): Promise<void> => {
        const look = running.get(key);
        if (look === undefined) return;
        running.delete(key);
        if (again) due.add(key);
        how(look);
        await settle();
      };
      for (const s of steps) {
        if (s.do === "add") {
          due.add(s.key);
          for (let i = 0; i < s.times; i++) queue.add(s.key);
        } else if (s.do === "later") {
          due.add(s.key);
          queue.later(s.key, s.ms);
        } else if (s.do === "forget") {
          due.delete(s.key);
          queue.forget(s.key);
        } else if (s.do === "succeed") {
          await end(s.key, ({ succeed }) => succeed(s.ms ?? undefined), s.ms !== null);
        } else if (s.do === "fail") {
          await end(s.key, ({ fail }) => fail(new Error("no")), true);
        } else if (s.do === "advance") clock.advance(s.ms);
        else queue.start();
        await settle();
      }
      queue.start();
      for (let i = 0; i < 20 && (due.size > 0 || running.size > 0); i++) {
        for (const key of [...running.keys()]) await end(key, ({ succeed }) => succeed(undefined), false);
        clock.advance(RETRY.cap);
        await settle();
      }
      expect({ wrong, due: [...due], running: running.size }).toEqual({ wrong: [], due: [], running: 0 });
      clock.advance(1000);
      await settle();
      expect(wrong).toEqual([]);
      await queue.stop();
    }),
    { numRuns: 300 },
  );
});
