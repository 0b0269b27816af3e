import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock, isBusy, isInvalid, silentLogger } from "@weft/base";
import { type Applier, createApplier, createDatabase, createReconciler, createTable } from "./index.ts";
import { type Held, type Item, TestTarget } from "./test-target.ts";

const running: Applier[] = [];
afterEach(async () => {
  for (const applier of running.splice(0)) await applier.stop();
});

function setUp(chunk = 64) {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const clock = new FakeClock();
  const writes: string[] = [];
  const common = { clock, logger: silentLogger, random: () => 1, chunk, repairInterval: 0 };
  const make = (name: string) => {
    const table = createTable<Item>(database, { name, key: (item) => item.key });
    const target = new TestTarget(name, { writes });
    return {
      table,
      target,
      reconciler: createReconciler<Item, Held>({ ...common, name, table, ops: target.ops }),
    };
  };
  const [links, routes, rules] = [make("link"), make("route"), make("rule")];
  const applier = createApplier({
    reconcilers: [links.reconciler, routes.reconciler, rules.reconciler],
    clock,
    logger: silentLogger,
  });
  running.push(applier);
  return { database, clock, writes, links, routes, rules, applier, all: [links, routes, rules] };
}

describe("an applier", () => {
  test("updates in order and deletes in reverse", async () => {
    const { database, writes, all, applier } = setUp();
    database.write(() => {
      for (const { table } of all.toReversed()) table.put({ key: "a", value: 1 });
    });
    applier.start();
    await applier.settled();
    expect(writes).toEqual(["set link:a", "set route:a", "set rule:a"]);
    writes.length = 0;
    database.write(() => {
      for (const { table } of all) {
        table.delete("a");
        table.put({ key: "b", value: 1 });
      }
    });
    await applier.settled();
    expect(writes).toEqual([
      ...["set link:b", "set route:b", "set rule:b"],
      ...["delete rule:a", "delete route:a", "delete link:a"],
    ]);
    expect(applier.summary()["route"]).toMatchObject({ rows: 1, done: 1 });
  });

  test("does updates that come meanwhile before deletes", async () => {
    const { database, writes, links, routes, applier } = setUp();
    database.write(() => links.table.put({ key: "old", value: 1 }));
    applier.start();
    await applier.settled();
    routes.target.before = () => {
      routes.target.before = () => {};
      database.write(() => links.table.put({ key: "late", value: 1 }));
    };
    database.write(() => {
      links.table.delete("old");
      routes.table.put({ key: "a", value: 1 });
    });
    await applier.settled();
    expect(writes).toEqual(["set link:old", "set route:a", "set link:late", "delete link:old"]);
  });

  test("keeps the order across chunks", async () => {
    const { database, writes, links, routes, applier } = setUp(4);
    database.write(() => {
      for (let i = 0; i < 10; i++) {
        links.table.put({ key: `${i}`, value: 1 });
        routes.table.put({ key: `${i}`, value: 1 });
      }
    });
    applier.start();
    await applier.settled();
    expect(writes.map((text) => text.split(":")[0])).toEqual([
      ...Array.from({ length: 10 }, () => "set link"),
      ...Array.from({ length: 10 }, () => "set route"),
    ]);
  });

  test("at a restart writes nothing; leftovers go in reverse order after the updates", async () => {
    const { database, writes, all, links, applier } = setUp();
    database.write(() => {
      for (const { table, target } of all) {
        for (let i = 0; i < 200; i++) {
          table.put({ key: `k${i}`, value: i });
          target.objects.set(target.id(`k${i}`), i);
        }
      }
    });
    for (const { target } of all) target.objects.set(target.id("left"), 1).set("foreign", 1);
    links.target.objects.delete("link:k7");
    applier.start();
    await applier.settled();
    expect(writes).toEqual(["set link:k7", "prune rule:left", "prune route:left", "prune link:left"]);
    for (const { target } of all) expect(target.objects.has("foreign")).toBe(true);
  });

  test("tries what depends on a row again soon after that row succeeds", async () => {
    const { database, clock, links, routes, applier } = setUp();
    // A route needs its link.
    routes.target.before = (text) => {
      const key = text.split(":")[1] as string;
      if (text.startsWith("set") && !links.target.objects.has(`link:${key}`)) throw new Error("no such link");
    };
    links.target.failing.add("a");
    database.write(() => {
      links.table.put({ key: "a", value: 1 });
      routes.table.put({ key: "a", value: 1 });
    });
    applier.start();
    const advance = async (ms: number): Promise<void> => {
      clock.advance(ms);
      await applier.settled();
    };
    await applier.settled();
    for (let i = 0; i < 20; i++) await advance(5000);
    expect(routes.reconciler.status("a")).toMatchObject({ state: "error", message: "no such link" });
    await applier.settled();
    links.target.failing.clear();
    await links.reconciler.flush(["a"]);
    await applier.settled();
    await advance(1000);
    expect(routes.reconciler.status("a")?.state).toBe("done");
  });

  test("flushes the given rows in order, without the rest, and stops at an error", async () => {
    const { database, writes, all, routes, applier } = setUp();
    database.write(() => {
      for (const { table } of all) for (const key of ["a", "b"]) table.put({ key, value: 1 });
    });
    await applier.flush({ rule: ["a"], link: ["a"] });
    expect(writes).toEqual(["set link:a", "set rule:a"]);
    routes.target.failing.add("b");
    const error = await applier.flush({ link: ["b"], route: ["b"], rule: ["b"] }).catch((e: unknown) => e);
    expect(isBusy(error)).toBe(true);
    expect(writes.slice(2)).toEqual(["set link:b"]);
    expect(isInvalid(await applier.flush({ nothing: [] }).catch((e: unknown) => e))).toBe(true);
    routes.target.failing.clear();
    database.write(() => {
      for (const { table } of all) table.delete("a");
    });
    writes.length = 0;
    await applier.flush({ link: ["a"], rule: ["a"] });
    expect(writes).toEqual(["delete rule:a", "delete link:a"]);
    await applier.flush();
    expect(applier.summary()["rule"]?.pending).toBe(0);
  });

  test("repairs all, or some, and reports by name", async () => {
    const { database, all, links, rules, applier } = setUp();
    database.write(() => {
      for (const { table } of all) for (const key of ["a", "b"]) table.put({ key, value: 1 });
    });
    await applier.flush();
    for (const { target } of all) target.objects.set(target.id("a"), 9).set(target.id("left"), 9);
    expect(await applier.repair({ rule: ["a", "b"] })).toEqual({
      rule: { checked: 2, repaired: ["a"], failed: [], pruned: 0 },
    });
    const report = await applier.repair();
    expect(report["link"]).toEqual({ checked: 2, repaired: ["a"], failed: [], pruned: 1 });
    expect(report["rule"]).toEqual({ checked: 2, repaired: [], failed: [], pruned: 1 });
    expect([...links.target.objects.keys()]).toEqual(["link:a", "link:b"]);
    expect([...rules.target.objects.keys()]).toEqual(["rule:a", "rule:b"]);
  });

  test("names the reconciler of a status, and owns its parts", async () => {
    const { database, clock, links, applier } = setUp();
    const heard: string[] = [];
    applier.onChange((name, key, status) => heard.push(`${name} ${key} ${status?.state}`));
    database.write(() => links.table.put({ key: "a", value: 1 }));
    await links.reconciler.flush(["a"]);
    expect(heard).toEqual(["link a pending", "link a done"]);
    expect(() => links.reconciler.start()).toThrow("belongs to an applier");
    expect(() => createApplier({ reconcilers: [links.reconciler], clock, logger: silentLogger })).toThrow(
      "not free to join",
    );
  });
});
