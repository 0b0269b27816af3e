import { expect, test } from "bun:test";
import { createLogger, FakeClock, isExists, isNotFound, silentLogger, WeftError } from "@weft/base";
import { KeyQueue, type KeyQueueOptions, type Look } from "./key-queue.ts";

/** Lets everything run that waits for nothing. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await null;
};
function start(look: Look, options: Partial<KeyQueueOptions> = {}) {
  const clock = new FakeClock();
  const queue = new KeyQueue({ name: "t", look, clock, logger: silentLogger, ...options });
  return { clock, queue };
}

test("nothing before the start; each key once; again when it was added meanwhile", async () => {
  const seen: string[] = [];
  let release = (): void => {};
  const { queue } = start(async (key) => {
    seen.push(key);
    if (key === "slow") await new Promise<void>((resolve) => (release = resolve));
    return undefined;
  });
  for (const key of ["slow", "b", "b"]) queue.add(key);
  await settle();
  expect(seen).toEqual([]);
  queue.start();
  await settle();
  expect(seen).toEqual(["slow", "b"]);
  queue.add("slow");
  queue.add("slow");
  await settle();
  expect(seen).toHaveLength(2);
  release();
  await settle();
  expect(seen).toEqual(["slow", "b", "slow"]);
  release();
  await queue.stop();
});

test("failures are tried again later and later, and forgotten after a success", async () => {
  let fails = 4;
  const at: number[] = [];
  const { queue, clock } = start(async () => {
    at.push(clock.now() - 1_700_000_000_000);
    if (fails-- > 0) throw new Error("no");
    return undefined;
  });
  queue.start();
  queue.add("a");
  for (let i = 0; i < 400; i++) {
    await settle();
    clock.advance(1);
  }
  expect(at.slice(0, 5).map((ms, i) => ms - (at[i - 1] ?? 0))).toEqual([0, 20, 40, 80, 160]);
  fails = 1;
  queue.add("a");
  await settle();
  clock.advance(20);
  await settle();
  expect(at).toHaveLength(7);
});

test("who asks to be looked at again is, at the earlier of two times", async () => {
  let again: number | undefined = 1000;
  let looks = 0;
  const { queue, clock } = start(async () => {
    looks++;
    return again;
  });
  queue.start();
  queue.add("a");
  await settle();
  again = undefined;
  clock.advance(999);
  await settle();
  expect(looks).toBe(1);
  clock.advance(1);
  await settle();
  expect(looks).toBe(2);
  clock.advance(5000);
  await settle();
  expect(looks).toBe(2);
});

test("at most so many at a time; stop waits for those, and nothing follows", async () => {
  let running = 0;
  let most = 0;
  const releases: (() => void)[] = [];
  const { queue } = start(
    async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => releases.push(resolve));
      running--;
      return undefined;
    },
    { atOnce: 2 },
  );
  queue.start();
  for (const key of ["a", "b", "c"]) queue.add(key);
  await settle();
  expect([running, most]).toEqual([2, 2]);
  let stopped = false;
  const stopping = queue.stop().then(() => (stopped = true));
  await settle();
  expect(stopped).toBe(false);
  for (const release of releases) release();
  await stopping;
  expect(running).toBe(0);
  queue.add("d");
  await settle();
  expect(running).toBe(0);
});

test("times between tries are the user's; a failure that is final is not tried again", async () => {
  const at: number[] = [];
  const lines: string[] = [];
  const { queue, clock } = start(
    async (key) => {
      if (key === "gone") throw new WeftError("not-found", "there is no such thing");
      at.push(clock.now() - 1_700_000_000_000);
      throw new Error("no");
    },
    {
      retry: { first: 2000, cap: 2000 },
      isFinal: isNotFound,
      logger: createLogger((line) => lines.push(line)),
    },
  );
  queue.start();
  queue.add("gone");
  queue.add("a");
  for (let ms = 0; ms <= 6000; ms += 500) {
    await settle();
    clock.advance(500);
  }
  expect(at).toEqual([0, 2000, 4000, 6000]);
  expect(lines).toHaveLength(4);
  expect(lines[0]).toContain("controller=t object=a error=no");
});

test("a failure that is expected is told once it goes on and on, of that key alone", async () => {
  const lines: string[] = [];
  let fails = true;
  const { queue, clock } = start(
    async (key) => {
      if (key === "stuck" && fails) throw new WeftError("exists", "it is there");
      return undefined;
    },
    {
      retry: { first: 10, cap: 10 },
      isExpected: isExists,
      logger: createLogger((line) => lines.push(line)),
    },
  );
  queue.start();
  const tries = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      queue.add("fine");
      await settle();
      clock.advance(10);
    }
    await settle();
  };
  queue.add("stuck");
  await tries(7);
  expect(lines).toEqual([]);
  await tries(2);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toContain('controller=t object=stuck error="it is there"');
  // A success begins a new count.
  fails = false;
  await tries(1);
  fails = true;
  queue.add("stuck");
  await tries(7);
  expect(lines).toHaveLength(2);
});

test("the first key waits for others, and those that come meanwhile for nothing", async () => {
  const seen: string[] = [];
  let release = (): void => {};
  const { queue, clock } = start(
    async (key) => {
      seen.push(key);
      if (key === "slow") await new Promise<void>((resolve) => (release = resolve));
      return undefined;
    },
    { gather: 20, atOnce: 1 },
  );
  queue.add("slow");
  queue.start();
  clock.advance(19);
  queue.add("b");
  queue.add("slow");
  await settle();
  expect(seen).toEqual([]);
  clock.advance(1);
  await settle();
  queue.add("c");
  expect(seen).toEqual(["slow"]);
  release();
  await settle();
  expect(seen).toEqual(["slow", "b", "c"]);
  queue.add("d");
  await queue.stop();
  clock.advance(100);
  await settle();
  expect(seen).toEqual(["slow", "b", "c"]);
});

test("later: the earlier of two times, once, and not when it was looked at before; forget: not at all", async () => {
  const seen: string[] = [];
  const { queue, clock } = start(async (key) => {
    seen.push(`${key} ${clock.now() - 1_700_000_000_000}`);
    return undefined;
  });
  queue.start();
  for (const ms of [60, 40, 50]) queue.later("a", ms);
  for (const ms of [40, 50]) queue.later("b", ms);
  queue.later("c", 70);
  queue.add("c");
  queue.forget("b");
  for (let i = 0; i < 100; i++) {
    await settle();
    clock.advance(1);
  }
  expect(seen).toEqual(["c 0", "a 40"]);
});

test("once the signal is aborted nothing is looked at, and no failure told", async () => {
  const stop = new AbortController();
  const lines: string[] = [];
  let fail = (_: Error): void => {};
  let looks = 0;
  const { queue, clock } = start(
    () => {
      looks++;
      return new Promise((_, reject) => (fail = reject));
    },
    { signal: stop.signal, logger: createLogger((line) => lines.push(line)) },
  );
  queue.start();
  queue.add("a");
  await settle();
  stop.abort();
  fail(new Error("aborted"));
  queue.add("b");
  await settle();
  clock.advance(100);
  await settle();
  await queue.stop();
  expect([looks, lines]).toEqual([1, []]);
});
