import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock } from "@weft/base";
import type { ResourceWatchOptions } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import type { StreamFault } from "./testing/fake-watcher.ts";
import { directClient, settle, until } from "./testing/setup.ts";
import { PATH, pod, type Row, watched } from "./testing/watched.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const start = (api: FakeApi, options: Partial<ResourceWatchOptions<Row>> = {}) =>
  watched(api, stops, options);

/** Counts what was asked: lists and watches. */
const asked = (api: FakeApi) => ({
  // One object is asked for to see the version.
  lists: api.calls.filter(({ query }) => query.get("watch") === null && query.get("limit") !== "1").length,
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
    const api = new FakeApi();
    const { watch, batches } = await start(api);
    await watch.ready;
    expect(batches).toEqual([{ reset: true, changes: [], version: String(api.version) }]);
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

  test("told of a reason to connect anew, it waits neither for TCP nor for the next try", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    const { watch, text } = await start(api, { client: directClient(api, { clock }), clock });
    await settle();
    api.streamFault = () => "silence";
    api.put(PATH, pod("a", 1));
    await settle();
    api.streamFault = () => undefined;
    watch.reconnect("an address went");
    await settle();
    expect(watch.status().lastError).toContain("connecting anew: an address went");
    clock.advance(800);
    await settle();
    expect([text(), watch.status().state, asked(api).lists]).toEqual(["a=1", "watching", 1]);
    // In a long wait between two tries.
    api.intercept = () => failure(503, "ServiceUnavailable", "not yet", {}, { "Retry-After": "50" });
    api.disconnect();
    await settle();
    clock.advance(800);
    await settle();
    api.intercept = () => undefined;
    expect(watch.status().lastError).toContain("not yet");
    watch.reconnect("an address came");
    await settle();
    expect(watch.status().state).toBe("watching");
  });

  test("bookmarks show that a connection is alive", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    const { watch } = await start(api, { client: directClient(api, { clock }), clock });
    await settle();
    for (let minute = 0; minute < 20; minute++) {
      clock.advance(60_000);
      api.bookmark();
      await settle();
    }
    expect(watch.status()).toMatchObject({ state: "watching", watches: 1 });
    clock.advance(299_999);
    await settle();
    expect(watch.status().state).toBe("watching");
    clock.advance(1);
    await settle();
    expect(watch.status()).toMatchObject({ state: "away", lastError: expect.stringContaining("for 300 s") });
    clock.advance(800);
    await settle();
    expect(watch.status()).toMatchObject({ state: "watching", watches: 2, lists: 1 });
  });

  test("after events in another order, it goes on from the newest", async () => {
    const api = new FakeApi();
    const { watch, untilEqual } = await start(api);
    await until(() => watch.status().state === "watching");
    const script: StreamFault[] = ["swap"];
    api.streamFault = () => script.shift();
    api.put(PATH, pod("a", 1));
    api.put(PATH, pod("b", 1));
    await untilEqual();
    api.disconnect();
    await until(() => watch.status().watches === 2 && watch.status().state === "watching");
    expect(api.calls.at(-1)!.query.get("resourceVersion")).toBe(String(api.version));
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

  test("a server whose clock is ahead is not left alone until then", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    const when = new Date(Date.now() + 86_400_000).toUTCString();
    api.intercept = () => failure(503, "", "starting", {}, { "Retry-After": when });
    const { watch } = await start(api, { client: directClient(api, { clock }), clock });
    await settle();
    expect(watch.status().lastError).toContain("starting");
    api.intercept = () => undefined;
    clock.advance(60_000);
    await settle();
    expect(watch.status().synced).toBe(true);
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

  test("a restored server that lets a watch from the future wait: nothing is missed all the same", async () => {
    const api = new FakeApi();
    for (let i = 0; i < 50; i++) api.put(PATH, pod("a", i));
    api.put(PATH, pod("lost", 1));
    const { watch, text } = await start(api);
    await until(() => watch.status().state === "watching");
    const older = new FakeApi();
    older.put(PATH, pod("a", "restored"));
    older.put(PATH, pod("b", "restored"));
    // As the API server does it: of a watch it sends what is newer than where the watch began, and nothing else.
    const silent = new Set<ReadableStreamDefaultController>();
    api.intercept = ({ query, path }) => {
      if (query.get("watch") === "true" && Number(query.get("resourceVersion")) > older.version)
        return new Response(new ReadableStream({ start: (c) => void silent.add(c) }));
      return older.handle(new Request(`http://x${path}?${query}`));
    };
    api.disconnect();
    await until(() => text() === "a=restored b=restored", "the restored state");
    older.put(PATH, pod("a", "later"));
    await until(() => text() === "a=later b=restored", "what came later");
    expect([silent.size, watch.status().resourceVersion]).toEqual([0, String(older.version)]);
  });

  test("a server that is away for an hour: rows stay, it is asked now and then, and what was missed is caught up", async () => {
    const api = new FakeApi();
    const clock = new FakeClock();
    for (const name of ["a", "b", "c"]) api.put(PATH, pod(name, 1));
    const { watch, text } = await start(api, {
      client: directClient(api, { clock }),
      clock,
      backoff: { first: 800, cap: 30_000 },
    });
    await watch.ready;
    await settle();
    const lost = clock.now();
    // Refused, slow beyond patience, overloaded, broken: each for a while.
    const answers = [
      () => Promise.reject(Object.assign(new Error("refused"), { code: "ECONNREFUSED" })),
      () => new Promise<Response>(() => {}),
      () => failure(429, "TooManyRequests", "later", {}, { "Retry-After": "3" }),
      () => failure(500, "InternalError", "broken"),
    ] as const;
    let minute = 0;
    api.intercept = () => (answers[Math.floor(minute / 15)] as (typeof answers)[number])();
    api.disconnect();
    await settle();
    const before = api.calls.length;
    for (; minute < 60; minute++) {
      for (let second = 0; second < 60; second++) {
        clock.advance(1000);
        await settle();
      }
      expect(text()).toBe("a=1 b=1 c=1");
      expect(watch.status()).toMatchObject({ state: "away", awaySince: lost, objects: 3 });
      expect(watch.status().lastError).toBeString();
      if (minute === 10) expect(watch.status().lastError).toContain("nothing listens there");
      if (minute === 25) expect(watch.status().lastError).toContain("no answer within 30 s");
      if (minute === 40) expect(watch.status().lastError).toContain("later");
    }
    const tries = api.calls.length - before;
    expect(tries).toBeGreaterThan(60);
    expect(tries).toBeLessThan(400);
    api.delete(PATH, "b", "default");
    api.put(PATH, pod("c", 2));
    api.put(PATH, pod("d", 1));
    api.compact();
    api.intercept = () => undefined;
    for (let second = 0; second < 70; second++) {
      clock.advance(1000);
      await settle();
    }
    expect(text()).toBe("a=1 c=2 d=1");
    expect(watch.status()).toMatchObject({ state: "watching", awaySince: undefined, lastError: undefined });
  });
});

describe("a kind that the server may not know", () => {
  const unknown = () => failure(404, "NotFound", "the server could not find the requested resource");

  test("is no rows, quietly, until it comes", async () => {
    const api = new FakeApi();
    api.intercept = unknown;
    let told = 0;
    const { watch, batches, untilEqual } = await start(api, {
      optional: { every: 5 },
      onStatus: () => void told++,
    });
    await watch.ready;
    expect(batches).toEqual([{ reset: true, changes: [], version: "" }]);
    await until(() => watch.status().lists > 3);
    expect(watch.status()).toMatchObject({
      state: "absent",
      synced: true,
      lastError: undefined,
      awaySince: undefined,
    });
    expect(told).toBe(1);
    api.put(PATH, pod("a", 1));
    api.intercept = () => undefined;
    await untilEqual();
    await until(() => watch.status().state === "watching");
  });

  test("keeps its rows until the server has said three times that it does not know it", async () => {
    const api = new FakeApi();
    api.put(PATH, pod("a", 1));
    const { watch, text } = await start(api, { optional: { every: 20 } });
    await watch.ready;
    await until(() => watch.status().state === "watching");
    let said = 0;
    const atThat: string[] = [];
    api.intercept = () => {
      atThat.push(text());
      said++;
      return unknown();
    };
    api.disconnect();
    await until(() => text() === "");
    expect(said).toBe(3);
    expect(atThat).toEqual(["a=1", "a=1", "a=1"]);
    expect(watch.status().state).toBe("absent");
  });

  test("is a fault like any other where it is needed", async () => {
    const api = new FakeApi();
    api.intercept = unknown;
    const { watch } = await start(api);
    await until(() => watch.status().lastError !== undefined);
    expect(watch.status()).toMatchObject({ state: "away", synced: false });
  });
});
