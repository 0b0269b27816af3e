import { expect, test } from "bun:test";
import { FakeClock, silentLogger } from "@weft/base";
import { Queue } from "./queue.ts";

/** Lets everything run that waits for nothing. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await null;
};
function start(look: (key: string) => Promise<number | undefined>, atOnce?: number) {
  const clock = new FakeClock();
  const queue = new Queue({
    name: "t",
    look,
    clock,
    logger: silentLogger,
    ...(atOnce === undefined ? {} : { atOnce }),
  });
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
  const { queue } = start(async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => releases.push(resolve));
    running--;
    return undefined;
  }, 2);
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
