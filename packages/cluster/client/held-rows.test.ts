import { expect, test } from "bun:test";
import { HeldRows } from "./held-rows.ts";
import { isOlder } from "./resource.ts";

const object = (name: string, version: number, value: unknown = version) => ({
  metadata: { name, resourceVersion: String(version) },
  value,
});
const held = () => new HeldRows<unknown>(({ value }) => ({ value }));

test("what was deleted does not come back, neither in this connection nor in the next one", () => {
  const rows = held();
  rows.apply(object("a", 5), false);
  rows.apply(object("a", 7), true);
  expect(rows.apply(object("a", 6), false)).toBeUndefined();
  expect(rows.apply(object("a", 7), false)).toBeUndefined();
  rows.complete("7");
  expect(rows.apply(object("a", 6), false)).toBeUndefined();
  expect(rows.size).toBe(0);
  expect(rows.apply(object("a", 8), false)?.after).toEqual({ value: 8 });
  expect(rows.apply(object("a", 7), true)).toBeUndefined();
});

test("an equal row stays the very same one", () => {
  const rows = held();
  const first = rows.apply(object("a", 1, { deep: [1] }), false)?.after;
  expect(rows.apply(object("a", 2, { deep: [1] }), false)).toBeUndefined();
  expect(rows.apply(object("a", 3, { deep: [2] }), false)?.before).toBe(first);
  const list = rows.replacement();
  list.add(object("a", 4, { deep: [2] }));
  list.add(object("b", 4));
  expect(list.finish("4").map(({ key }) => key)).toEqual(["b"]);
});

test("a list that was not finished leaves everything as it was; a finished one tells what went", () => {
  const rows = held();
  rows.apply(object("a", 1), false);
  rows.replacement().add(object("b", 2));
  expect(rows.all().map(({ key }) => key)).toEqual(["a"]);
  expect(rows.replacement().finish("3")).toEqual([{ key: "a", before: { value: 1 }, after: undefined }]);
  expect(rows.size).toBe(0);
});

test("versions are decimal numbers of any length; others cannot be compared", () => {
  expect(isOlder("9", "10")).toBe(true);
  expect(isOlder("10", "9")).toBe(false);
  expect(isOlder("5", "5")).toBe(false);
  expect(isOlder("18446744073709551615", "18446744073709551616")).toBe(true);
  expect(isOlder("abc", "abd")).toBe(false);
  expect(isOlder("", "5")).toBe(false);
});
