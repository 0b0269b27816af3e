import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock, WeftError } from "@weft/base";
import fc from "fast-check";
import { type ResourceWatchOptions, type RowBatch, watchResource } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import type { StreamFault } from "./testing/fake-watcher.ts";
import { directClient, serveApi, settle, until } from "./testing/setup.ts";

const PATH = "/api/v1/pods";
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Row {
  readonly name: string;
  readonly value: unknown;
}

const pod = (name: string, value: unknown = 0, extra: object = {}) => ({
  metadata: { name, namespace: "default" },
  value,
  ...extra,
});

/** A watch, and the table that its batches make. */
async function start(api: FakeApi, options: Partial<ResourceWatchOptions<Row>> = {}) {
  const { client, stop } = await serveApi(api);
  stops.push(stop);
  const rows = new Map<string, Row>();
  const batches: RowBatch<Row>[] = [];
  const watch = watchResource<Row>({
    client,
    path: PATH,
    decode: ({ metadata, value }) => {
      if (value === "faulty") throw new WeftError("invalid", "value: must not be faulty");
      return value === "ignored" ? undefined : { name: metadata.name, value };
    },
    onChange(batch) {
      batches.push(batch);
      if (batch.reset) rows.clear();
      for (const { key, before, after } of batch.changes) {
        expect(rows.get(key)).toEqual(before as Row);
        if (after === undefined) rows.delete(key);
        else rows.set(key, after);
      }
    },
    backoff: { first: 2, cap: 10 },
    ...options,
  });
  stops.push(() => watch.stop());
  const text = () =>
    [...rows.values()]
      .map(({ name, value }) => `${name}=${value}`)
      .sort()
      .join(" ");
  const wanted = () =>
    api
      .objects(PATH)
      .map(({ metadata, value }) => `${metadata.name}=${value}`)
      .sort()
      .join(" ");
  return { watch, rows, batches, text, untilEqual: () => until(() => text() === wanted(), "equality") };
}

/** Counts what was asked: lists and watches. */
const asked = (api: FakeApi) => ({
  lists: api.calls.filter(({ query }) => query.get("watch") === null).length,
  watches: api.calls.filter(({ query }) => query.get("watch") === "true").length,
});

describe("list and watch", () => {
  test("a list in pages is one first batch; then what changes, and only that", async () => {
    const api = new FakeApi();
    for (let i = 0; i < 25; i++) api.put(PATH, pod(`p${i}`, i));
    const { watch, batches, text, untilEqual } = await start(api, { pageSize: 10 });
    await watch.ready;
    expect(batches).toHaveLength(1);
    expect(batches[0]!.reset).toBe(true);
    expect(batches[0]!.changes).toHaveLength(25);
    expect(asked(api).lists).toBe(3);
    await until(() => watch.status().state === "watching");
    api.put(PATH, pod("p3", 3, { status: "of no interest" }));
    api.put(PATH, pod("p4", "new"));
    api.delete(PATH, "p5", "default");
    await untilEqual();
    expect(batches.slice(1).flatMap((b) => b.changes.map((c) => c.key))).toEqual([
      "default/p4",
      "default/p5",
    ]);
    expect(text()).toContain("p4=new");
    expect(watch.status()).toMatchObject({
      synced: true,
      objects: 24,
      lists: 1,
      watches: 1,
      awaySince: undefined,
    });
  });

  test("an empty list is a batch too", async () => {
    const { watch, batches } = await start(new FakeApi());
    await watch.ready;
    expect(batches).toEqual([{ reset: true, changes: [] }]);
  });

  test("selectors go to the server", async () => {
    const api = new FakeApi();
    api.put(PATH, pod("a", 1, { spec: { nodeName: "x" } }));
    api.put(PATH, pod("b", 2, { spec: { nodeName: "y" } }));
    const { watch, text } = await start(api, { fieldSelector: "spec.nodeName=x" });
    await watch.ready;
    await until(() => watch.status().state === "watching");
    api.put(PATH, pod("c", 3, { spec: { nodeName: "y" } }));
    api.put(PATH, pod("d", 4, { spec: { nodeName: "x" } }));
    await until(() => text() === "a=1 d=4");
  });

  test("a faulty object keeps its row and is named, until it is well or gone", async () => {
    const api = new FakeApi();
    api.put(PATH, pod("a", 1));
    api.put(PATH, pod("b", "faulty"));
    const { watch, text } = await start(api);
    await watch.ready;
    expect(text()).toBe("a=1");
    expect([...watch.status().faults]).toEqual([["default/b", "value: must not be faulty"]]);
    await until(() => watch.status().state === "watching");
    api.put(PATH, pod("a", "faulty"));
    api.put(PATH, pod("b", 2));
    await until(() => text() === "a=1 b=2");
    expect([...watch.status().faults.keys()]).toEqual(["default/a"]);
    api.put(PATH, pod("b", "ignored"));
    api.delete(PATH, "a", "default");
    await until(() => text() === "");
    expect(watch.status().faults.size).toBe(0);
  });

  test("whoever throws while taking a batch is told everything again", async () => {
    const api = new FakeApi();
    api.put(PATH, pod("a", 1));
    const told: string[] = [];
    const { watch } = await start(api, {
      onChange({ reset, changes }) {
        told.push(`${reset} ${changes.map((c) => c.key).join()}`);
        if (told.length === 2) throw new Error("no room");
      },
    });
    await until(() => watch.status().state === "watching");
    api.put(PATH, pod("b", 1));
    await until(() => told.length === 3);
    expect(told).toEqual(["true default/a", "false default/b", "true default/a,default/b"]);
  });

  test("stopped: ready rejects, nothing more is told, the connection is closed", async () => {
    const api = new FakeApi();
    const { watch, batches } = await start(api);
    await until(() => api.watchers === 1);
    await watch.stop();
    expect(watch.status().state).toBe("stopped");
    await until(() => api.watchers === 0, "the end of the connection");
    api.put(PATH, pod("late"));
    expect(batches).toHaveLength(1);

    const never = new FakeApi();
    never.intercept = () => failure(500, "InternalError", "no");
    const other = await start(never);
    await until(() => other.watch.status().state === "away");
    await other.watch.stop();
    expect(await other.watch.ready.catch(String)).toContain("was stopped");
  });
});

describe("faults", () => {
  test("a connection cut in the middle of a line goes on from the last version without a list", async () => {
    for (const fault of ["cut", "end", "garbage", "failed"] as const) {
      const api = new FakeApi();
      const { watch, untilEqual } = await start(api);
      await until(() => watch.status().state === "watching");
      api.put(PATH, pod("a", 1));
      await untilEqual();
      api.streamFault = () => {
        api.streamFault = () => undefined;
        return fault;
      };
      api.put(PATH, pod("a", 2));
      api.put(PATH, pod("b", 3));
      await untilEqual();
      expect(asked(api).lists).toBe(1);
      await watch.stop();
    }
  });

  test("410 lists again and finds what was deleted meanwhile", async () => {
    const api = new FakeApi();
    for (const name of ["a", "b", "c"]) api.put(PATH, pod(name, 1));
    const { watch, batches, untilEqual } = await start(api);
    await until(() => watch.status().state === "watching");
    api.intercept = () => failure(503, "ServiceUnavailable", "starting");
    api.disconnect();
    await until(() => watch.status().lastError?.includes("starting") === true);
    expect(watch.status().state).toBe("away");
    expect(watch.status().awaySince).toBeNumber();
    api.delete(PATH, "b", "default");
    api.put(PATH, pod("c", 2));
    api.put(PATH, pod("d", 1));
    api.compact();
    api.intercept = () => undefined;
    await untilEqual();
    expect(batches.at(-1)!.reset).toBe(false);
    expect(
      batches
        .at(-1)!
        .changes.map(({ key }) => key)
        .sort(),
    ).toEqual(["default/b", "default/c", "default/d"]);
    await until(() => watch.status().state === "watching");
    expect(watch.status()).toMatchObject({ awaySince: undefined, lastError: undefined });
  });

  test("a bookmark keeps a quiet watch from becoming too old", async () => {
    const api = new FakeApi();
    const { watch } = await start(api);
    await until(() => watch.status().state === "watching");
    api.put("/api/v1/nodes", { metadata: { name: "elsewhere" } });
    api.bookmark();
    await until(() => watch.status().resourceVersion === String(api.version));
    api.compact();
    api.disconnect();
    await until(() => asked(api).watches === 2);
    await until(() => watch.status().state === "watching");
    expect(asked(api).lists).toBe(1);
  });

  test("410 between pages begins the list again, and at last asks for it in one piece", async () => {
    const api = new FakeApi();
    for (let i = 0; i < 30; i++) api.put(PATH, pod(`p${i}`, i));
    api.intercept = ({ query }) =>
      query.has("continue")
        ? failure(410, "Expired", "The provided continue parameter is too old")
        : undefined;
    const { watch, rows } = await start(api, { pageSize: 10 });
    await watch.ready;
    expect(rows.size).toBe(30);
    expect(api.calls.slice(0, 5).map(({ query }) => query.get("limit"))).toEqual([
      "10",
      "10",
      "10",
      "10",
      null,
    ]);
  });

  test("a half-open connection is given up when not even a bookmark comes", async () => {
    const api = new FakeApi();
    const { watch, untilEqual } = await start(api, { idleLimit: 300 });
    await until(() => watch.status().state === "watching");
    api.streamFault = () => "silence";
    api.put(PATH, pod("a", 1));
    await until(() => watch.status().lastError?.includes("not even a bookmark") === true);
    api.streamFault = () => undefined;
    await untilEqual();
  });

  test("429 waits for as long as the server asks", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    api.intercept = () => failure(429, "TooManyRequests", "too many requests", {}, { "Retry-After": "7" });
    const { watch } = await start(api, { client: directClient(api, { clock }), clock });
    await settle();
    expect(watch.status().lastError).toContain("too many requests");
    api.intercept = () => undefined;
    clock.advance(6999);
    await settle();
    expect(api.calls).toHaveLength(1);
    clock.advance(1);
    await watch.ready;
  });

  test("403 stays away and says who may not do what", async () => {
    const forbidden = new FakeApi();
    const message =
      'pods is forbidden: User "weft" cannot list resource "pods" in API group "" at the cluster scope';
    forbidden.intercept = () => failure(403, "Forbidden", message);
    const { watch } = await start(forbidden);
    await until(() => watch.status().state === "away");
    expect(watch.status().lastError).toContain(message);
    forbidden.intercept = () => undefined;
    await watch.ready;
  });

  test("answers that are no lists and objects without names never become rows", async () => {
    const api = new FakeApi();
    const bad = [{}, { metadata: {} }, { metadata: { resourceVersion: "1" }, items: [{}] }, [], null];
    let i = 0;
    api.intercept = () => (i < bad.length ? Response.json(bad[i++]) : undefined);
    api.put(PATH, pod("a", 1));
    const { watch, text, batches } = await start(api);
    await watch.ready;
    expect([text(), batches.length]).toEqual(["a=1", 1]);
  });

  test("a server restored from a backup has older versions: the list counts", async () => {
    const api = new FakeApi();
    for (let i = 0; i < 50; i++) api.put(PATH, pod("a", i));
    const { watch, untilEqual } = await start(api);
    await until(() => watch.status().state === "watching");
    const older = new FakeApi();
    older.put(PATH, pod("a", "restored"));
    // What was told of the future is refused, and the list is the older server's.
    api.intercept = ({ query, path }) => {
      if (query.get("watch") === "true" && Number(query.get("resourceVersion")) > older.version) {
        return failure(410, "Gone", "too large resource version");
      }
      return older.handle(new Request(`http://x${path}?${query}`));
    };
    api.put(PATH, pod("a", "restored"));
    api.disconnect();
    await untilEqual();
    older.put(PATH, pod("a", "later"));
    api.put(PATH, pod("a", "later"));
    await untilEqual();
  });
});

describe("property", () => {
  const faults: (StreamFault | undefined)[] = [
    undefined,
    undefined,
    undefined,
    "duplicate",
    "stale",
    "stale",
    "swap",
    "swap",
    "split",
    "cut",
    "end",
    "expired",
    "failed",
    "garbage",
    "silence",
  ];
  const step = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ do: fc.constant("put" as const), name: fc.nat(5), value: fc.nat(3) }),
    },
    { weight: 6, arbitrary: fc.record({ do: fc.constant("delete" as const), name: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("disconnect" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("bookmark" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("break" as const), how: fc.nat(4) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("pause" as const), ms: fc.nat(6) }) },
  );

  test("after any changes and faults, once faults stop, the rows are the server's", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.array(fc.constantFrom(...faults), { minLength: 1, maxLength: 60 }),
        async (steps, script) => {
          const api = new FakeApi();
          api.put(PATH, pod("p0", "first"));
          let at = 0;
          api.streamFault = () => script[at++ % script.length];
          const { watch, text, untilEqual } = await start(api, { idleLimit: 30, pageSize: 2 });
          for (const s of steps) {
            if (s.do === "put") api.put(PATH, pod(`p${s.name}`, s.value));
            else if (s.do === "delete") api.delete(PATH, `p${s.name}`, "default");
            else if (s.do === "disconnect") api.disconnect();
            else if (s.do === "compact") api.compact();
            else if (s.do === "bookmark") api.bookmark();
            else if (s.do === "pause") await Bun.sleep(s.ms);
            else {
              const code = [410, 429, 500, 503, 403][s.how] as number;
              let left = 2;
              api.intercept = () => (left-- > 0 ? failure(code, "", "broken by the test") : undefined);
            }
          }
          api.streamFault = () => undefined;
          api.intercept = () => undefined;
          // What was held back comes now, as a real server would send it.
          api.bookmark();
          await untilEqual();
          // And it goes on being so.
          api.put(PATH, pod("last", text()));
          await untilEqual();
          await watch.stop();
          for (const stop of stops.splice(0).reverse()) await stop();
        },
      ),
      { numRuns: 100 },
    );
  }, 30_000);
});
