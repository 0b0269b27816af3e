import { expect, test } from "bun:test";
import { FakeClock } from "@weft/base";
import { settle } from "./testing/setup.ts";
import { TokenBucket } from "./token-bucket.ts";

test("a burst at once, then the rate, in order of arrival", async () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket({ qps: 10, burst: 3 }, clock);
  const done: number[] = [];
  for (let i = 0; i < 6; i++) void bucket.take().then(() => done.push(i));
  await settle();
  expect(done).toEqual([0, 1, 2]);
  clock.advance(100);
  await settle();
  expect(done).toEqual([0, 1, 2, 3]);
  clock.advance(200);
  await settle();
  expect(done).toEqual([0, 1, 2, 3, 4, 5]);
  expect([bucket.tryTake(), bucket.full]).toEqual([false, false]);
  clock.advance(60_000);
  expect([bucket.full, bucket.tryTake(), bucket.tryTake(), bucket.tryTake(), bucket.tryTake()]).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
});

test("who gives up gives back", async () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket({ qps: 1, burst: 1 }, clock);
  await bucket.take();
  const impatient = new AbortController();
  const waiting = bucket.take(impatient.signal).catch((error: Error) => error.message);
  impatient.abort(new Error("enough"));
  expect(await waiting).toBe("enough");
  clock.advance(1000);
  expect(bucket.tryTake()).toBe(true);
});

test("limits that cannot work are refused", () => {
  expect(() => new TokenBucket({ qps: 0, burst: 1 }, new FakeClock())).toThrow("a rate of 0 a second");
  expect(() => new TokenBucket({ qps: 1, burst: 0 }, new FakeClock())).toThrow("a burst of 0");
});
