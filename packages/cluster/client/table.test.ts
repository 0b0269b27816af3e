import { expect, test } from "bun:test";
import fc from "fast-check";
import { intoTable, type RowTable } from "./index.ts";

interface Row {
  readonly key: string;
  readonly value: number;
}

function table() {
  const rows = new Map<string, Row>();
  let writing = false;
  const must = (): void => expect(writing).toBe(true);
  const made: RowTable<Row> = {
    database: {
      write(fn) {
        writing = true;
        const result = fn();
        writing = false;
        return result;
      },
    },
    keyOf: (row) => row.key,
    put(row) {
      must();
      rows.set(row.key, row);
      return true;
    },
    delete(key) {
      must();
      return rows.delete(key);
    },
    replaceAll(all) {
      must();
      rows.clear();
      for (const row of all) rows.set(row.key, row);
    },
  };
  return { rows, take: intoTable(made) };
}

const row = (key: string, value = 0): Row => ({ key, value });

test("objects that swap their keys in one batch", () => {
  const { rows, take } = table();
  take({
    reset: true,
    changes: [
      { key: "a", before: undefined, after: row("k1") },
      { key: "b", before: undefined, after: row("k2") },
    ],
  });
  take({
    reset: false,
    changes: [
      { key: "a", before: row("k1"), after: row("k2", 1) },
      { key: "b", before: row("k2"), after: row("k1", 1) },
    ],
  });
  expect([...rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual([row("k1", 1), row("k2", 1)]);
});

test("after any batches the table has the rows that are held", () => {
  const step = fc.tuple(fc.nat(4), fc.option(fc.nat(9), { nil: undefined }), fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { rows, take } = table();
      const held = new Map<string, Row>();
      let generation = 0;
      for (const [object, value, chance] of steps) {
        const key = String(object);
        const before = held.get(key);
        // A key may change with its object, as a UID does.
        const after = value === undefined ? undefined : row(`${key}/${chance < 3 ? ++generation : 0}`, value);
        if (after === undefined) held.delete(key);
        else held.set(key, after);
        const reset = chance === 9;
        const all = [...held].map(([k, now]) => ({ key: k, before: undefined, after: now }));
        take({ reset, changes: reset ? all : [{ key, before, after }] });
      }
      expect(new Map([...rows].sort())).toEqual(
        new Map([...held.values()].map((r) => [r.key, r] as const).sort()),
      );
    }),
  );
});
