import { expect, test } from "bun:test";
import { FakeClock } from "@weft/base";
import type { Found } from "./compare.ts";
import { Tracker } from "./tracker.ts";

const found = (key: string, settle = 0, left?: number): Found => ({
  key,
  code: "stuck",
  object: key,
  addresses: [],
  message: "m",
  remedy: "r",
  origin: undefined,
  needsPerson: false,
  settle,
  left,
});

test("what stands is told once, and again only after it was gone", () => {
  const clock = new FakeClock(1000);
  const tracker = new Tracker(clock);
  const first = tracker.take([found("a", 0, 500)]);
  expect(first.fresh).toEqual(first.all);
  const { settle: _, left: __, ...rest } = found("a");
  expect(first.all).toEqual([{ ...rest, since: 1000, due: 1500 }]);
  clock.advance(100);
  const second = tracker.take([found("a", 0, 400)]);
  expect(second.fresh).toEqual([]);
  expect(second.all).toMatchObject([{ since: 1000, due: 1500 }]);
  expect(tracker.take([]).all).toEqual([]);
  expect(tracker.take([found("a")]).fresh).toHaveLength(1);
});

test("what has not stood for long enough is none yet, whatever the clock of the wall says", () => {
  const clock = new FakeClock(1000);
  let jumped = 0;
  const tracker = new Tracker({
    now: () => clock.now() + jumped,
    monotonic: () => clock.monotonic(),
    setTimeout: (fn, ms) => clock.setTimeout(fn, ms),
  });
  expect(tracker.take([found("a", 50)]).all).toEqual([]);
  jumped = 1_000_000;
  expect(tracker.take([found("a", 50)]).all).toEqual([]);
  clock.advance(50);
  expect(tracker.take([found("a", 50)]).fresh).toMatchObject([{ key: "a", since: 1000 }]);
});
