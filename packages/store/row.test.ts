import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { freezeRow, sameRow } from "./row.ts";

describe("sameRow", () => {
  test.each([
    [{ a: 1, b: [1, 2] }, { b: [1, 2], a: 1 }, true],
    [{ a: undefined }, {}, true],
    [{}, { a: undefined, b: undefined }, true],
    [{ a: 1, b: undefined }, { a: 1, c: 2 }, false],
    [{ a: 1 }, { a: 1, c: 2 }, false],
    [[1, 2], [1, 2, 3], false],
    [[], {}, false],
    [null, {}, false],
    [Number.NaN, Number.NaN, true],
    [1n, 1, false],
    [Uint8Array.of(1, 2), Uint8Array.of(1, 2), true],
    [Uint8Array.of(1, 2), Uint8Array.of(1, 3), false],
    [new Map([["a", { x: 1 }]]), new Map([["a", { x: 1 }]]), true],
    [new Map([["a", { x: 1 }]]), new Map([["a", { x: 2 }]]), false],
    [new Set(["a"]), new Set(["a"]), true],
    [new Set(["a"]), new Set(["b"]), false],
    [new Date(1), new Date(1), true],
    [new Date(1), new Date(2), false],
  ])("case %#", (a, b, same) => {
    expect(sameRow(a, b)).toBe(same);
    expect(sameRow(b, a)).toBe(same);
  });

  test("agrees with a second implementation on random values", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(sameRow(a, structuredClone(a))).toBe(true);
        expect(sameRow(a, b)).toBe(Bun.deepEquals(a, b));
      }),
    );
  });
});

test("freezeRow goes all the way down and leaves byte arrays alone", () => {
  const row = freezeRow({ a: [{ b: 1 }], bytes: Uint8Array.of(1) });
  expect(Object.isFrozen(row.a[0])).toBe(true);
  expect(() => row.a.push({ b: 2 })).toThrow(TypeError);
});
