import { describe, expect, test } from "bun:test";
import { isExists, isInvalid } from "@weft/base";
import fc from "fast-check";
import { createDatabase, createTable } from "./index.ts";
import type { Commit } from "./types.ts";

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly labels?: readonly string[];
}

function setUp() {
  const errors: string[] = [];
  const database = createDatabase({ onError: (error, where) => errors.push(`${where}: ${error}`) });
  const pods = createTable<Pod>(database, {
    name: "pods",
    key: (pod) => pod.name,
    indexes: { byNode: (pod) => pod.node, byLabel: (pod) => pod.labels },
  });
  return { database, pods, errors };
}

const names = (rows: Iterable<Pod>): string[] => Array.from(rows, (pod) => pod.name);

describe("a table", () => {
  test("keeps rows in order of keys, by key and by index", () => {
    const { database, pods } = setUp();
    database.write(() => {
      for (const name of ["c", "a", "b"])
        pods.put({ name, node: name === "b" ? "n2" : "n1", labels: ["x", name, "x"] });
    });
    expect(names(pods.rows())).toEqual(["a", "b", "c"]);
    expect(names(pods.where("byNode", "n1"))).toEqual(["a", "c"]);
    expect(names(pods.where("byLabel", "x"))).toEqual(["a", "b", "c"]);
    expect(pods.where("byNode", "n9")).toEqual([]);
    database.write(() => pods.put({ name: "c", node: "n2" }));
    expect(names(pods.where("byNode", "n1"))).toEqual(["a"]);
    expect(names(pods.where("byLabel", "x"))).toEqual(["a", "b"]);
    expect(pods.where("byNode", "n2")[1]).toBe(pods.get("c") as Pod);
    expect(() => pods.where("byColour", "red")).toThrow('no index "byColour"');
  });

  test("is written inside a transaction only, and a name counts once", () => {
    const { database, pods } = setUp();
    expect(() => pods.put({ name: "a", node: "n" })).toThrow("only be written inside");
    try {
      createTable<Pod>(database, { name: "pods", key: (pod) => pod.name });
      throw new Error("not reached");
    } catch (error) {
      expect(isExists(error)).toBe(true);
    }
  });

  test("makes no event of an equal row, nor of a change that is taken back", () => {
    const { database, pods } = setUp();
    database.write(() => pods.put({ name: "a", node: "n", labels: ["x"] }));
    const batches: unknown[] = [];
    pods.watch((batch) => batches.push(batch));
    expect(database.write(() => pods.put({ name: "a", node: "n", labels: ["x"] }))).toBe(false);
    database.write(() => {
      pods.put({ name: "a", node: "m" });
      pods.put({ name: "b", node: "m" });
      pods.delete("b");
      pods.put({ name: "a", node: "n", labels: ["x"] });
    });
    expect(batches).toEqual([]);
    expect(database.revision).toBe(1);
  });

  test("replaceAll changes no more than differs", () => {
    const { database, pods } = setUp();
    database.write(() => pods.replaceAll(["a", "b", "c"].map((name) => ({ name, node: "n" }))));
    const changed: string[] = [];
    pods.watch(({ changes }) => changed.push(...changes.map((change) => change.key)));
    database.write(() =>
      pods.replaceAll([
        { name: "d", node: "n" },
        { name: "b", node: "m" },
        { name: "a", node: "n" },
      ]),
    );
    expect(changed.sort()).toEqual(["b", "c", "d"]);
    expect(names(pods.rows())).toEqual(["a", "b", "d"]);
  });

  test("freezes what it holds", () => {
    const { database, pods } = setUp();
    database.write(() => pods.put({ name: "a", node: "n", labels: ["x"] }));
    const labels = pods.get("a")!.labels as string[];
    expect(() => labels.push("y")).toThrow(TypeError);
  });
});

describe("a transaction", () => {
  test("changes several tables in one commit", () => {
    const { database, pods } = setUp();
    const nodes = createTable<{ readonly name: string }>(database, {
      name: "nodes",
      key: (node) => node.name,
    });
    const commits: Commit[] = [];
    const seen: number[] = [];
    database.watch((commit) => commits.push(commit));
    pods.watch(() => seen.push(nodes.size));
    database.write(() => {
      pods.put({ name: "a", node: "n" });
      database.write(() => nodes.put({ name: "n" }));
    });
    expect(seen).toEqual([1]);
    expect(commits.map((commit) => commit.tables.map(({ table }) => table.name))).toEqual([
      ["pods", "nodes"],
    ]);
    expect([pods.revision, nodes.revision]).toEqual([1, 1]);
  });

  test("that throws changes nothing, also when only an inner write threw", () => {
    const { database, pods } = setUp();
    database.write(() => pods.put({ name: "a", node: "n" }));
    const fail = (): void => {
      pods.put({ name: "a", node: "m" });
      pods.put({ name: "b", node: "m" });
      throw new Error("no");
    };
    expect(() => database.write(fail)).toThrow("no");
    expect(() =>
      database.write(() => {
        try {
          database.write(fail);
        } catch {}
      }),
    ).toThrow("no");
    expect(names(pods.rows())).toEqual(["a"]);
    expect(names(pods.where("byNode", "m"))).toEqual([]);
    expect(names(pods.where("byNode", "n"))).toEqual(["a"]);
    expect(database.revision).toBe(1);
    database.write(() => pods.put({ name: "c", node: "m" }));
    expect(names(pods.rows())).toEqual(["a", "c"]);
  });

  test("refuses a promise", async () => {
    const { database, pods } = setUp();
    let caught: unknown;
    try {
      await database.write(async () => {
        pods.put({ name: "a", node: "n" });
      });
    } catch (error) {
      caught = error;
    }
    expect(isInvalid(caught)).toBe(true);
    expect(pods.size).toBe(0);
  });

  test("leaves the table whole when an index function throws", () => {
    const database = createDatabase({ onError: () => {} });
    const table = createTable<{ k: string; v: string | null }>(database, {
      name: "t",
      key: (row) => row.k,
      indexes: { length: (row) => String((row.v as string).length) },
    });
    database.write(() => table.put({ k: "a", v: "xx" }));
    expect(() => database.write(() => table.put({ k: "a", v: null }))).toThrow(TypeError);
    expect(table.where("length", "2")).toEqual([{ k: "a", v: "xx" }]);
  });
});

describe("listeners", () => {
  test("hear batches in order, though one writes and one throws", () => {
    const { database, pods, errors } = setUp();
    const heard: string[] = [];
    pods.watch(({ revision }) => {
      heard.push(`first ${revision}`);
      if (revision === 1) database.write(() => pods.put({ name: "b", node: "n" }));
      if (revision === 1) pods.watch((batch) => heard.push(`late ${batch.revision}`));
    });
    pods.watch(() => {
      throw new Error("broken");
    });
    pods.watch(({ revision, changes }) => heard.push(`last ${revision} ${changes.map(({ key }) => key)}`));
    database.write(() => pods.put({ name: "a", node: "n" }));
    // The late one came when revision 2 was there already, so it has read it and does not hear of it.
    expect(heard).toEqual(["first 1", "last 1 a", "first 2", "last 2 b"]);
    expect(errors).toEqual(["pods: Error: broken", "pods: Error: broken"]);
    database.write(() => pods.delete("a"));
    expect(heard.slice(4)).toEqual(["first 3", "last 3 a", "late 3"]);
  });

  test("hear no more once they ended", () => {
    const { database, pods } = setUp();
    const heard: number[] = [];
    const end = pods.watch(({ revision }) => heard.push(revision));
    database.write(() => pods.put({ name: "a", node: "n" }));
    end();
    database.write(() => pods.delete("a"));
    expect(heard).toEqual([1]);
  });
});

test("after any writes: order, indexes, batches and all earlier snapshots are right", () => {
  const operation = fc.record({
    name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
    node: fc.constantFrom("n1", "n2", "n3", undefined),
    labels: fc.subarray(["x", "y"]),
  });
  fc.assert(
    fc.property(fc.array(fc.array(operation, { maxLength: 4 }), { maxLength: 12 }), (commits) => {
      const { database, pods, errors } = setUp();
      const expected = new Map<string, Pod>();
      const replayed = new Map<string, Pod | undefined>();
      const snapshots: { snapshot: ReturnType<typeof pods.snapshot>; rows: readonly Pod[] }[] = [];
      pods.watch(({ changes }) => {
        for (const { key, before, after } of changes) {
          expect(before).toEqual(replayed.get(key) as Pod);
          replayed.set(key, after);
        }
      });
      for (const operations of commits) {
        database.write(() => {
          for (const { name, node, labels } of operations) {
            if (node === undefined) {
              pods.delete(name);
              expected.delete(name);
            } else {
              pods.put({ name, node, labels });
              expected.set(name, { name, node, labels });
            }
          }
        });
        const rows = [...expected.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
        snapshots.push({ snapshot: pods.snapshot(), rows });
        expect(pods.rows()).toEqual(rows);
        expect(pods.size).toBe(rows.length);
        for (const node of ["n1", "n2", "n3"]) {
          expect(pods.where("byNode", node)).toEqual(rows.filter((pod) => pod.node === node));
        }
        expect(pods.where("byLabel", "x")).toEqual(rows.filter((pod) => pod.labels?.includes("x")));
        expect([...replayed.values()].filter((pod) => pod !== undefined).length).toBe(rows.length);
      }
      for (const { snapshot, rows } of snapshots) {
        expect(snapshot.rows()).toEqual(rows);
        expect(snapshot.size).toBe(rows.length);
        expect(snapshot.get("a")).toEqual(rows.find((pod) => pod.name === "a") as Pod);
        expect(snapshot.where("byLabel", "y")).toEqual(rows.filter((pod) => pod.labels?.includes("y")));
      }
      expect(errors).toEqual([]);
    }),
  );
});
