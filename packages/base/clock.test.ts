import { expect, test } from "bun:test";
import { FakeClock, systemClock } from "./clock.ts";

test("timers run in order of time, those of one time in order of their making", () => {
  const clock = new FakeClock(1000);
  const ran: string[] = [];
  const note = (name: string) => () => ran.push(`${name} ${clock.now()}`);
  clock.setTimeout(note("c"), 30);
  clock.setTimeout(note("a"), 10);
  clock.setTimeout(note("b"), 10);
  clock.advance(9);
  expect(ran).toEqual([]);
  clock.advance(100);
  expect(ran).toEqual(["a 1010", "b 1010", "c 1030"]);
  expect([clock.now(), clock.monotonic()]).toEqual([1109, 1109]);
});

test("a timer that makes timers has them run in the same step, if they are due", () => {
  const clock = new FakeClock(0);
  const ran: number[] = [];
  const again = (): void => {
    ran.push(clock.now());
    clock.setTimeout(again, 10);
  };
  clock.setTimeout(again, 10);
  clock.advance(35);
  expect(ran).toEqual([10, 20, 30]);
});

test("a timer that was cancelled does not run, even by another of its time", () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  const cancel: (() => void)[] = [];
  clock.setTimeout(() => {
    ran.push("first");
    cancel[0]?.();
  }, 5);
  cancel.push(clock.setTimeout(() => ran.push("second"), 5));
  clock.advance(10);
  expect(ran).toEqual(["first"]);
});

test("the system's clock goes on and runs its timers", async () => {
  const before = systemClock.monotonic();
  systemClock.setTimeout(() => expect.unreachable(), 1)();
  await new Promise<void>((resolve) => void systemClock.setTimeout(resolve, 2));
  expect(systemClock.monotonic()).toBeGreaterThan(before);
  const earliest = Date.now();
  const now = systemClock.now();
  expect([earliest <= now, now <= Date.now()]).toEqual([true, true]);
});

test.each([2 ** 31 - 1, 2 ** 31, 2_147_483_647_000, Number.POSITIVE_INFINITY])(
  "the system's clock does not run at once what is to wait for %d ms",
  async (ms) => {
    const cancel = systemClock.setTimeout(() => expect.unreachable(), ms);
    await Bun.sleep(20);
    cancel();
  },
);
