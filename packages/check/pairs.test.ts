import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { choosePairs, type PairEndpoint } from "./pairs.ts";

const endpoint = fc.record({
  node: fc.constantFrom("n1", "n2", "n3", "n4"),
  families: fc.constantFrom([4], [6], [4, 6], []).map((families) => new Set<number>(families)),
  isPod: fc.boolean(),
});
const endpoints = fc.array(endpoint, { maxLength: 24 });

const share = (a: PairEndpoint, b: PairEndpoint): boolean => [...a.families].some((f) => b.families.has(f));

describe("choosePairs", () => {
  test("takes all pairs that share a family when there is room", () => {
    fc.assert(
      fc.property(endpoints, (list) => {
        const expected = list.flatMap((a, i) => list.flatMap((b, j) => (share(a, b) ? [[i, j]] : [])));
        const choice = choosePairs(list, 1000, 1);
        expect(choice.pairs as unknown).toEqual(expected);
        expect(choice).toMatchObject({ total: expected.length, sampled: false });
      }),
    );
  });

  test("samples distinct testable pairs that cover endpoints and node pairs", () => {
    fc.assert(
      fc.property(endpoints, fc.integer({ min: 1, max: 600 }), fc.nat(), (list, most, seed) => {
        const all = list.flatMap((a, i) => list.flatMap((b, j) => (share(a, b) ? [[i, j] as const] : [])));
        const choice = choosePairs(list, most, seed);
        expect(choice.total).toBe(all.length);
        expect(choice.sampled).toBe(choice.pairs.length < all.length);
        expect(new Set(choice.pairs.map(String)).size).toBe(choice.pairs.length);
        for (const [a, b] of choice.pairs) expect(share(list[a]!, list[b]!)).toBe(true);
        expect(choice.pairs.length).toBeGreaterThanOrEqual(Math.min(most, all.length));
        const nodes = (pairs: readonly (readonly [number, number])[]): string[] =>
          [...new Set(pairs.map(([a, b]) => `${list[a]!.node} ${list[b]!.node}`))].sort();
        const covered = (pairs: readonly (readonly [number, number])[], end: 0 | 1): number[] =>
          [...new Set(pairs.map((pair) => pair[end]))].sort((x, y) => x - y);
        expect(nodes(choice.pairs)).toEqual(nodes(all));
        expect(covered(choice.pairs, 0)).toEqual(covered(all, 0));
        expect(covered(choice.pairs, 1)).toEqual(covered(all, 1));
        expect(choosePairs(list, most, seed)).toEqual(choice);
      }),
    );
  });

  test("another seed is another sample", () => {
    const list = Array.from({ length: 100 }, (_, i) => ({
      node: `n${i % 4}`,
      families: new Set([4]),
      isPod: true,
    }));
    const one = choosePairs(list, 400, 1);
    expect(one.pairs.length).toBe(400);
    expect(choosePairs(list, 400, 2).pairs).not.toEqual(one.pairs);
  });
});
