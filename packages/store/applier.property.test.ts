/**
 * Whatever happens to the rows, the operations and the target: once failures stop, the target holds what the tables
 * say, and nobody else's objects were touched.
 */
import { expect, test } from "bun:test";
import { FakeClock, silentLogger } from "@weft/base";
import fc from "fast-check";
import { createApplier, createDatabase, createReconciler, createTable } from "./index.ts";
import { type Held, type Item, type TargetOptions, TestTarget } from "./test-target.ts";

const NAMES = ["link", "route", "rule"] as const;
type Name = (typeof NAMES)[number];
const KEYS = ["a", "b", "c", "d", "e"];

function build(targets: Readonly<Record<Name, TargetOptions>>, chunk: number) {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const clock = new FakeClock();
  const make = (name: Name) => {
    const table = createTable<Item>(database, { name, key: (item) => item.key });
    const own = new TestTarget(name, targets[name]);
    const common = { clock, logger: silentLogger, chunk };
    own.objects.set(`${name}:a`, 7).set(`${name}:e`, 0).set("foreign:z", 1);
    /** What others put there, by their own account. */
    const foreign = new Map([["foreign:z", 1]]);
    const reconciler = createReconciler<Item, Held>({ ...common, name, table, ops: own.ops });
    return { table, foreign, target: own, reconciler };
  };
  const parts = { link: make("link"), route: make("route"), rule: make("rule") };
  const reconcilers = NAMES.map((name) => parts[name].reconciler);
  return { database, clock, parts, applier: createApplier({ reconcilers, clock, logger: silentLogger }) };
}
type World = ReturnType<typeof build>;
type Step = (world: World) => unknown;

const name = fc.constantFrom<Name>(...NAMES);
const key = fc.constantFrom(...KEYS);
const value = fc.nat({ max: 2 });
/** An error is what is being tested; only an end that never comes would be wrong. */
const settle = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => undefined);

const put = fc.tuple(name, key, value).map(
  ([n, k, v]): Step =>
    ({ parts }) =>
      parts[n].table.put({ key: k, value: v }),
);
const remove = fc.tuple(name, key).map(
  ([n, k]): Step =>
    ({ parts }) =>
      parts[n].table.delete(k),
);
const commit = fc.array(fc.oneof(put, remove), { minLength: 1, maxLength: 6 }).map(
  (writes): Step =>
    (world) =>
      world.database.write(() => {
        for (const write of writes) write(world);
      }),
);
const fail = fc.tuple(name, key, fc.boolean()).map(
  ([n, k, on]): Step =>
    ({ parts }) =>
      on ? parts[n].target.failing.add(k) : parts[n].target.failing.delete(k),
);
const damage = fc.tuple(name, key, fc.option(fc.nat({ max: 9 }))).map(
  ([n, k, v]): Step =>
    ({ parts }) => {
      const { objects } = parts[n].target;
      return v === null ? objects.delete(`${n}:${k}`) : objects.set(`${n}:${k}`, v);
    },
);
const foreign = fc.tuple(name, key, value).map(
  ([n, k, v]): Step =>
    ({ parts }) => {
      parts[n].foreign.set(`foreign:${k}`, v);
      parts[n].target.objects.set(`foreign:${k}`, v);
    },
);
const call = fc.tuple(name, fc.subarray(KEYS), fc.nat({ max: 7 })).map(
  ([n, keys, what]): Step =>
    ({ applier, parts }) => {
      const { reconciler, target } = parts[n];
      if (what === 0) return settle(reconciler.flush(keys));
      if (what === 1) return settle(applier.flush({ [n]: keys, link: keys }));
      if (what === 2) return settle(applier.flush());
      if (what === 3) return settle(reconciler.repair(keys));
      if (what === 4) return settle(applier.repair());
      if (what === 5) return applier.requestRepair();
      if (what === 6) return reconciler.pause(120_000);
      target.failsToList = !target.failsToList;
    },
);
const time = fc.constantFrom(0, 50, 1000, 40_000).map(
  (ms): Step =>
    async ({ clock, applier }) => {
      clock.advance(ms);
      if (ms > 0) await applier.settled();
    },
);
const steps = fc.array(fc.oneof(commit, commit, fail, damage, foreign, call, time), { maxLength: 30 });
const turns = fc.record({ update: fc.nat({ max: 3 }), delete: fc.nat({ max: 3 }) });
const target = fc.record({ turns, withMany: fc.boolean() }, { requiredKeys: ["withMany"] });
const shape = fc.record({ link: target, route: target, rule: target });

/** What the target holds of ours, and of others. */
function split(objects: ReadonlyMap<string, number>) {
  const entries = [...objects].sort(([a], [b]) => (a < b ? -1 : 1));
  const isForeign = ([id]: readonly [string, number]): boolean => id.startsWith("foreign:");
  return { own: entries.filter((entry) => !isForeign(entry)), foreign: entries.filter(isForeign) };
}

test("the target comes to equal the tables, and foreign objects stay", async () => {
  await fc.assert(
    fc.asyncProperty(shape, fc.integer({ min: 1, max: 4 }), steps, async (targets, chunk, list) => {
      const world = build(targets, chunk);
      const { applier, clock, parts } = world;
      applier.start();
      const under: unknown[] = [];
      for (const step of list) {
        under.push(step(world));
        if (under.length % 3 === 0) await under.at(-1);
      }
      await Promise.all(under);
      applier.resume();
      for (const n of NAMES) {
        parts[n].target.failing.clear();
        parts[n].target.failsToList = false;
      }
      // A retry comes within the cap of 30 s, a repair within 66 s.
      for (let i = 0; i < 4; i++) {
        clock.advance(66_000);
        await applier.settled();
      }
      for (const n of NAMES) {
        const { table, foreign, reconciler, target: own } = parts[n];
        const held = split(own.objects);
        expect(held.own).toEqual(table.rows().map((row) => [`${n}:${row.key}`, row.value]));
        expect(new Map(held.foreign)).toEqual(foreign);
        expect([...reconciler.statuses()].map(([k, { state }]) => [k, state]).sort()).toEqual(
          table.keys().map((k) => [k, "done"]),
        );
      }
      // And then there is peace: another repair writes nothing.
      for (const n of NAMES) parts[n].target.writes.length = 0;
      await applier.repair();
      expect(NAMES.flatMap((n) => parts[n].target.writes)).toEqual([]);
      await applier.stop();
    }),
    { numRuns: 300 },
  );
}, 120_000);

test("what a row needs is there for as long as the row is", async () => {
  const change = fc.tuple(key, fc.constantFrom("none", "link", "route"), value);
  const commits = fc.array(fc.tuple(fc.array(change, { maxLength: 5 }), fc.nat({ max: 3 })), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(shape, fc.integer({ min: 1, max: 4 }), commits, async (targets, chunk, list) => {
      const { database, applier, parts } = build(targets, chunk);
      const { link, route } = parts;
      for (const n of NAMES) parts[n].target.objects.clear();
      const broken: string[] = [];
      // A route row exists only beside a link row of its key; so must it be in the target, before and after each write.
      const check = (text: string): void => {
        const orphans = [...route.target.objects.keys()].filter(
          (id) => !link.target.objects.has(id.replace("route:", "link:")),
        );
        if (orphans.length > 0) broken.push(`${text}: ${orphans}`);
      };
      link.target.before = check;
      route.target.before = check;
      applier.start();
      for (const [changes, turns] of list) {
        database.write(() => {
          for (const [k, what, v] of changes) {
            if (what === "none") link.table.delete(k);
            else link.table.put({ key: k, value: v });
            if (what === "route") route.table.put({ key: k, value: v });
            else route.table.delete(k);
          }
        });
        for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      }
      await applier.settled();
      check("end");
      expect(broken).toEqual([]);
      expect(route.target.objects.size).toBe(route.table.size);
      await applier.stop();
    }),
    { numRuns: 300 },
  );
}, 120_000);
