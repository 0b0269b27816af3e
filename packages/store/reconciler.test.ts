import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock, isBusy, isInvalid, isUnavailable, silentLogger } from "@weft/base";
import {
  createDatabase,
  createReconciler,
  createTable,
  type Reconciler,
  type ReconcilerOptions,
} from "./index.ts";
import { type Held, type Item, type TargetOptions, TestTarget } from "./test-target.ts";

const running: Reconciler[] = [];
afterEach(async () => {
  for (const reconciler of running.splice(0)) await reconciler.stop();
});

function setUp(options: Partial<ReconcilerOptions<Item, Held>> & { target?: TargetOptions } = {}) {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const items = createTable<Item>(database, { name: "items", key: (item) => item.key });
  const target = new TestTarget("t", options.target);
  const clock = new FakeClock();
  const reconciler = createReconciler<Item, Held>({
    name: "items",
    table: items,
    ops: target.ops,
    clock,
    logger: silentLogger,
    random: () => 1,
    ...options,
  });
  running.push(reconciler);
  const put = (...rows: readonly (readonly [string, number])[]): void =>
    database.write(() => {
      for (const [key, value] of rows) items.put({ key, value });
    });
  const remove = (key: string): boolean => database.write(() => items.delete(key));
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await reconciler.settled();
  };
  return { database, items, target, clock, reconciler, put, remove, advance };
}

describe("the queue", () => {
  test("applies rows as they come, change and go", async () => {
    const { target, reconciler, put, remove } = setUp();
    put(["a", 1], ["b", 2]);
    reconciler.start();
    await reconciler.settled();
    expect(reconciler.status("a")).toMatchObject({ state: "done", operation: "update", attempts: 0 });
    put(["a", 3]);
    expect(reconciler.status("a")?.state).toBe("pending");
    remove("b");
    expect(reconciler.status("b")).toMatchObject({ state: "pending", operation: "delete" });
    await reconciler.settled();
    expect(target.writes).toEqual(["set t:a", "set t:b", "set t:a", "delete t:b"]);
    expect([...target.objects]).toEqual([["t:a", 3]]);
    expect(reconciler.status("b")).toBeUndefined();
    expect(reconciler.summary()).toMatchObject({
      rows: 1,
      done: 1,
      pending: 0,
      errors: 0,
      lastError: undefined,
    });
  });

  test("writes nothing for a row that came back as it was, or left before it was applied", async () => {
    const { target, reconciler, put, remove } = setUp();
    put(["a", 1]);
    reconciler.start();
    await reconciler.settled();
    put(["a", 2], ["b", 1]);
    put(["a", 1]);
    remove("b");
    expect(reconciler.status("a")?.state).toBe("done");
    remove("a");
    put(["a", 1]);
    await reconciler.settled();
    expect(target.writes).toEqual(["set t:a"]);
  });

  test("tries a failed row again with growing delays up to the cap, and others at once", async () => {
    const { target, clock, reconciler, put, advance } = setUp({ repairInterval: 0 });
    let tries = 0;
    target.before = (text) => {
      if (text.endsWith(":bad")) tries++;
    };
    target.failing.add("bad");
    put(["bad", 1], ["good", 1]);
    reconciler.start();
    await reconciler.settled();
    expect(reconciler.status("good")?.state).toBe("done");
    expect(reconciler.status("bad")).toMatchObject({
      state: "error",
      attempts: 1,
      message: "bad is busy",
      code: "busy",
      hint: "Wait.",
      nextTry: clock.now() + 100,
    });
    const since = reconciler.status("bad")?.since as number;
    const delays: number[] = [];
    for (let i = 0; i < 12; i++) {
      const delay = (reconciler.status("bad")?.nextTry as number) - clock.now();
      delays.push(delay);
      await advance(delay - 1);
      expect(tries).toBe(i + 1);
      await advance(1);
      expect(tries).toBe(i + 2);
    }
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
    expect(reconciler.summary().lastError).toEqual({
      key: "bad",
      message: "bad is busy",
      code: "busy",
      since,
    });
    // A change starts afresh.
    put(["bad", 2]);
    await reconciler.settled();
    expect(reconciler.status("bad")).toMatchObject({ attempts: 1, nextTry: clock.now() + 100 });
    target.failing.clear();
    await advance(100);
    expect(reconciler.status("bad")).toMatchObject({ state: "done", attempts: 0, message: undefined });
  });

  test("a delete that fails is retried, and the row can come back meanwhile", async () => {
    const { target, reconciler, put, remove, advance } = setUp({ repairInterval: 0 });
    put(["a", 1], ["b", 1]);
    reconciler.start();
    await reconciler.settled();
    target.failing.add("a").add("b");
    remove("a");
    remove("b");
    await reconciler.settled();
    expect(reconciler.status("a")).toMatchObject({ state: "error", operation: "delete" });
    expect(reconciler.summary()).toMatchObject({ rows: 0, errors: 2 });
    target.failing.clear();
    put(["b", 1]);
    await advance(100);
    expect(target.writes.slice(2).sort()).toEqual(["delete t:a", "set t:b"]);
    expect(reconciler.status("a")).toBeUndefined();
  });

  test("handles a chunk in one turn, and lets others have theirs", async () => {
    const { target, reconciler, put } = setUp({ chunk: 10 });
    put(...Array.from({ length: 95 }, (_, i): [string, number] => [`k${i}`, i]));
    const perTurn: number[] = [];
    let done = false;
    const count = (): void => {
      perTurn.push(target.writes.length);
      if (!done) setImmediate(count);
    };
    reconciler.start();
    setImmediate(count);
    await reconciler.settled();
    done = true;
    const steps = perTurn.map((n, i) => n - (perTurn[i - 1] ?? 0));
    expect(Math.max(...steps)).toBe(10);
    expect(target.writes.length).toBe(95);
  });

  test("gives many rows to one call, and tries each alone when that fails", async () => {
    const { target, reconciler, put, remove } = setUp({ target: { withMany: true } });
    put(["a", 1], ["b", 1], ["c", 1]);
    reconciler.start();
    await reconciler.settled();
    expect(target.writes).toEqual(["set-many t:a,t:b,t:c"]);
    target.failing.add("b");
    put(["a", 2], ["b", 2], ["c", 2]);
    await reconciler.settled();
    expect(target.writes.slice(1)).toEqual(["set t:a", "set t:c"]);
    expect(reconciler.status("b")?.state).toBe("error");
    remove("a");
    remove("c");
    await reconciler.settled();
    expect(target.writes.slice(3)).toEqual(["delete-many t:a,t:c"]);
  });

  test("has one operation at a time for a row, and sees changes made meanwhile", async () => {
    const { target, reconciler, put, remove } = setUp({ target: { turns: { update: 1, delete: 1 } } });
    put(["a", 1], ["b", 1]);
    reconciler.start();
    target.before = (text) => {
      if (text !== "set t:a" || target.writes.length > 0) return;
      put(["a", 2]);
      remove("b");
    };
    await reconciler.settled();
    expect(target.writes).toEqual(["set t:a", "set t:b", "set t:a", "delete t:b"]);
    expect([...target.objects]).toEqual([["t:a", 2]]);
  });

  test("a failure of the row as it was does not hold up the row as it is", async () => {
    const { target, reconciler, put } = setUp({ target: { turns: { update: 1, delete: 1 } } });
    put(["a", 1]);
    target.failing.add("a");
    target.before = () => {
      put(["a", 2]);
      target.before = () => void target.failing.clear();
    };
    reconciler.start();
    await reconciler.settled();
    expect(reconciler.status("a")).toMatchObject({ state: "done", attempts: 0 });
  });

  test("deletes what a failed update may have left behind", async () => {
    const { target, reconciler, put, remove } = setUp();
    reconciler.start();
    await reconciler.settled();
    target.before = () => {
      target.objects.set("t:a", 1);
      target.before = () => {};
      throw new Error("half done");
    };
    put(["a", 1]);
    await reconciler.settled();
    expect(reconciler.status("a")).toMatchObject({ state: "error", code: "internal", message: "half done" });
    remove("a");
    await reconciler.settled();
    expect(target.objects.size).toBe(0);
  });

  test("gives update the row last applied, across failures and after adoption", async () => {
    const heard: unknown[] = [];
    const actual = {
      list: () => [{ id: "t:a", value: 1 }],
      keyOf: () => "a",
      matches: (row: Item, held: Held) => row.value === held.value,
      delete: () => {},
    };
    const update = (row: Item, previous: Item | undefined): void => {
      heard.push([row.value, previous?.value]);
      if (row.value === 3) throw new Error("no");
    };
    const { reconciler, put } = setUp({ ops: { update, delete: () => {}, actual } });
    put(["a", 1], ["b", 1]);
    await reconciler.repair();
    for (const value of [2, 3, 4]) {
      put(["a", value]);
      await reconciler.flush(["a"]).catch(() => {});
    }
    expect(heard).toEqual([
      [1, undefined],
      [2, 1],
      [3, 2],
      [4, 2],
    ]);
  });

  test("tells listeners of every status", async () => {
    const { reconciler, put, remove } = setUp();
    const heard: string[] = [];
    reconciler.onChange(() => {
      throw new Error("broken");
    });
    const end = reconciler.onChange((key, status) => heard.push(`${key} ${status?.state ?? "gone"}`));
    put(["a", 1]);
    await reconciler.flush(["a"]);
    remove("a");
    await reconciler.flush(["a"]);
    end();
    put(["a", 1]);
    expect(heard).toEqual(["a pending", "a done", "a pending", "a gone"]);
  });
});

describe("flush", () => {
  test("applies the given rows before it returns, and no others", async () => {
    const { target, reconciler, put, remove } = setUp();
    put(["a", 1], ["b", 1], ["c", 1]);
    const flushed = reconciler.flush(["b", "none"]);
    expect(target.writes).toEqual(["set t:b"]);
    await flushed;
    remove("b");
    const removed = reconciler.flush(["b"]);
    expect(target.writes).toEqual(["set t:b", "delete t:b"]);
    await removed;
    expect(reconciler.status("a")?.state).toBe("pending");
    await reconciler.flush();
    expect(target.writes.slice(2)).toEqual(["set t:a", "set t:c"]);
  });

  test("rejects with the row's error after trying all, and tries again regardless of backoff", async () => {
    const { target, reconciler, put } = setUp();
    target.failing.add("a");
    put(["a", 1], ["b", 1]);
    const error = await reconciler.flush(["a", "b"]).catch((e: unknown) => e);
    expect(isBusy(error)).toBe(true);
    expect(String(error)).toContain("items a: a is busy");
    expect(target.writes).toEqual(["set t:b"]);
    target.failing.clear();
    await reconciler.flush(["a"]);
    expect(reconciler.status("a")?.state).toBe("done");
  });

  test("waits for an operation in flight, and for the row as it is now", async () => {
    const { target, reconciler, put } = setUp({ target: { turns: { update: 1, delete: 1 } } });
    put(["a", 1]);
    const first = reconciler.flush(["a"]);
    put(["a", 2]);
    await reconciler.flush(["a"]);
    expect(target.objects.get("t:a")).toBe(2);
    await first;
    expect(target.writes).toEqual(["set t:a", "set t:a"]);
  });

  test("sees a write made by a listener, of which the reconciler has not heard yet", async () => {
    const { items, target, reconciler, put } = setUp();
    let flushed: Promise<void> | undefined;
    // The reconciler watches as well; this listener comes after it, inside the delivery of the first commit.
    items.watch(({ revision }) => {
      if (revision !== 1) return;
      put(["b", 1]);
      flushed = reconciler.flush(["b"]);
    });
    put(["a", 1]);
    await flushed;
    expect(target.writes).toEqual(["set t:b"]);
  });
});

describe("repair", () => {
  test("at the start adopts what matches: a restart writes nothing", async () => {
    const { target, reconciler, put } = setUp();
    for (let i = 0; i < 500; i++) {
      target.objects.set(`t:k${i}`, i);
      put([`k${i}`, i]);
    }
    target.objects.set("foreign", 1);
    reconciler.start();
    await reconciler.settled();
    expect(target.writes).toEqual([]);
    expect(reconciler.summary()).toMatchObject({ done: 500, pending: 0 });
  });

  test("at the start writes the difference and removes leftovers, in that order", async () => {
    const { target, reconciler, put, remove } = setUp();
    target.objects.set("t:same", 1).set("t:other", 1).set("t:old", 1).set("foreign", 1);
    put(["same", 1], ["other", 2], ["new", 3]);
    reconciler.start();
    await reconciler.settled();
    expect(target.writes).toEqual(["set t:other", "set t:new", "prune t:old"]);
    expect(target.objects.has("foreign")).toBe(true);
    // An adopted row is deleted like any other.
    remove("same");
    await reconciler.settled();
    expect(target.writes.at(-1)).toBe("delete t:same");
  });

  test("upon demand reports what it found and did", async () => {
    const { target, reconciler, put } = setUp({ chunk: 2 });
    put(["a", 1], ["b", 1], ["c", 1], ["d", 1]);
    await reconciler.flush();
    target.objects.set("t:a", 9).set("t:left", 1).set("t:stuck", 1).set("foreign", 9);
    target.objects.delete("t:b");
    target.objects.delete("t:d");
    target.failing.add("d").add("stuck");
    target.writes.length = 0;
    expect(await reconciler.repair()).toEqual({
      checked: 4,
      repaired: ["a", "b"],
      failed: ["d", "stuck"],
      pruned: 1,
    });
    expect(target.writes).toEqual(["set t:a", "set t:b", "prune t:left"]);
    expect(reconciler.status("stuck")).toMatchObject({ state: "error", operation: "delete" });
    target.failing.clear();
    expect(await reconciler.repair()).toEqual({ checked: 4, repaired: ["d"], failed: [], pruned: 1 });
    expect([...target.objects.keys()].sort()).toEqual(["foreign", "t:a", "t:b", "t:c", "t:d"]);
  });

  test("of some keys leaves all others alone", async () => {
    const { target, reconciler, put } = setUp();
    put(["a", 1], ["b", 1]);
    await reconciler.flush();
    target.objects.set("t:a", 9).set("t:b", 9).set("t:left", 1);
    expect(await reconciler.repair(["a", "none"])).toEqual({
      checked: 1,
      repaired: ["a"],
      failed: [],
      pruned: 0,
    });
    expect(target.objects.get("t:b")).toBe(9);
    expect(target.objects.has("t:left")).toBe(true);
  });

  test("marks a failed row done when somebody else has mended it", async () => {
    const { target, reconciler, put } = setUp();
    target.failing.add("a");
    put(["a", 1]);
    await reconciler.flush(["a"]).catch(() => {});
    target.objects.set("t:a", 1);
    await reconciler.repair();
    expect(reconciler.status("a")).toMatchObject({ state: "done", attempts: 0 });
  });

  test("comes periodically, and soon when asked for, but not too often", async () => {
    const { target, clock, reconciler, put, advance } = setUp({
      repairInterval: 60_000,
      repairMinInterval: 1000,
    });
    put(["a", 1]);
    reconciler.start();
    await reconciler.settled();
    const first = clock.now();
    expect(reconciler.summary().lastRepair).toBe(first);
    target.objects.clear();
    await advance(65_000);
    expect(target.objects.size).toBe(0);
    await advance(1000);
    expect(target.objects.size).toBe(1);
    target.objects.clear();
    for (let i = 0; i < 5; i++) reconciler.requestRepair();
    await advance(999);
    expect(target.objects.size).toBe(0);
    await advance(1);
    expect(target.objects.size).toBe(1);
    expect(reconciler.summary().lastRepair).toBe(first + 67_000);
    target.objects.clear();
    await advance(5000);
    expect(target.objects.size).toBe(0);
    reconciler.requestRepair();
    await reconciler.settled();
    expect(target.objects.size).toBe(1);
  });

  test("reads no target that nobody else has changed, and compares it again as soon as somebody has", async () => {
    const target = new TestTarget("t");
    let revision = 1;
    let listed = 0;
    const actual = target.ops.actual as NonNullable<typeof target.ops.actual>;
    const list: typeof actual.list = (rows) => {
      listed++;
      return actual.list(rows);
    };
    const ops = { ...target.ops, actual: { ...actual, list, revision: () => revision } };
    const { reconciler, put, advance } = setUp({ ops, repairInterval: 1000 });
    put(["a", 1]);
    reconciler.start();
    await reconciler.settled();
    expect(listed).toBe(1);
    put(["a", 2], ["b", 1]);
    for (let i = 0; i < 5; i++) await advance(1000);
    expect(listed).toBe(1);
    expect(reconciler.summary().lastRepair).toBeGreaterThan(0);
    target.objects.set("t:a", 7);
    revision++;
    await advance(1000);
    expect(listed).toBe(2);
    expect(target.objects.get("t:a")).toBe(2);
    await advance(1000);
    expect(listed).toBe(2);
  });

  test("leaves drift alone while paused, but not changed or failed rows", async () => {
    const { target, clock, reconciler, put, advance } = setUp();
    put(["a", 1]);
    reconciler.start();
    await reconciler.settled();
    reconciler.pause(300_000);
    expect(reconciler.summary().pausedUntil).toBe(clock.now() + 300_000);
    target.objects.set("t:a", 9);
    target.failing.add("b");
    put(["b", 1], ["c", 1]);
    reconciler.requestRepair();
    await reconciler.settled();
    target.failing.clear();
    await advance(120_000);
    expect([...target.objects]).toEqual([
      ["t:a", 9],
      ["t:c", 1],
      ["t:b", 1],
    ]);
    await advance(180_000);
    expect(target.objects.get("t:a")).toBe(1);
    target.objects.set("t:a", 9);
    reconciler.pause(300_000);
    reconciler.requestRepair();
    await advance(10_000);
    expect(target.objects.get("t:a")).toBe(9);
    reconciler.resume();
    await reconciler.settled();
    expect(target.objects.get("t:a")).toBe(1);
    expect(reconciler.summary().pausedUntil).toBeUndefined();
  });

  test("that cannot read says so, is retried, and does not keep rows from being applied", async () => {
    const { target, reconciler, put, advance } = setUp();
    target.failsToList = true;
    target.objects.set("t:left", 1);
    put(["a", 1]);
    reconciler.start();
    await reconciler.settled();
    expect(reconciler.summary()).toMatchObject({
      done: 1,
      repairError: "cannot list",
      lastRepair: undefined,
    });
    expect(isUnavailable(await reconciler.repair().catch((e: unknown) => e))).toBe(true);
    target.failsToList = false;
    await advance(4000);
    expect(target.objects.has("t:left")).toBe(false);
    expect(reconciler.summary().repairError).toBeUndefined();
  });

  test("does not undo what was done while it was reading", async () => {
    const { target, reconciler, put, remove } = setUp({ target: { turns: { update: 1, delete: 1 } } });
    put(["a", 1], ["b", 1]);
    await reconciler.flush();
    target.objects.set("t:left", 1);
    const repair = reconciler.repair();
    // The listing is taken; then a changes, b goes, left is wanted after all.
    put(["a", 2], ["left", 5]);
    remove("b");
    await Promise.all([repair, reconciler.flush(["a", "b", "left"])]);
    expect([...target.objects].sort()).toEqual([
      ["t:a", 2],
      ["t:left", 5],
    ]);
    expect(target.writes.filter((text) => text.startsWith("prune"))).toEqual([]);
  });
});

describe("a listing that ages", () => {
  /** The listing is taken at once and handed over when `release` is called. */
  function setUpSlow() {
    const world = setUp({ target: { turns: { update: 1, delete: 1 } } });
    const { promise, resolve: release } = Promise.withResolvers<void>();
    const { ops } = world.target;
    const actual = ops.actual!;
    const list = async (): Promise<Iterable<Held>> => {
      const listing = actual.list();
      await promise;
      return listing;
    };
    const slow: ReconcilerOptions<Item, Held> = {
      name: "slow",
      table: world.items,
      ops: { ...ops, actual: { ...actual, list } },
      clock: world.clock,
      logger: silentLogger,
    };
    const reconciler = createReconciler(slow);
    running.push(reconciler);
    return { ...world, reconciler, release };
  }

  test("is not believed of a row that was applied since", async () => {
    const { target, reconciler, put, release } = setUpSlow();
    put(["a", 1]);
    await reconciler.flush();
    const repair = reconciler.repair();
    put(["a", 2]);
    await reconciler.flush(["a"]);
    // The listing says 1, which is wanted again; the target holds 2.
    put(["a", 1]);
    release();
    expect(await repair).toMatchObject({ checked: 0 });
    expect(reconciler.status("a")?.state).toBe("pending");
    await reconciler.flush();
    expect(target.objects.get("t:a")).toBe(1);
  });

  test("is not believed of an operation that was in flight when it was taken", async () => {
    const { target, reconciler, put, release } = setUpSlow();
    put(["a", 1]);
    const flushed = reconciler.flush();
    const repair = reconciler.repair();
    await flushed;
    release();
    expect(await repair).toEqual({ checked: 0, repaired: [], failed: [], pruned: 0 });
    expect(target.writes).toEqual(["set t:a"]);
  });

  test("does not make a leftover of what was deleted since", async () => {
    const { target, reconciler, put, remove, release } = setUpSlow();
    put(["a", 1]);
    await reconciler.flush();
    const repair = reconciler.repair();
    remove("a");
    await reconciler.flush(["a"]);
    release();
    expect(await repair).toMatchObject({ pruned: 0 });
    expect(target.writes).toEqual(["set t:a", "delete t:a"]);
  });
});

test("a chunk must be a positive integer", () => {
  let caught: unknown;
  try {
    setUp({ chunk: 0 });
  } catch (error) {
    caught = error;
  }
  expect(isInvalid(caught)).toBe(true);
});

test("a stopped reconciler leaves everything as it is", async () => {
  const { target, reconciler, put } = setUp();
  put(["a", 1]);
  reconciler.start();
  await reconciler.settled();
  await reconciler.stop();
  put(["b", 1]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(target.writes).toEqual(["set t:a"]);
});
