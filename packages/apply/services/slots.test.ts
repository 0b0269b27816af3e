import { describe, expect, test } from "bun:test";
import type { IpAddress } from "@weft/base";
import type { Backend } from "@weft/model";
import fc from "fast-check";
import { maglevSize, maglevTable } from "./maglev.ts";
import { decodeProfile, encodeProfile, GATES } from "./profile.ts";
import { eachChange, gone, type Slots, slotsFit, slotsOf } from "./slots.ts";
import { frontend } from "./testing/rows.ts";

const backend = (n: number): Backend => ({ ip: `10.0.${n >> 8}.${n & 255}` as IpAddress, port: 80 });
const some = (from: number, to: number): Backend[] =>
  Array.from({ length: to - from }, (_, i) => backend(from + i));
const names = (slots: Slots): string[] => slots.map((b) => (b === undefined ? "-" : `${b.ip} ${b.port}`));
const numbers = fc.uniqueArray(fc.nat({ max: 20 }), { maxLength: 12 });
const byNumber = (list: readonly number[]): Backend[] => list.toSorted((a, b) => a - b).map(backend);

describe("slots", () => {
  test("hold exactly the backends, and keep what stands", () => {
    fc.assert(
      fc.property(numbers, fc.array(fc.option(fc.nat({ max: 20 }), { nil: undefined })), (now, before) => {
        const held = before.map((n) => (n === undefined ? undefined : backend(n)));
        const row = frontend({ backends: byNumber(now) });
        const slots = slotsOf(row, held);
        expect(names(slots).sort()).toEqual(names(row.backends).sort());
        const wanted = new Set(names(row.backends));
        const first = new Set<string>();
        names(held).forEach((name, slot) => {
          // A backend that is twice in the kernel keeps its first place.
          if (!wanted.has(name) || slot >= slots.length || first.has(name)) return;
          first.add(name);
          expect(names(slots)[slot]).toBe(name);
        });
        if (slots.length > 0) expect(slotsFit(row, slots)).toBe(true);
      }),
    );
  });

  test("one more or less changes three places at most", () => {
    fc.assert(
      fc.property(numbers, fc.nat({ max: 20 }), (list, extra) => {
        const with_ = byNumber([...new Set([...list, extra])]);
        const without = byNumber(list.filter((n) => n !== extra));
        for (const [from, to] of [
          [with_, without],
          [without, with_],
        ] as const) {
          let changes = 0;
          eachChange(from, slotsOf(frontend({ backends: to }), from), () => changes++);
          expect(changes).toBeLessThanOrEqual(3);
        }
      }),
    );
  });

  test("what has left is known", () => {
    expect(gone([backend(1), undefined, backend(2), backend(1)], [backend(2)])).toEqual([backend(1)]);
    expect(gone([], [backend(2)])).toEqual([]);
  });

  test("nothing is held where nothing should be", () => {
    expect(slotsFit(frontend({ action: "reject" }), [])).toBe(true);
    expect(slotsFit(frontend({ action: "reject" }), [backend(1)])).toBe(false);
    expect(slotsFit(frontend({ backends: some(1, 3) }), [])).toBe(false);
    expect(slotsFit(frontend({ backends: some(1, 3) }), [backend(2), backend(1)])).toBe(true);
    expect(slotsFit(frontend({ backends: some(1, 3) }), [backend(2), undefined])).toBe(false);
  });
});

describe("maglev", () => {
  test("shares differ by one slot at most, in no order of backends", () => {
    for (const count of [1, 2, 3, 5, 31, 32, 100]) {
      const table = maglevTable(some(0, count));
      expect(table).toHaveLength(maglevSize(count));
      const shares = [...Map.groupBy(names(table), (n) => n).values()].map((list) => list.length);
      expect(shares).toHaveLength(count);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });

  test("a backend that comes or goes moves few of the others' slots", () => {
    const eight = names(maglevTable(some(0, 8)));
    for (let left = 0; left < 8; left++) {
      const seven = names(maglevTable(some(0, 8).filter((_, i) => i !== left)));
      const lost = names([backend(left)])[0];
      const moved = eight.filter((name, i) => name !== lost && name !== seven[i]).length;
      expect(moved).toBeLessThan(eight.length / 10);
    }
  });

  test("the same backends make the same table", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 400 }), { minLength: 1, maxLength: 20 }), (list) => {
        expect(names(maglevTable(byNumber(list)))).toEqual(names(maglevTable(byNumber(list))));
      }),
      { numRuns: 20 },
    );
  });
});

test("profiles are what they were written from", () => {
  fc.assert(
    fc.property(
      fc.record({
        gate: fc.constantFrom(...GATES),
        slots: fc.nat({ max: 0xffffff }),
        maglev: fc.boolean(),
        outside: fc.boolean(),
        node: fc.boolean(),
        masquerade: fc.boolean(),
        affinity: fc.nat({ max: 86_400 }),
      }),
      (profile) => {
        expect(decodeProfile(...encodeProfile(profile))).toEqual(profile);
      },
    ),
  );
  expect(decodeProfile(0x7fff_ffff, 0)).toBeUndefined();
});
