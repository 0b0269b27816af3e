import { expect, test } from "bun:test";
import { createLogger, FakeClock, WeftError } from "@weft/base";
import { type FrontendRow, servicePlanKey } from "@weft/model";
import { createDatabase, createReconciler, createTable } from "@weft/store";
import type { KindOps } from "../kind.ts";
import { followFrontends } from "./follow.ts";
import { row } from "./testing.ts";

const A = "10.244.0.1:5353";
const B = "10.244.0.2:5353";

/** A kernel of one map, and what was heard of it: "A -> B" by the backends. */
function world(held = new Map<string, FrontendRow>()) {
  const heard: string[] = [];
  let fail = 0;
  const write = (fn: () => void): void => {
    if (fail-- > 0) throw new WeftError("busy", "not now");
    fn();
  };
  const ops: KindOps<"frontend", FrontendRow> = {
    update: (r) => write(() => held.set(servicePlanKey(r), r)),
    delete: (r) => write(() => held.delete(servicePlanKey(r))),
    updateMany: (rows) =>
      write(() => {
        for (const r of rows) held.set(servicePlanKey(r), r);
      }),
    deleteMany: (rows) =>
      write(() => {
        for (const r of rows) held.delete(servicePlanKey(r));
      }),
    actual: {
      list: () => [...held.values()],
      keyOf: servicePlanKey,
      matches: (r, h) => Bun.deepEquals(r, h),
      delete: (r) => write(() => held.delete(servicePlanKey(r))),
    },
    describe: () => "differs",
  };
  const words = (r: FrontendRow | undefined): string =>
    r === undefined ? "none" : r.backends.map((b) => b.ip.slice(-1)).join("") || "nobody";
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const table = createTable<FrontendRow>(database, { name: "frontend", key: servicePlanKey });
  const clock = new FakeClock();
  const reconciler = createReconciler<FrontendRow, FrontendRow>({
    name: "frontend",
    table,
    ops: followFrontends(ops, (before, after) => {
      // By then the kernel has it.
      expect(held.get(servicePlanKey((after ?? before) as FrontendRow))).toEqual(after as FrontendRow);
      heard.push(`${words(before)} -> ${words(after)}`);
    }),
    clock,
    logger: createLogger(() => {}),
    random: () => 0,
  });
  return {
    heard,
    reconciler,
    failNext: (n: number) => {
      fail = n;
    },
    async put(...rows: FrontendRow[]) {
      database.write(() => {
        for (const r of rows) table.put(r);
      });
      await this.settle();
    },
    async remove(r: FrontendRow) {
      database.write(() => table.delete(servicePlanKey(r)));
      await this.settle();
    },
    async settle() {
      for (let i = 0; i < 10; i++) {
        clock.advance(5000);
        await Bun.sleep(0);
      }
    },
  };
}

test("each change is told of with what stood before", async () => {
  const { heard, ...w } = world();
  w.reconciler.start();
  await w.put(row([A]), row([A], { port: 54 }));
  await w.put(row([A, B]));
  await w.put(row([]));
  await w.remove(row([]));
  expect(heard).toEqual(["none -> 1", "none -> 1", "1 -> 12", "12 -> nobody", "nobody -> none"]);
});

test("what stands already is no change, and is known", async () => {
  const standing = row([A]);
  const { heard, ...w } = world(new Map([[servicePlanKey(standing), standing]]));
  await w.put(row([A]));
  w.reconciler.start();
  await w.settle();
  expect(heard).toEqual([]);
  await w.put(row([B]));
  expect(heard).toEqual(["1 -> 2"]);
});

test("a failure is told of when it has been made good, once", async () => {
  const { heard, ...w } = world();
  w.reconciler.start();
  await w.put(row([A]));
  w.failNext(3);
  await w.put(row([A, B]), row([B], { port: 54 }));
  expect(heard.sort()).toEqual(["1 -> 12", "none -> 1", "none -> 2"]);
});
