import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Forecast, forecast, forecastText, type Sample, UsageHistory } from "./forecast.ts";

const MINUTE = 60_000;
const every = (minutes: number, used: readonly number[]): Sample[] =>
  used.map((u, i) => ({ at: i * minutes * MINUTE, used: u }));
const line = (from: number, step: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + step * i);
const full = (seconds: number): Forecast => ({ kind: "full", seconds });
const NEVER: Forecast = { kind: "never" };
const UNKNOWN: Forecast = { kind: "unknown" };

describe("forecast", () => {
  const cases: readonly [string, readonly Sample[], number, Forecast][] = [
    ["nothing is known", [], 100, UNKNOWN],
    ["three samples are too few", every(1, [1, 2, 3]), 100, UNKNOWN],
    ["less than two minutes are too short", every(0.5, [1, 2, 3, 4]), 100, UNKNOWN],
    ["full now, however little is known", every(1, [100]), 100, full(0)],
    ["fuller than full: reserved ones", every(1, [101]), 100, full(0)],
    ["an even use", every(1, line(50, 0, 10)), 100, NEVER],
    ["a use that falls", every(1, line(50, -1, 10)), 100, NEVER],
    ["one address a minute, 41 are left", every(1, line(50, 1, 10)), 100, full(41 * 60)],
    ["ten an hour", every(6, line(0, 1, 61)), 120, full(60 * 360)],
    ["a spike of a rollout changes nothing", every(1, [50, 50, 50, 90, 95, 50, 50, 50, 50, 50]), 100, NEVER],
    ["a spike on a slope", every(1, [10, 11, 12, 60, 14, 15, 16, 17, 18, 19]), 100, full(81 * 60)],
    ["one step, long ago", every(1, [0, 10, 10, 10, 10, 10, 10, 10, 10, 10]), 100, NEVER],
    [
      "one node was drained for a while",
      every(1, [50, 51, 52, 20, 20, 55, 56, 57, 58, 59]),
      100,
      full(41 * 60),
    ],
    ["so slowly that nobody need care", every(60, [0, 0, 1, 1, 2, 2]), 2 ** 40, NEVER],
    ["samples of one moment", [1, 2, 3, 4].map((used) => ({ at: 5, used })), 100, UNKNOWN],
  ];
  for (const [what, samples, size, expected] of cases)
    test(what, () => expect(forecast(samples, size)).toEqual(expected));

  test("is never negative or not a number, and a use that never grows is never full", () => {
    const samples = fc.array(
      fc.record({ at: fc.integer({ min: 0, max: 10 * MINUTE }), used: fc.integer({ min: 0, max: 1000 }) }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(samples, fc.integer({ min: 0, max: 2000 }), (all, size) => {
        const sorted = all.toSorted((a, b) => a.at - b.at);
        const f = forecast(sorted, size);
        if (f.kind === "full") {
          expect(f.seconds).toBeGreaterThanOrEqual(0);
          expect(Number.isFinite(f.seconds)).toBe(true);
        }
        const falling = sorted.map((s, i) => ({ ...s, used: sorted.length - i }));
        expect(forecast(falling, 5000).kind).not.toBe("full");
      }),
    );
  });
});

describe("a history", () => {
  test("stays small, and comes to cover six hours", () => {
    const history = new UsageHistory();
    for (let at = 0; at <= 24 * 60; at++) {
      history.add(at * MINUTE, at);
      expect(history.samples.length).toBeLessThanOrEqual(65);
      expect(history.samples.at(-1)).toEqual({ at: at * MINUTE, used: at });
    }
    const first = history.samples[0] as Sample;
    const span = 24 * 60 * MINUTE - first.at;
    expect(span).toBeLessThanOrEqual(6 * 60 * MINUTE);
    expect(span).toBeGreaterThan(5.5 * 60 * MINUTE);
    expect(history.forecast(24 * 60 + 10)).toEqual(full(600));
  });

  test("of one every ten seconds keeps samples that lie apart evenly, old and new ones", () => {
    const history = new UsageHistory();
    for (let at = 0; at <= 12 * 360; at++) history.add(at * 10_000, at);
    const times = history.samples.map((s) => s.at);
    const gaps = times.slice(1, -1).map((at, i) => at - (times[i] as number));
    expect(Math.min(...gaps)).toBeGreaterThan(5 * MINUTE);
    expect(Math.max(...gaps)).toBeLessThan(30 * MINUTE);
  });

  test("says something within minutes, also of a sample every ten seconds", () => {
    const history = new UsageHistory();
    for (let s = 0; s <= 120; s += 10) history.add(s * 1000, s);
    expect(history.forecast(240)).toEqual(full(120));
  });

  test("whatever comes, samples are in order, and the last one is the last that came", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30 * MINUTE }), { maxLength: 300 }), (steps) => {
        const history = new UsageHistory();
        let at = 0;
        for (const [i, step] of steps.entries()) {
          at += step;
          history.add(at, i);
        }
        const times = history.samples.map((s) => s.at);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        expect(new Set(times).size).toBe(times.length);
        expect(times.length).toBeLessThanOrEqual(65);
        if (steps.length > 0) expect(times.at(-1)).toBe(at);
      }),
    );
  });
});

test("forecasts in words", () => {
  const text = (...seconds: number[]): string[] => seconds.map((s) => forecastText(full(s)));
  expect(text(0, 90, 600, 86_400, 864_000)).toEqual([
    "full",
    "in 90 s",
    "in 10 min",
    "in 24 h",
    "in 10 days",
  ]);
  expect([forecastText(NEVER), forecastText(UNKNOWN)]).toEqual(["never", "-"]);
});
