import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { configMap, MAPS, TestApi, type WatchEvent } from "../testing/api.ts";
import { type ApiObject, items } from "../values.ts";

let api: TestApi;
beforeEach(async () => {
  api = await TestApi.start();
});
afterEach(() => api.remove());

const brief = ({ type, object }: WatchEvent): string => `${type} ${object.metadata.name}`;

describe("a watch", () => {
  test("goes on from a list without losing anything", async () => {
    await api.post(MAPS, configMap("a"));
    const list = await api.get(MAPS);
    await api.post(MAPS, configMap("b"));
    await api.delete(`${MAPS}/a`);
    const watch = await api.watch(`${MAPS}?watch=true&resourceVersion=${list.body.metadata.resourceVersion}`);
    await api.patch(`${MAPS}/b`, "merge", { data: { x: "1" } });
    const events = await watch.take(3);
    expect(events.map(brief)).toEqual(["ADDED b", "DELETED a", "MODIFIED b"]);
    // Versions grow, also that of a deletion.
    const versions = events.map(({ object }) => Number(object.metadata.resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    await watch.stop();
    expect(api.server.watchers.size).toBe(0);
  });

  test("that is still reading history gets what happens meanwhile once, and after it", async () => {
    const { revision } = api.server.store;
    // More than is read from the store at once.
    const old = Array.from({ length: 520 }, (_, i) => `old${i}`);
    await Promise.all(old.map((name) => api.post(MAPS, configMap(name))));
    const watch = await api.watch(`${MAPS}?watch=true&resourceVersion=${revision}`);
    for (let i = 0; i < 3; i++) await api.post(MAPS, configMap(`new${i}`));
    await api.delete(`${MAPS}/old0`);
    for (const watcher of [...api.server.watchers]) watcher.end();
    const names = (await watch.take(1000)).map(brief);
    expect(names.slice(0, 520).sort()).toEqual(old.map((name) => `ADDED ${name}`).sort());
    expect(names.slice(520)).toEqual(["ADDED new0", "ADDED new1", "ADDED new2", "DELETED old0"]);
  });

  test("without a version begins with what is there", async () => {
    await api.post(MAPS, configMap("a"));
    const watch = await api.watch(`${MAPS}?watch=1`);
    await api.post(MAPS, configMap("b"));
    expect((await watch.take(2)).map(brief)).toEqual(["ADDED a", "ADDED b"]);
    await watch.stop();
  });

  test("with sendInitialEvents says where the beginning ends", async () => {
    await api.post(MAPS, configMap("a"));
    const query =
      "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    const watch = await api.watch(`${MAPS}?${query}`);
    const [first, second] = await watch.take(2);
    expect(first && brief(first)).toBe("ADDED a");
    expect(second?.type).toBe("BOOKMARK");
    expect(second?.object.metadata.annotations).toEqual({ "k8s.io/initial-events-end": "true" });
    expect(second?.object.metadata.resourceVersion).toBe(String(api.server.store.revision));
    await watch.stop();
  });

  test.each([
    ["resourceVersion=abc", "must be a number"],
    ["timeoutSeconds=-1", "timeoutSeconds"],
    ["fieldSelector=spec.nope=1", "field label not supported: spec.nope"],
    ["labelSelector=a in (", "unable to parse"],
  ])("of %s is refused", async (query, message) => {
    const { status, body } = await api.get(`${MAPS}?watch=true&${query}`);
    expect(status).toBe(400);
    expect(String(body["message"])).toContain(message);
  });

  test("of a version that was compacted is 410, of one that is to come 504", async () => {
    const { revision } = api.server.store;
    for (let i = 0; i < 3; i++) await api.post(MAPS, configMap(`m${i}`));
    while (api.server.store.compact(api.clock + 1));
    expect((await api.get(`${MAPS}?watch=true&resourceVersion=${revision}`)).body).toMatchObject({
      code: 410,
      reason: "Expired",
    });
    expect((await api.get(`${MAPS}?watch=true&resourceVersion=${revision + 1000}`)).status).toBe(504);
  });

  test("ends when its time is over, with a bookmark of where to go on", async () => {
    const watch = await api.watch(
      `${MAPS}?watch=true&resourceVersion=${api.server.store.revision}&timeoutSeconds=5&allowWatchBookmarks=true`,
    );
    await api.post("/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "other" },
    });
    api.clock += 6000;
    for (const watcher of api.server.watchers) watcher.tick();
    const [bookmark] = await watch.take(1);
    expect(bookmark).toMatchObject({ type: "BOOKMARK", object: { kind: "ConfigMap" } });
    expect(bookmark?.object.metadata.resourceVersion).toBe(String(api.server.store.revision));
    expect(await watch.next()).toBeUndefined();
  });

  test("by labels shows what comes into the selection and what leaves it", async () => {
    const watch = await api.watch(
      `${MAPS}?watch=true&resourceVersion=${api.server.store.revision}&labelSelector=app=web`,
    );
    const label = (value: string | null) =>
      api.patch(`${MAPS}/a`, "merge", { metadata: { labels: { app: value } } });
    await api.post(MAPS, configMap("a"));
    await label("web");
    await api.patch(`${MAPS}/a`, "merge", { data: { x: "1" } });
    const left = await label("other");
    await label("web");
    await api.delete(`${MAPS}/a`);
    const events = await watch.take(5);
    expect(events.map(brief)).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"]);
    // As it was selected last, with the version of the change.
    expect(events[2]?.object.metadata.labels).toEqual({ app: "web" });
    expect(events[2]?.object.metadata.resourceVersion).toBe(left.body.metadata.resourceVersion);
    await watch.stop();
  });

  test("survives a restart of the server, at its version", async () => {
    await api.post(MAPS, configMap("a"));
    const { resourceVersion } = (await api.get(MAPS)).body.metadata;
    const before = await api.watch(`${MAPS}?watch=true&resourceVersion=${resourceVersion}`);
    await api.post(MAPS, configMap("b"));
    await api.stop();
    expect((await before.take(5)).map(brief)).toEqual(["ADDED b"]);
    await api.start();
    const after = await api.watch(`${MAPS}?watch=true&resourceVersion=${resourceVersion}`);
    await api.post(MAPS, configMap("c"));
    expect((await after.take(2)).map(brief)).toEqual(["ADDED b", "ADDED c"]);
    await after.stop();
  });

  test("that nobody reads is given up, and does not fill the memory", async () => {
    const watch = await api.watch(`${MAPS}?watch=true&resourceVersion=${api.server.store.revision}`);
    const data = { x: "y".repeat(900_000) };
    for (let i = 0; i < 40; i++) await api.post(MAPS, configMap(`m${i}`, data));
    expect(api.server.watchers.size).toBe(0);
    await watch.stop();
  });
});

type Step = {
  readonly action: "put" | "delete" | "restart" | "compact";
  readonly name: string;
  readonly label: string;
};

const steps = fc.array(
  fc.record<Step>({
    action: fc.constantFrom("put", "put", "put", "put", "delete", "delete", "restart", "compact"),
    name: fc.constantFrom("a", "b", "c", "d"),
    label: fc.constantFrom("x", "y"),
  }),
  { minLength: 5, maxLength: 30 },
);

/** What a client holds that lists once and watches from there on, listing again after 410 and reconnecting at an end. */
class Mirror {
  readonly held = new Map<string, ApiObject>();
  version = "";
  readonly of: TestApi;
  readonly query: string;
  constructor(of: TestApi, query: string) {
    this.of = of;
    this.query = query;
  }

  async list(): Promise<void> {
    const { body } = await this.of.get(`${MAPS}?${this.query}`);
    this.held.clear();
    for (const item of items(body["items"]) as ApiObject[]) this.held.set(item.metadata.name, item);
    this.version = body.metadata.resourceVersion ?? "";
  }

  /** Reads what there is up to now. */
  async catchUp(): Promise<void> {
    const until = this.of.server.store.revision;
    const watch = await this.of.watch(
      `${MAPS}?${this.query}&watch=true&resourceVersion=${this.version}&allowWatchBookmarks=true&timeoutSeconds=1`,
    );
    if (watch.status === 410) {
      await watch.stop();
      await this.list();
      return;
    }
    this.of.clock += 2000;
    const pull = watch.take(1000);
    await new Promise((done) => setImmediate(done));
    for (const watcher of [...this.of.server.watchers]) watcher.tick();
    for (const { type, object } of await pull) {
      expect(Number(object.metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(this.version));
      this.version = object.metadata.resourceVersion ?? "";
      if (type === "DELETED") expect(this.held.delete(object.metadata.name)).toBe(true);
      else if (type !== "BOOKMARK") {
        expect(this.held.has(object.metadata.name)).toBe(type === "MODIFIED");
        this.held.set(object.metadata.name, object);
      }
    }
    expect(Number(this.version)).toBeLessThanOrEqual(until);
  }
}

test("list and watch, at any point of any history, come to what a list shows", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.array(fc.nat(30), { maxLength: 5 }), async (list, looks) => {
      await api.remove();
      api = await TestApi.start();
      const mirrors = ["", "labelSelector=app%3Dx", "fieldSelector=metadata.name%3Da"].map(
        (q) => new Mirror(api, q),
      );
      for (const mirror of mirrors) await mirror.list();
      for (const [i, { action, name, label }] of list.entries()) {
        if (action === "put") {
          const object = configMap(name, { i: String(i) }, { labels: { app: label } });
          const { status } = await api.post(MAPS, object);
          if (status === 409) await api.put(`${MAPS}/${name}`, object);
        } else if (action === "delete") await api.delete(`${MAPS}/${name}`);
        else if (action === "restart") {
          await api.stop();
          await api.start();
        } else while (api.server.store.compact(api.clock + 1));
        if (looks.includes(i)) for (const mirror of mirrors) await mirror.catchUp();
      }
      for (const mirror of mirrors) {
        await mirror.catchUp();
        const fresh = new Mirror(api, mirror.query);
        await fresh.list();
        expect(Object.fromEntries(mirror.held)).toEqual(Object.fromEntries(fresh.held));
      }
    }),
    { numRuns: 25 },
  );
});
