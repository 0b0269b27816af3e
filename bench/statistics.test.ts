import { describe, expect, test } from "bun:test";
import { WeftError } from "@weft/base";
import fc from "fast-check";
import { median, medianPercentile, percentile, ratioQuartiles } from "./statistics.ts";

const sample = fc.array(fc.double({ noNaN: true, min: 0, max: 1e6 }), { minLength: 1, maxLength: 200 });

describe("percentile", () => {
  test("by hand", () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(percentile(hundred, 50)).toBe(50);
    expect(percentile(hundred, 99)).toBe(99);
    expect(percentile(hundred, 100)).toBe(100);
    expect(percentile([7], 1)).toBe(7);
    expect(percentile([1, 2, 3, 4], 99)).toBe(4);
  });
  test("is a measured value that enough of the sample do not exceed, and no smaller one is", () => {
    fc.assert(
      fc.property(sample, fc.integer({ min: 1, max: 100 }), (values, p) => {
        const found = percentile(values, p);
        const upTo = (limit: number): number => values.filter((v) => v <= limit).length;
        const need = (p / 100) * values.length;
        expect(values).toContain(found);
        expect(upTo(found)).toBeGreaterThanOrEqual(need);
        expect(values.filter((v) => v < found).length).toBeLessThan(need);
      }),
    );
  });
  test("refuses what has none", () => {
    for (const [values, p] of [
      [[], 50] as const,
      [[1], 0] as const,
      [[1], 101] as const,
      [[1], Number.NaN] as const,
    ]) {
      expect(() => percentile(values, p)).toThrow(WeftError);
    }
  });
  test("leaves the sample as it was", () => {
    const values = [3, 1, 2];
    percentile(values, 50);
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });
});

describe("median", () => {
  test("by hand", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow(WeftError);
  });
  test("has as many above as below", () => {
    fc.assert(
      fc.property(sample, (values) => {
        const middle = median(values);
        const half = values.length / 2;
        expect(values.filter((v) => v < middle).length).toBeLessThanOrEqual(half);
        expect(values.filter((v) => v > middle).length).toBeLessThanOrEqual(half);
      }),
    );
  });
  test("one disturbed round does not decide", () => {
    expect(
      medianPercentile(
        [
          [1, 2],
          [900, 901],
          [2, 3],
        ],
        100,
      ),
    ).toBe(3);
  });
});

test("quartiles of a ratio, pair by pair", () => {
  expect(ratioQuartiles([1, 2, 3, 8], [1, 1, 1, 2])).toEqual([1, 3]);
  expect(() => ratioQuartiles([], [])).toThrow(WeftError);
  expect(() => ratioQuartiles([1], [])).toThrow(WeftError);
});
