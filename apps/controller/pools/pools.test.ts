/** The keeper of pools on the embedded API server: acceptance, finalizer, counts, nodes that are gone, changes of leader. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, parsePrefix, silentLogger } from "@weft/base";
import { type ApiClient, createClient, type KubernetesObject } from "@weft/cluster/client";
import { anonymous } from "@weft/cluster/client/testing";
import { registerDefinitions } from "@weft/cluster/definitions";
import { ApiServer } from "@weft/cluster/server";
import { blockName, POOL_FINALIZER } from "@weft/model";
import { runController } from "../controller.ts";

const POOLS = "/apis/weft.network/v1alpha1/ippools";
const BLOCKS = "/apis/weft.network/v1alpha1/ipblocks";
const NODES = "/api/v1/nodes";
const EVENTS = "/apis/events.k8s.io/v1/events";
/** A leader stays one while the machine has other things to do; whoever stops gives its lease back. */
const ELECTION = { leaseDuration: 15_000, renewDeadline: 10_000, retryPeriod: 50 };

let directory: string;
let server: ApiServer;
let client: ApiClient;
/** Writes that reach the server, as "PUT /apis/...". */
let writes: string[];
/** Answers instead of the server when it gives something. */
let intercept: (method: string, path: string) => Response | undefined;
const ending: (() => Promise<void>)[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "weft-t-controller-"));
  server = await ApiServer.start({ file: join(directory, "weft.db"), logger: silentLogger });
  await registerDefinitions((request) => server.handle(request));
  await ask("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "weft-system" },
  });
  writes = [];
  intercept = () => undefined;
  client = createClient({
    credentials: anonymous("http://server"),
    rateLimit: { qps: 10_000, burst: 10_000 },
    fetch: async (url, init) => {
      const request = new Request(url, { ...(init as RequestInit), signal: null });
      const { pathname } = new URL(request.url);
      const done = intercept(request.method, pathname);
      if (done !== undefined) return done;
      if (request.method !== "GET" && !/leases|events/.test(pathname))
        writes.push(`${request.method} ${pathname}`);
      return server.handle(request);
    },
  });
});
afterEach(async () => {
  await Promise.all(ending.splice(0).map((end) => end()));
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function ask(method: string, path: string, body?: object): Promise<KubernetesObject> {
  const headers = {
    "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
  };
  const response = await server.handle(
    new Request(`http://server${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }),
  );
  return (await response.json()) as KubernetesObject;
}

function controller(identity = "c1", nodeGone = 300_000): { stop(): Promise<void>; log: string[] } {
  const stopping = new AbortController();
  const log: string[] = [];
  const end = runController({
    client,
    namespace: "weft-system",
    identity,
    grace: 60_000,
    nodeGone,
    election: ELECTION,
    logger: createLogger((line) => log.push(line)),
    signal: stopping.signal,
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await end;
  };
  ending.push(stop);
  return { stop, log };
}

const node = (name: string, spec: object = {}) =>
  ask("POST", NODES, { apiVersion: "v1", kind: "Node", metadata: { name }, spec });
const pool = (name: string, cidr: string, spec: object = {}) =>
  ask("POST", POOLS, {
    apiVersion: "weft.network/v1alpha1",
    kind: "IPPool",
    metadata: { name },
    spec: { cidr, ...spec },
  });
const block = async (cidr: string, node: string | undefined, more: object = {}, pool = "p") => {
  const { uid } = (await ask("GET", `${POOLS}/${pool}`)).metadata;
  return ask("POST", BLOCKS, {
    apiVersion: "weft.network/v1alpha1",
    kind: "IPBlock",
    metadata: { name: blockName(parsePrefix(cidr)) },
    spec: { cidr, pool, poolUID: uid, ...(node === undefined ? {} : { node }), ...more },
  });
};

interface Status {
  readonly cidr?: string;
  readonly conditions?: readonly {
    status: string;
    reason: string;
    message: string;
    lastTransitionTime: string;
  }[];
  readonly [name: string]: unknown;
}
const statusOf = async (name: string): Promise<Status> =>
  ((await ask("GET", `${POOLS}/${name}`))["status"] ?? {}) as Status;
const reasonOf = async (name: string): Promise<string | undefined> =>
  (await statusOf(name)).conditions?.[0]?.reason;
const specOf = async (name: string): Promise<Record<string, unknown> | undefined> =>
  (await ask("GET", `${BLOCKS}/${name}`))["spec"] as Record<string, unknown> | undefined;

async function eventually(what: string, is: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (await is()) return;
    await Bun.sleep(20);
  }
  throw new Error(`${what} did not come about`);
}

test("a pool is held before it is ready, and says what is wrong with it", async () => {
  await node("n1", { podCIDRs: ["10.244.1.0/24"] });
  controller();
  await pool("p", "10.8.0.0/16");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  const object = await ask("GET", `${POOLS}/p`);
  expect(object.metadata["finalizers"]).toEqual([POOL_FINALIZER]);
  expect(object["status"]).toMatchObject({
    cidr: "10.8.0.0/16",
    blockSize: 26,
    blocks: 0,
    used: 0,
    free: 65534,
  });
  const held = writes.indexOf(`PUT ${POOLS}/p`);
  expect(held).toBeGreaterThanOrEqual(0);
  expect(held).toBeLessThan(writes.indexOf(`PUT ${POOLS}/p/status`));
  await pool("q", "10.8.128.0/17");
  await pool("r", "10.244.0.0/16");
  await pool("bad", "10.9.0.1/16");
  await eventually(
    "all",
    async () => (await reasonOf("bad")) === "Invalid" && (await reasonOf("r")) !== undefined,
  );
  expect([await reasonOf("q"), await reasonOf("r")]).toEqual(["OverlapsPool", "OverlapsNodeRange"]);
  expect((await statusOf("q")).cidr).toBeUndefined();
  // What kept it away goes.
  await ask("DELETE", `${NODES}/n1`);
  await eventually("r", async () => (await reasonOf("r")) === "Accepted");
  await ask("DELETE", `${POOLS}/p`);
  await eventually("q", async () => (await reasonOf("q")) === "Accepted");
  expect((await ask("GET", `${POOLS}/p`))["reason"]).toBe("NotFound");
  await ask("PATCH", `${POOLS}/q`, { spec: { cidr: "10.8.0.0/17" } });
  await eventually("changed", async () => (await reasonOf("q")) === "RangeChanged");
  expect((await statusOf("q")).cidr).toBe("10.8.128.0/17");
  await eventually("an event", async () => {
    const events = ((await ask("GET", EVENTS))["items"] ?? []) as {
      reason: string;
      regarding: { kind: string };
    }[];
    return events.some((e) => e.regarding.kind === "IPPool" && e.reason === "OverlapsPool");
  });
});

test("a pool goes once nothing of it is left, whatever the watch has told", async () => {
  controller();
  await pool("p", "10.8.0.0/16");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  await node("n1");
  await block("10.8.0.0/26", "n1");
  await ask("DELETE", `${POOLS}/p`);
  await eventually("it says so", async () => (await reasonOf("p")) === "Deleting");
  expect((await statusOf("p")).conditions?.[0]?.message).toContain("1 blocks of n1 are left");
  await Bun.sleep(200);
  expect((await ask("GET", `${POOLS}/p`)).metadata.name).toBe("p");
  await ask("DELETE", `${BLOCKS}/10-8-0-0-26`);
  await eventually("gone", async () => (await ask("GET", `${POOLS}/p`))["reason"] === "NotFound");
});

test("numbers are counted from blocks, and not written with every one of them", async () => {
  controller();
  await pool("p", "10.8.0.0/16");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  await node("n1");
  const before = writes.length;
  for (let i = 0; i < 50; i++) await block(`10.8.${i}.0/26`, "n1");
  await Bun.sleep(500);
  expect(writes.slice(before).filter((w) => w.startsWith("PUT"))).toEqual([]);
  await ask("PATCH", `${POOLS}/p`, { spec: { disabled: true } });
  await eventually("news", async () => (await reasonOf("p")) === "Disabled");
  // Of those that the watch had yet to tell of, it is written later.
  await eventually("all are counted", async () => (await statusOf("p"))["blocks"] === 50);
  expect(await statusOf("p")).toMatchObject({ blocks: 50, nodes: 1 });
});

test("a node that is gone: its blocks go back, lent ones lose their node, and what it borrowed is returned", async () => {
  await node("n1");
  await node("n2");
  controller("c1", 2000);
  await pool("p", "10.8.0.0/16");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  await block("10.8.0.0/26", "n1");
  await block("10.8.0.64/26", "n1", {
    tunnelAddress: "10.8.0.65",
    loans: [{ id: "a", node: "n2", address: "10.8.0.70" }],
  });
  await block("10.8.0.128/26", "n2", { loans: [{ id: "b", node: "n1", address: "10.8.0.130" }] });
  await Bun.sleep(2300);
  expect((await specOf("10-8-0-0-26"))?.["node"]).toBe("n1");
  await ask("DELETE", `${NODES}/n1`);
  await Bun.sleep(150);
  expect((await specOf("10-8-0-0-26"))?.["node"]).toBe("n1");
  await eventually("it went", async () => (await specOf("10-8-0-0-26")) === undefined);
  await eventually("no node", async () => (await specOf("10-8-0-64-26"))?.["node"] === undefined);
  expect(await specOf("10-8-0-64-26")).toMatchObject({
    loans: [{ id: "a", node: "n2", address: "10.8.0.70" }],
  });
  expect((await specOf("10-8-0-64-26"))?.["tunnelAddress"]).toBeUndefined();
  await eventually("returned", async () =>
    JSON.stringify((await specOf("10-8-0-128-26"))?.["loans"]).includes('"returned":true'),
  );
  // The borrower is done with it.
  const object = await ask("GET", `${BLOCKS}/10-8-0-64-26`);
  const spec = object["spec"] as { loans: object[] };
  await ask("PUT", `${BLOCKS}/10-8-0-64-26`, {
    ...object,
    spec: { ...spec, loans: [{ ...spec.loans[0], returned: true }] },
  });
  await eventually("the last of it", async () => (await specOf("10-8-0-64-26")) === undefined);
});

test("a node that comes back in time keeps everything", async () => {
  await node("n1");
  controller("c1", 3000);
  await pool("p", "10.8.0.0/16");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  await block("10.8.0.0/26", "n1");
  await ask("DELETE", `${NODES}/n1`);
  await Bun.sleep(300);
  await node("n1");
  await Bun.sleep(3500);
  expect((await specOf("10-8-0-0-26"))?.["node"]).toBe("n1");
});

test("conflicts and errors in the middle are looked at again; another leader changes nothing that is right", async () => {
  let refusals = 6;
  intercept = (method, path) => {
    if (method === "GET" || !/ippools|ipblocks/.test(path) || refusals-- <= 0) return undefined;
    const status = refusals % 2 === 0 ? 409 : 500;
    return Response.json({ kind: "Status", code: status, reason: "Conflict", message: "no" }, { status });
  };
  await node("n1");
  const first = controller("c1", 300);
  await pool("p", "10.8.0.0/16");
  await block("10.8.0.0/26", "gone");
  await eventually("accepted", async () => (await reasonOf("p")) === "Accepted");
  await eventually("taken back", async () => (await specOf("10-8-0-0-26")) === undefined);
  const before = await statusOf("p");
  await first.stop();
  writes = [];
  controller("c2", 300);
  await block("10.8.0.64/26", "gone");
  await eventually("the second one works", async () => (await specOf("10-8-0-64-26")) === undefined);
  // Numbers may be newer; what is said stays, with its time.
  expect((await statusOf("p")).conditions).toEqual(before.conditions);
  expect(writes).not.toContain(`PUT ${POOLS}/p`);
}, 120_000);

test("five thousand blocks: a new leader reads them and writes nothing but the pool", async () => {
  await node("n1");
  await pool("p", "10.0.0.0/11");
  const { uid } = (await ask("GET", `${POOLS}/p`)).metadata;
  const all = Array.from({ length: 5000 }, (_, i) => `10.${i >> 10}.${(i >> 2) & 255}.${(i & 3) * 64}/26`);
  for (let i = 0; i < all.length; i += 100) {
    await Promise.all(
      all.slice(i, i + 100).map((cidr) =>
        ask("POST", BLOCKS, {
          apiVersion: "weft.network/v1alpha1",
          kind: "IPBlock",
          metadata: { name: blockName(parsePrefix(cidr)) },
          spec: { cidr, pool: "p", poolUID: uid, node: "n1" },
        }),
      ),
    );
  }
  writes = [];
  controller();
  await eventually("accepted", async () => (await statusOf("p"))["blocks"] === 5000);
  expect(writes.filter((w) => w.includes("weft.network"))).toEqual([
    `PUT ${POOLS}/p`,
    `PUT ${POOLS}/p/status`,
  ]);
}, 120_000);
