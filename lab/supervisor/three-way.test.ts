import { describe, expect, test } from "bun:test";
import { includes, threeWay } from "./three-way.ts";

describe("a manifest onto an object", () => {
  test.each([
    ["what is there is no change", {}, { a: 1 }, { a: 1, b: 2 }, undefined],
    ["what is said is set", {}, { a: 2, c: { d: 1 } }, { a: 1, c: { e: 1 } }, { a: 2, c: { d: 1 } }],
    ["what is not said any more goes", { a: 1, b: 1 }, { a: 1 }, { a: 1, b: 1, c: 1 }, { b: null }],
    ["deep down too", { s: { a: 1, b: 1 } }, { s: { a: 1 } }, { s: { a: 1, b: 1 } }, { s: { b: null } }],
    ["what others have set stays", { a: 1 }, { a: 1 }, { a: 1, n: { x: 1 } }, undefined],
    ["what others have changed is set again", { a: 1 }, { a: 1 }, { a: 5 }, { a: 1 }],
    ["a list with what the server has filled in", {}, { l: [{ p: 1 }] }, { l: [{ p: 1, q: 2 }] }, undefined],
    [
      "a list that is another one",
      { l: [{ p: 1, q: 2 }] },
      { l: [{ p: 1 }] },
      { l: [{ p: 1, q: 2 }] },
      { l: [{ p: 1 }] },
    ],
    ["what is gone already", { a: 1 }, {}, {}, undefined],
    ["a mapping in place of a value", {}, { a: { b: 1 } }, { a: 1 }, { a: { b: 1 } }],
    ["null says nothing", {}, { a: null }, { a: 1 }, undefined],
  ])("%s", (_, before, wanted, current, patch) => {
    expect(threeWay(before, wanted, current)).toEqual(patch as never);
  });

  test("includes", () => {
    expect(includes([1, 2], [1])).toBe(false);
    expect(includes({ a: [1], b: 1 }, { a: [1] })).toBe(true);
    expect(includes(undefined, {})).toBe(false);
  });
});
