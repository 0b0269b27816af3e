import { afterAll, beforeAll, expect, test } from "bun:test";
import { ipFromBigInt, ipToBigInt, WeftError } from "@weft/base";
import fc from "fast-check";
import { createFakeKernel } from "../fake/index.ts";
import { createAnonymous } from "../netns/index.ts";
import type { IpRange, Nftables } from "../port.ts";
import { createNftables, type NftablesHandle } from "./nftables.ts";
import { effectOf, rangesOf, rangeText } from "./ranges.ts";
import type { SetName } from "./transaction.ts";

const SCRIPT =
  "table inet t { set s { type ipv4_addr; flags interval; }\nset s6 { type ipv6_addr; flags interval; }\n}";
const NAME: SetName = { family: "inet", table: "t", set: "s" };

/** Few addresses, so that ranges often touch, overlap and are the same; the lowest and the highest among them. */
const LEAST = { 4: 0n, 6: 0n };
const TOP = { 4: (1n << 32n) - 1n, 6: (1n << 128n) - 1n };
const range = (family: 4 | 6): fc.Arbitrary<IpRange> =>
  fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 15 })).map(([a, b]) => {
    const at = (n: number): bigint => (n < 8 ? LEAST[family] + BigInt(n) : TOP[family] - BigInt(15 - n));
    return {
      first: ipFromBigInt(at(Math.min(a, b)), family),
      last: ipFromBigInt(at(Math.max(a, b)), family),
    };
  });
const ranges = (family: 4 | 6) => fc.array(range(family), { maxLength: 4 });
const change = (family: 4 | 6) =>
  fc.record({ remove: ranges(family), add: ranges(family), read: fc.boolean() });

let real: NftablesHandle;
let close: () => void;
beforeAll(() => {
  const namespace = createAnonymous();
  real = createNftables(namespace);
  close = () => {
    real.close();
    namespace.close();
  };
});
afterAll(() => close());

function outcome(nft: Nftables, set: string, remove: readonly IpRange[], add: readonly IpRange[]): string {
  try {
    nft.changeRanges("inet", "t", set, remove, add);
    return "done";
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    return error.code;
  }
}

for (const family of [4, 6] as const) {
  const set = family === 4 ? "s" : "s6";
  test(`any changes come to the same on Linux and in memory, IPv${family}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change(family), { maxLength: 8 }), async (changes) => {
        const fake = createFakeKernel().kernel.nftables;
        for (const nft of [real, fake]) await nft.run(`table inet t\ndelete table inet t\n${SCRIPT}`);
        for (const { remove, add, read } of changes) {
          // What is held is removed as it is, every other time.
          const going = read ? fake.ranges("inet", "t", set, family) : remove;
          expect(outcome(real, set, going, add)).toBe(outcome(fake, set, going, add));
          const held = fake.ranges("inet", "t", set, family).map(rangeText);
          expect(real.ranges("inet", "t", set, family).map(rangeText)).toEqual(held);
        }
      }),
      { numRuns: 60 },
    );
  }, 120_000);
}

test("what is held never overlaps, and holds what was added and not what was removed", () => {
  fc.assert(
    fc.property(ranges(4), ranges(4), ranges(4), (before, remove, add) => {
      const held: IpRange[] = [];
      for (const r of before) if (!held.some((h) => overlap(h, r))) held.push(r);
      try {
        const effect = effectOf(NAME, held, remove, add);
        const after = [...held.filter((h) => !effect.remove.includes(h)), ...effect.add];
        expect(after.every((a, i) => after.every((b, j) => i === j || !overlap(a, b)))).toBe(true);
        const texts = after.map(rangeText);
        for (const r of add) expect(texts).toContain(rangeText(r));
        for (const r of remove)
          if (!add.some((a) => rangeText(a) === rangeText(r))) expect(texts).not.toContain(rangeText(r));
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        expect(error.code).toBe("exists");
      }
    }),
  );
});

test("edges in any order, ends without a beginning, a last one without an end", () => {
  const edge = (key: number[], flags = 0) => ({
    key: Uint8Array.from(key),
    keyEnd: undefined,
    value: undefined,
    verdict: undefined,
    flags,
  });
  expect(
    rangesOf([
      edge([224, 0, 0, 0]),
      edge([10, 0, 1, 0], 1),
      edge([10, 0, 1, 0]),
      edge([0, 0, 0, 0], 1),
      edge([10, 0, 0, 0]),
      edge([10, 0, 1, 9], 1),
      { ...edge([]), key: undefined },
    ]).map(rangeText),
  ).toEqual(["10.0.0.0-10.0.0.255", "10.0.1.0-10.0.1.8", "224.0.0.0-255.255.255.255"]);
  expect(rangesOf([])).toEqual([]);
});

const overlap = (a: IpRange, b: IpRange): boolean =>
  ipToBigInt(a.first) <= ipToBigInt(b.last) && ipToBigInt(b.first) <= ipToBigInt(a.last);
