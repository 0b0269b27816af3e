import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "@weft/base";
import fc from "fast-check";
import { temporaryDirectory } from "../testing/api.ts";
import type { ApiObject } from "../values.ts";
import { openDatabase } from "./database.ts";
import { Rollback, Store } from "./store.ts";

const thing = (name: string, value: number): ApiObject => ({
  apiVersion: "v1",
  kind: "Thing",
  metadata: { name },
  value,
});

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (file = "a.db", now?: () => number): Store =>
  new Store(openDatabase(join(directory, file)), now);
const all = (store: Store, revision?: number, size?: number): [string, number][] =>
  [...store.pages("things", {}, revision, size)]
    .flat()
    .map(({ key, value }) => [key, JSON.parse(value).value]);

describe("transactions", () => {
  test("are answered after the commit, with one revision a write", async () => {
    const store = open();
    const first = store.revision;
    await Promise.all(
      [1, 2, 3].map((i) => store.transact((tx) => tx.put("things", `k${i}`, thing(`k${i}`, i)))),
    );
    expect(store.revision).toBe(first + 3);
    expect(all(store)).toEqual([
      ["k1", 1],
      ["k2", 2],
      ["k3", 3],
    ]);
    store.close();
  });

  test("one that throws takes back only its own writes, also amid others", async () => {
    const store = open();
    const heard: string[] = [];
    store.subscribe("things", ({ key }) => heard.push(key));
    const results = await Promise.allSettled([
      store.transact((tx) => tx.put("things", "a", thing("a", 1))),
      store.transact((tx) => {
        tx.put("things", "b", thing("b", 1));
        throw new Error("no");
      }),
      store.transact((tx) => {
        tx.put("things", "c", thing("c", 1));
        throw new Rollback("dry");
      }),
      store.transact((tx) => {
        // What came before it in the same commit is visible.
        expect(tx.get("things", "a")).toBeDefined();
        expect(tx.get("things", "b")).toBeUndefined();
        tx.put("things", "d", thing("d", 1));
      }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(all(store).map(([key]) => key)).toEqual(["a", "d"]);
    expect(heard).toEqual(["a", "d"]);
    store.close();
  });

  test("nothing is written after the store is closed", async () => {
    const store = open();
    store.close();
    await expect(store.transact(() => 1)).rejects.toThrow("stopping");
  });
});

type Operation = {
  readonly kind: "put" | "delete" | "compact" | "reopen";
  readonly key: string;
  readonly value: number;
};

const operations = fc.array(
  fc.record<Operation>({
    kind: fc.constantFrom("put", "put", "put", "delete", "compact", "reopen"),
    key: fc.constantFrom("a", "b", "c", "ns/a", "ns/b", "nt/a"),
    value: fc.integer({ min: 0, max: 9 }),
  }),
  { maxLength: 40 },
);

test("any sequence of operations equals a model, at every revision that is not compacted", async () => {
  await fc.assert(
    fc.asyncProperty(operations, fc.integer({ min: 1, max: 4 }), async (list, size) => {
      const file = `${crypto.randomUUID()}.db`;
      let clock = 1;
      let store = open(file, () => clock);
      /** State after each revision. */
      const states = new Map<number, ReadonlyMap<string, number>>([[store.revision, new Map()]]);
      let state = new Map<string, number>();
      for (const { kind, key, value } of list) {
        clock++;
        if (kind === "compact") {
          while (store.compact(clock));
        } else if (kind === "reopen") {
          const { revision, compacted } = store;
          store.close();
          store = open(file, () => clock);
          expect([store.revision, store.compacted]).toEqual([revision, compacted]);
        } else {
          state = new Map(state);
          await store.transact((tx) => {
            if (kind === "put") tx.put("things", key, thing(key, value));
            else {
              const held = tx.get("things", key);
              if (held !== undefined) tx.delete("things", key, JSON.parse(held.value));
            }
          });
          if (kind === "put") state.set(key, value);
          else state.delete(key);
          states.set(store.revision, state);
        }
      }
      for (const [revision, then] of states) {
        const wanted = [...then].sort(([a], [b]) => (a < b ? -1 : 1));
        if (revision < store.compacted) {
          expect(() => all(store, revision)).toThrow("too old");
          expect(() => [...store.changes("things", revision)]).toThrow("too old");
          continue;
        }
        expect(all(store, revision, size)).toEqual(wanted);
        // Watch from there leads to what is there now.
        const replayed = new Map(then);
        for (const change of store.changes("things", revision)) {
          expect(change.previous?.["value"]).toEqual(replayed.get(change.key));
          if (change.deleted) replayed.delete(change.key);
          else replayed.set(change.key, change.object["value"] as number);
        }
        expect(replayed).toEqual(state);
      }
      const inside = [...store.pages("things", { prefix: "ns/" })].flat().map(({ key }) => key);
      expect(inside).toEqual([...state.keys()].filter((key) => key.startsWith("ns/")).sort());
      store.close();
    }),
    { numRuns: 60 },
  );
});

test("compaction keeps every live object, and what changed lately", async () => {
  let clock = 0;
  const store = open("a.db", () => clock);
  for (clock = 1; clock <= 20; clock++) {
    await store.transact((tx) => tx.put("things", `k${clock % 3}`, thing("k", clock)));
  }
  while (store.compact(15));
  expect(all(store)).toEqual([
    ["k0", 18],
    ["k1", 19],
    ["k2", 20],
  ]);
  expect(() => [...store.changes("things", store.revision - 8)]).toThrow("too old");
  expect([...store.changes("things", store.revision - 5)].length).toBe(5);
  store.close();
});

test("compaction leaves one row for each live object", async () => {
  let clock = 1;
  const store = open("a.db", () => clock);
  for (const name of ["a", "b", "a", "c"]) {
    await store.transact((tx) => tx.put("things", name, thing(name, clock)));
    clock++;
  }
  await store.transact((tx) => tx.delete("things", "b", thing("b", 0)));
  while (store.compact(clock + 1));
  store.close();
  const file = new Database(join(directory, "a.db"), { readonly: true });
  expect(file.query("SELECT key FROM log ORDER BY key").values().flat()).toEqual(["a", "c"]);
  file.close();
});

test("two stores on one file: the second is refused, and may have it when the first is closed", () => {
  const store = open();
  let refused: unknown;
  try {
    open();
  } catch (error) {
    refused = error;
  }
  expect(hasCode(refused, "busy")).toBe(true);
  store.close();
  open().close();
});
