/** The client through the proxy of faults, in front of the real embedded server. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "@weft/base";
import fc from "fast-check";
import { configMap, MAPS, TestApi } from "../server/testing/api.ts";
import {
  type ApiClient,
  createClient,
  createObject,
  deleteObject,
  getObject,
  patchObject,
  updateObject,
  updateWithRetry,
  watchResource,
} from "./index.ts";
import {
  createFaultProxy,
  type Fault,
  type FaultProxy,
  type FaultProxyOptions,
  until,
} from "./testing/index.ts";

const CONFIG_MAPS = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", namespaced: true };
const place = (name: string) => ({ namespace: "default", name });

let api: TestApi;
const proxies: FaultProxy[] = [];
const clients: ApiClient[] = [];
beforeEach(async () => {
  api = await TestApi.start({ now: Date.now });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const proxy of proxies.splice(0)) await proxy.stop();
  await api.remove();
});

async function through(
  options: Partial<FaultProxyOptions> = {},
  retries = 0,
): Promise<{ proxy: FaultProxy; client: ApiClient; asked: string[] }> {
  const asked: string[] = [];
  const handle = (request: Request): Promise<Response> => {
    asked.push(`${request.method} ${new URL(request.url).pathname}`);
    return api.server.handle(request);
  };
  const proxy = await createFaultProxy({ target: { handle }, ...options });
  proxies.push(proxy);
  const client = createClient({
    credentials: proxy.credentials,
    retries,
    backoff: { first: 1, cap: 10 },
    rateLimit: { qps: 1e6, burst: 1e6 },
  });
  clients.push(client);
  return { proxy, client, asked };
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  const codes = ["unavailable", "conflict", "exists", "busy", "timeout", "not-found", "overflow"] as const;
  try {
    await promise;
    return "done";
  } catch (error) {
    return codes.find((code) => hasCode(error, code)) ?? String(error);
  }
};
const isThere = async (name: string): Promise<boolean> => (await api.get(`${MAPS}/${name}`)).status === 200;
const make = (client: ApiClient, name: string) =>
  createObject(client, CONFIG_MAPS, configMap(name, {}, { namespace: "default" }) as never);

describe("a write", () => {
  test.each<[Fault, string, boolean]>([
    ["lose-request", "unavailable", false],
    ["lose-reply", "unavailable", true],
    ["cut-reply", "unavailable", true],
    ["late", "timeout", true],
    ["fail", "unavailable", false],
    ["busy", "busy", false],
    ["unavailable", "busy", false],
    ["slow", "done", true],
  ])("with %s is %s to the client, and done: %p", async (fault, code, done) => {
    const { proxy, client, asked } = await through();
    proxy.once(fault, { method: "POST" });
    expect(await codeOf(make(client, "one"))).toBe(code);
    expect(await isThere("one")).toBe(done);
    expect(proxy.injected).toEqual([{ fault, request: `POST ${MAPS}` }]);
    // It reached the server once at most: nobody below the client tries again by himself.
    expect(asked).toEqual(done ? [`POST ${MAPS}`] : []);
    // A second try finds what the first has done.
    expect(await codeOf(make(client, "one"))).toBe(done ? "exists" : "done");
  });

  test("that conflicts is tried again with what is there then, and counts once", async () => {
    const { proxy, client } = await through();
    await make(client, "counter");
    proxy.once("conflict", { method: "PUT" });
    proxy.once("conflict", { method: "PUT" });
    await updateWithRetry(client, CONFIG_MAPS, place("counter"), (map) => {
      const { n = "0" } = (map as { data?: { n?: string } }).data ?? {};
      return { ...map, data: { n: String(Number(n) + 1) } };
    });
    expect((await getObject(client, CONFIG_MAPS, place("counter")))["data"]).toEqual({ n: "1" });
    expect(proxy.injected.map(({ fault }) => fault)).toEqual(["conflict", "conflict"]);
  });

  test("is refused, and tried again, as often as the client may", async () => {
    const { proxy, client } = await through({}, 3);
    for (const fault of ["busy", "unavailable"] as const) proxy.once(fault);
    expect(await codeOf(make(client, "late"))).toBe("done");
    // A deletion that was lost is done again: then it is gone either way.
    proxy.once("lose-reply");
    expect(await codeOf(deleteObject(client, CONFIG_MAPS, place("late")))).toBe("done");
    expect(await isThere("late")).toBe(false);
  });

  test("of a version is never sent twice: it would be a conflict with itself", async () => {
    const { proxy, client, asked } = await through({}, 3);
    await make(client, "cas");
    const held = await getObject(client, CONFIG_MAPS, place("cas"));
    asked.splice(0);
    proxy.once("lose-reply", { method: "PUT" });
    const put = updateObject(client, CONFIG_MAPS, { ...held, data: { n: "1" } });
    expect(await codeOf(put)).toBe("unavailable");
    expect(asked).toEqual([`PUT ${MAPS}/cas`]);
    expect((await getObject(client, CONFIG_MAPS, place("cas")))["data"]).toEqual({ n: "1" });
  });
});

test("the same seed does the same to the same requests, however they are interleaved", async () => {
  const faults = { "lose-reply": 0.2, conflict: 0.2, busy: 0.2 };
  const run = async (seed: number, order: readonly string[]): Promise<string[]> => {
    const { proxy, client } = await through({ seed, faults });
    for (const name of order) {
      for (let i = 0; i < 5; i++) {
        // Neither of them is sent again by the runtime when a kept connection breaks.
        await codeOf(updateObject(client, CONFIG_MAPS, { metadata: place(name), data: {} } as never));
        await codeOf(patchObject(client, CONFIG_MAPS, place(name), "merge", { data: {} }));
      }
    }
    return proxy.injected.map(({ fault, request }) => `${request} ${fault}`).sort();
  };
  const first = await run(7, ["a", "b", "c"]);
  expect(first.length).toBeGreaterThan(5);
  expect(await run(7, ["c", "a", "b"])).toEqual(first);
  expect(await run(8, ["a", "b", "c"])).not.toEqual(first);
});

test("it listens on a socket too, and goes to one", async () => {
  const socket = join(api.directory, "proxy.sock");
  const first = await createFaultProxy({ target: api.server, socket });
  proxies.push(first);
  const { client, proxy } = await through({ target: first.url });
  first.once("fail");
  expect(await codeOf(make(client, "s"))).toBe("unavailable");
  expect(await codeOf(make(client, "s"))).toBe("done");
  expect(first.injected).toHaveLength(1);
  expect(proxy.injected).toEqual([]);
  rmSync(socket, { force: true });
});

/** A table of the server's ConfigMaps, kept by a watch. */
function follow(client: ApiClient) {
  const rows = new Map<string, string>();
  const wrong: string[] = [];
  const watch = watchResource<string>({
    client,
    path: MAPS,
    pageSize: 3,
    backoff: { first: 1, cap: 8 },
    decode: (object) => `${object.metadata.resourceVersion} ${JSON.stringify(object["data"] ?? {})}`,
    onChange({ reset, changes }) {
      if (reset) rows.clear();
      for (const { key, before, after } of changes) {
        if (rows.get(key) !== before) wrong.push(key);
        if (after === undefined) rows.delete(key);
        else rows.set(key, after);
      }
    },
  });
  const isEqual = async (): Promise<boolean> => {
    const { body } = await api.get(MAPS);
    const wanted = (
      body["items"] as { metadata: { name: string; resourceVersion: string }; data?: object }[]
    ).map(
      ({ metadata, data = {} }) =>
        [`default/${metadata.name}`, `${metadata.resourceVersion} ${JSON.stringify(data)}`] as const,
    );
    return Bun.deepEquals(new Map(wanted), rows);
  };
  return { rows, wrong, watch, isEqual };
}

async function untilEqual(isEqual: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await isEqual()); i++) {
    if (i > 30_000) throw new Error("the table does not become the server's state");
    await Bun.sleep(2);
  }
}

const REQUESTS: Fault[] = ["busy", "fail", "unavailable", "expire", "lose-request", "cut-reply", "slow"];
const EVENTS: Fault[] = ["duplicate", "repeat", "hold", "drop", "cut", "end", "gone"];
const WRITES: Fault[] = ["conflict", "lose-reply", "late"];
const rate = fc.oneof(fc.constant(0), fc.double({ min: 0.02, max: 0.12, noNaN: true }));
const ratesOf = (names: readonly Fault[]) =>
  fc.tuple(...names.map((name) => rate.map((r) => [name, r] as const)));
const step = fc.record({
  do: fc.constantFrom("put", "put", "put", "delete", "pause", "cut", "compact"),
  name: fc.nat(5),
});

interface Step {
  readonly do: string;
  readonly name: number;
}

/** Does all that while the faults are there; then they end, and the table must become the server's state. */
async function converge(seed: number, faults: Partial<Record<Fault, number>>, steps: readonly Step[]) {
  const { proxy, client } = await through({ seed, faults });
  const { watch, wrong, isEqual } = follow(client);
  for (const { do: what, name } of steps) {
    const path = `${MAPS}/m${name}`;
    if (what === "put") {
      const object = configMap(`m${name}`, { n: String(Math.random()) });
      // Through the faults and past them: the watch must hear of both.
      if (name % 2 === 0) await codeOf(client.request({ method: "PUT", path, body: object }));
      if ((await api.put(path, object)).status === 404) await api.post(MAPS, object);
    } else if (what === "delete") await api.delete(path);
    else if (what === "cut") proxy.cutAll();
    else if (what === "compact") api.server.store.compact(Date.now() + 1);
    else await Bun.sleep(3);
  }
  proxy.set({});
  await untilEqual(isEqual);
  await api.post(MAPS, configMap("after-all"));
  await untilEqual(isEqual);
  expect(wrong).toEqual([]);
  await watch.stop();
  await api.delete(MAPS);
  return proxy.injected;
}

test.each([...REQUESTS, ...EVENTS, ...WRITES])(
  "with much of %s the table becomes the server's state",
  async (fault) => {
    const steps = Array.from({ length: 60 }, (_, i) => ({
      do: ["put", "put", "pause", "put", "delete", "pause", "cut"][i % 7] as string,
      name: (i * 5) % 6,
    }));
    // Which requests there are depends on how busy the machine is: until the fault was among them.
    for (let seed = 3; ; seed++) {
      const injected = await converge(seed, { [fault]: 0.4 }, steps);
      if (injected.some((one) => one.fault === fault)) break;
      expect(seed).toBeLessThan(20);
    }
  },
);

test("whatever happens to requests, replies and events, the table becomes the server's state", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1_000_000),
      ratesOf([...REQUESTS, ...EVENTS, ...WRITES]),
      fc.array(step, { minLength: 5, maxLength: 40 }),
      async (seed, rates, steps) => void (await converge(seed, Object.fromEntries(rates), steps)),
    ),
    { numRuns: 60, endOnFailure: true },
  );
}, 300_000);

test("an event that is swallowed, with the stream going on, shows at the next list and not before", async () => {
  const { proxy, client } = await through();
  const { watch, rows, isEqual } = follow(client);
  await watch.ready;
  proxy.once("swallow");
  await api.post(MAPS, configMap("unheard"));
  await api.post(MAPS, configMap("heard"));
  await until(() => rows.has("default/heard"));
  expect(rows.has("default/unheard")).toBe(false);
  proxy.once("gone");
  await api.post(MAPS, configMap("later"));
  await untilEqual(isEqual);
  expect(rows.has("default/unheard")).toBe(true);
  await watch.stop();
});
