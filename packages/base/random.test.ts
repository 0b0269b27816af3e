import { expect, test } from "bun:test";
import { seededRandom } from "./random.ts";

test("the same numbers for the same seed, from 0 to 1, whatever the seed's sign and size", () => {
  const take = (seed: number): number[] => Array.from({ length: 1000 }, seededRandom(seed));
  expect(take(1)).toEqual(take(1));
  expect(take(1)).not.toEqual(take(2));
  expect(take(1).slice(0, 3)).toEqual([0.6270739405881613, 0.002735721180215478, 0.5274470399599522]);
  expect(take(-1)).toEqual(take(0xffffffff));
  for (const seed of [0, -7, 2 ** 40]) {
    const numbers = take(seed);
    expect(numbers.every((n) => n >= 0 && n < 1)).toBe(true);
    expect(numbers.reduce((a, b) => a + b, 0) / 1000).toBeCloseTo(0.5, 1);
  }
});
