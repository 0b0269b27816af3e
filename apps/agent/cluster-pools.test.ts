/** What the cluster thread makes of pools, blocks, namespaces and pods of an API, and what it goes on with without one. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { overlaps, type Prefix, parsePrefix, silentLogger, subnetAt } from "@weft/base";
import { FakeApi, failure, serveApi, writeKubeconfig } from "@weft/cluster/client/testing";
import { blockName, type IpBlock } from "@weft/model";
import type { ClusterPools, PoolsMessage } from "./cluster-pools.ts";
import { type ClusterRows, watchSource } from "./cluster-source.ts";
import type { KnownPod } from "./known-pods.ts";
import { eventually } from "./testing/wait.ts";

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const NAMESPACES = "/api/v1/namespaces";
const POOLS = "/apis/weft.network/v1alpha1/ippools";
const BLOCKS = "/apis/weft.network/v1alpha1/ipblocks";

let directory: string;
const stops: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weft-t-pools-"));
});
afterEach(() => {
  for (const stop of stops.splice(0).reverse()) stop();
  rmSync(directory, { recursive: true, force: true });
});

const node = (name: string, address: string, labels: object = {}) => ({
  metadata: { name, uid: `uid-${name}`, labels },
  spec: {},
  status: { addresses: [{ type: "InternalIP", address }] },
});
const pod = (name: string, namespace = "shop", annotations: object = {}) => ({
  metadata: { name, namespace, uid: `uid-${name}`, annotations },
  spec: { nodeName: "node-a", containers: [{ name: "c", image: "web" }] },
});
const pool = (name: string, cidr: string, spec: object = {}, created = "2026-01-01T00:00:00Z") => ({
  metadata: { name, uid: `uid-${name}`, creationTimestamp: created },
  spec: { cidr, ...spec },
  status: {
    cidr,
    blockSize: (spec as { blockSize?: number }).blockSize ?? (cidr.includes(":") ? 122 : 26),
    conditions: [{ type: "Ready", status: "True" }],
  },
});
const uidOf = (cidr: string): string => `uid-${blockName(parsePrefix(cidr))}`;
const block = (cidr: string, node: string | undefined, more: object = {}, status: object = {}) => ({
  metadata: { name: blockName(parsePrefix(cidr)), uid: uidOf(cidr) },
  spec: { cidr, pool: "p", poolUID: "uid-p", node, ...more },
  status,
});

interface Seen {
  readonly order: string[];
  rows: ClusterRows | undefined;
  pools: PoolsMessage | undefined;
  pods: readonly KnownPod[];
  errors: readonly string[];
}

async function start(api: FakeApi) {
  const { url, stop } = await serveApi(api);
  stops.push(stop);
  const kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), url);
  const seen: Seen = { order: [], rows: undefined, pools: undefined, pods: [], errors: [] };
  const source = watchSource(
    { kind: "kubernetes", kubeconfig, copy: join(directory, "cluster.json") },
    "node-a",
    {
      rows(rows) {
        seen.order.push("rows");
        Object.assign(seen, { rows, errors: rows.errors });
      },
      state() {},
      pods(pods) {
        seen.order.push("pods");
        seen.pods = pods;
      },
      pools(message) {
        seen.order.push("pools");
        seen.pools = message;
      },
    },
    silentLogger,
  );
  return { seen, pools: source.pools as ClusterPools, stop };
}

const prefixes = (seen: Seen): string[] =>
  (seen.rows?.blocks ?? []).map((b) => `${b.prefix} ${b.node}`).sort();
const addressing = (seen: Seen, name: string) => seen.pods.find((p) => p.name === name)?.addressing;

test("a cluster without pools is told once to have none; no namespaces are asked for, and nothing is kept", async () => {
  const api = new FakeApi();
  api.intercept = ({ path }) =>
    path.startsWith("/apis/weft") ? failure(404, "NotFound", "no such kind") : undefined;
  api.put(NODES, { ...node("node-a", "192.0.2.1"), spec: { podCIDRs: ["10.244.1.0/24"] } });
  api.put(PODS, pod("web"));
  const { seen } = await start(api);
  await eventually("pods", () => seen.pods.length === 1);
  expect(seen.order.slice(0, 2)).toEqual(["pools", "pools"]);
  expect(seen.pools).toEqual({
    type: "pools",
    pools: [],
    usable: [],
    blocks: [],
    otherwise: { pools: {}, wanted: [], problem: undefined },
    byNamespace: {},
    current: true,
    enabled: false,
  });
  expect(seen.pods).toEqual([{ namespace: "shop", name: "web", uid: "uid-web" }]);
  expect(api.calls.some((c) => c.path === NAMESPACES)).toBe(false);
  expect(existsSync(join(directory, "cluster-pools.json"))).toBe(false);
  expect(existsSync(join(directory, "cluster.json"))).toBe(true);
});

test("pools are told before rows; a node whose addresses are of pools waits for no range", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "192.0.2.1", { zone: "z" }));
  api.put(NODES, node("node-b", "192.0.2.2"));
  api.put(NODES, node("node-c", "192.0.2.3"));
  api.put(POOLS, pool("p", "10.8.0.0/16", { nodeSelector: { matchLabels: { zone: "z" } } }));
  api.put(POOLS, pool("q", "10.9.0.0/16", { nodeSelector: { matchLabels: { zone: "y" } } }));
  api.put(BLOCKS, block("10.8.0.0/26", "node-a", { tunnelAddress: "10.8.0.1" }));
  const loans = [
    { id: "1", node: "node-a", address: "10.8.0.70" },
    { id: "2", node: "node-b", address: "10.8.0.71", tunnel: true },
    { id: "3", node: "node-b" },
  ];
  api.put(BLOCKS, block("10.8.0.64/26", undefined, { loans }));
  api.put(BLOCKS, block("10.8.0.128/26", "node-b"));
  const { seen } = await start(api);
  await eventually("rows", () => seen.rows !== undefined && seen.pools?.enabled === true);
  expect(seen.order.indexOf("pools")).toBeLessThan(seen.order.indexOf("rows"));
  expect(prefixes(seen)).toEqual([
    "10.8.0.0/26 node-a",
    "10.8.0.128/26 node-b",
    "10.8.0.70/32 node-a",
    "10.8.0.71/32 node-b",
  ]);
  expect(seen.rows?.blocks.find((b) => b.prefix.startsWith("10.8.0.71"))?.tunnelAddress as string).toBe(
    "10.8.0.71",
  );
  expect(seen.pools?.usable).toEqual(["p"]);
  // Its own, and one that it has a loan of.
  expect(seen.pools?.blocks.map((b) => b.name)).toEqual(["10-8-0-0-26", "10-8-0-64-26"]);
  expect(seen.errors).toEqual([
    expect.stringContaining("Node node-c: waits for a pod range in spec.podCIDRs"),
  ]);
  // Labels of the own node change what may be used.
  api.put(NODES, node("node-a", "192.0.2.1", { zone: "y" }));
  await eventually("another label", () => seen.pools?.usable.join() === "q");
  // A pool that is gone is not chosen any more.
  api.delete(POOLS, "q");
  await eventually("no pool", () => seen.pools?.pools.length === 1);
  expect(seen.pools?.usable).toEqual([]);
});

test("pods get what they, their namespaces and the pools say; a pod waits for its namespace", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "192.0.2.1"));
  api.put(POOLS, pool("p", "10.8.0.0/16", {}, "2026-01-02T00:00:00Z"));
  api.put(POOLS, pool("team", "10.9.0.0/16", { namespaceSelector: { matchLabels: { team: "x" } } }));
  api.put(NAMESPACES, { metadata: { name: "shop", labels: { team: "x" } } });
  api.put(NAMESPACES, {
    metadata: { name: "own", labels: {}, annotations: { "weft.network/pools": "team" } },
  });
  api.put(PODS, pod("web"));
  api.put(PODS, pod("asks", "shop", { "weft.network/pools": "p", "weft.network/addresses": "10.8.0.9" }));
  api.put(PODS, pod("wrong", "shop", { "weft.network/pools": "nope" }));
  api.put(PODS, pod("ours", "own"));
  const { seen } = await start(api);
  await eventually("all", () => seen.pods.length === 4);
  expect(addressing(seen, "web")?.pools).toEqual({ 4: ["team", "p"] });
  expect(addressing(seen, "asks") as unknown).toEqual({
    pools: { 4: ["p"] },
    wanted: ["10.8.0.9"],
    problem: undefined,
  });
  expect(addressing(seen, "wrong")?.problem).toBe("there is no pool nope");
  expect(addressing(seen, "ours")?.pools).toEqual({ 4: ["team"] });
  expect(seen.pools?.otherwise.pools).toEqual({ 4: ["p"] });
  expect(seen.pools?.byNamespace["shop"]?.pools).toEqual({ 4: ["team", "p"] });
  expect(seen.pools?.byNamespace["own"]?.pools).toEqual({ 4: ["team"] });
  api.put(PODS, pod("early", "late"));
  await Bun.sleep(300);
  expect(seen.pods).toHaveLength(4);
  api.put(NAMESPACES, { metadata: { name: "late", labels: { team: "x" } } });
  await eventually("its namespace", () => addressing(seen, "early") !== undefined);
  expect(addressing(seen, "early")?.pools).toEqual({ 4: ["team", "p"] });
  // Nobody can tell what labels it would have: after a while it is a namespace without any.
  api.put(PODS, pod("orphan", "nowhere"));
  await eventually("patience ends", () => addressing(seen, "orphan")?.pools[4]?.join() === "p");
  // A label of the namespace changes.
  api.put(NAMESPACES, { metadata: { name: "shop", labels: {} } });
  await eventually("another label", () => addressing(seen, "web")?.pools[4]?.join() === "p");
});

test("free blocks overlap none that is known, begin elsewhere for each node, and run out; lenders by room", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "192.0.2.1"));
  api.put(POOLS, pool("p", "10.8.0.0/24", { blockSize: 28 }));
  api.put(POOLS, pool("six", "fd00:8::/64"));
  api.put(BLOCKS, block("10.8.0.0/26", "node-b", {}, { used: 62, free: 0 }));
  api.put(BLOCKS, block("10.8.0.64/28", "node-c", {}, { used: 1, free: 15 }));
  api.put(BLOCKS, block("10.8.0.80/28", "node-d"));
  api.put(BLOCKS, block("10.8.0.96/28", "node-a", {}, { used: 2, free: 14 }));
  api.put(BLOCKS, block("10.8.0.112/28", undefined, {}, { used: 2, free: 14 }));
  const { seen, pools } = await start(api);
  await eventually("blocks", () => seen.pools?.enabled === true && seen.rows !== undefined);
  const found = pools.freeBlocks("p", 100);
  expect(found.prefixes.toSorted()).toEqual(
    Array.from({ length: 8 }, (_, i) => subnetAt("10.8.0.128/25", 28, BigInt(i))).toSorted(),
  );
  expect(found).toMatchObject({ used: 67, size: 254 });
  expect(pools.freeBlocks("p", 3).prefixes).toEqual(found.prefixes.slice(0, 3));
  const six = pools.freeBlocks("six", 4).prefixes;
  expect(new Set(six).size).toBe(4);
  expect(six[0]).not.toBe(parsePrefix("fd00:8::/122"));
  expect(pools.lenders("p").prefixes as readonly string[]).toEqual([
    "10.8.0.80/28",
    "10.8.0.64/28",
    "10.8.0.0/26",
  ]);
  expect(pools.freeBlocks("nope", 1)).toEqual({ prefixes: [], used: 0, size: 0 });
  // A report of another node is a number for whoever asks, and nothing that is told.
  await eventually("all is watched", () => seen.pools?.current === true);
  // Nothing is on its way any more.
  let told = -1;
  while (told !== seen.order.length) {
    told = seen.order.length;
    await Bun.sleep(500);
  }
  api.put(BLOCKS, block("10.8.0.0/26", "node-b", {}, { used: 2, free: 60 }));
  await eventually("it is counted", () => pools.lenders("p").used === 7);
  expect(pools.lenders("p").prefixes[0] as string).toBe("10.8.0.0/26");
  await Bun.sleep(200);
  expect(seen.order.length).toBe(told);
});

test("what this node wrote counts at once, and an older event does not take it back", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "192.0.2.1"));
  api.put(POOLS, pool("p", "10.8.0.0/16"));
  const { seen, pools } = await start(api);
  await eventually("pools", () => seen.pools?.enabled === true && seen.rows !== undefined);
  const own: IpBlock = {
    name: "10-8-0-0-26",
    uid: uidOf("10.8.0.0/26"),
    resourceVersion: String(api.version + 50),
    prefix: parsePrefix("10.8.0.0/26"),
    pool: "p",
    poolUid: "uid-p",
    node: "node-a",
    tunnelAddress: undefined,
    loans: [],
    allocations: [],
    reported: undefined,
    origin: { kind: "IPBlock", name: "10-8-0-0-26", uid: uidOf("10.8.0.0/26") },
  };
  pools.written(own);
  // No moment in between: whoever asks next is answered after this.
  expect(prefixes(seen)).toEqual(["10.8.0.0/26 node-a"]);
  expect(seen.pools?.blocks.map((b) => b.name)).toEqual(["10-8-0-0-26"]);
  const free = (): Prefix[] => [...pools.freeBlocks("p", 2000).prefixes];
  expect(free().some((p) => overlaps(p, own.prefix))).toBe(false);
  // The server tells of an older state.
  api.put(BLOCKS, block("10.8.0.0/26", "node-b"));
  await Bun.sleep(100);
  expect(prefixes(seen)).toEqual(["10.8.0.0/26 node-a"]);
  for (let i = 0; i < 60; i++) api.put(NODES, node("node-z", "192.0.2.9"));
  api.put(BLOCKS, block("10.8.0.0/26", "node-c"));
  await eventually("a newer one", () => prefixes(seen).join() === "10.8.0.0/26 node-c");
  pools.removed("10-8-0-0-26", own.uid);
  expect(prefixes(seen)).toEqual([]);
  expect(free().some((p) => overlaps(p, own.prefix))).toBe(true);
});

test("an agent that starts while the API is away has the same pools, blocks and pods", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "192.0.2.1", { zone: "z" }));
  api.put(NODES, node("node-b", "192.0.2.2"));
  api.put(POOLS, pool("p", "10.8.0.0/16", { nodeSelector: { matchLabels: { zone: "z" } } }));
  api.put(POOLS, pool("team", "10.9.0.0/16", { namespaceSelector: { matchLabels: { team: "x" } } }));
  api.put(NAMESPACES, { metadata: { name: "shop", labels: { team: "x" } } });
  api.put(BLOCKS, block("10.8.0.0/26", "node-a", { tunnelAddress: "10.8.0.1" }));
  api.put(BLOCKS, block("10.8.0.64/26", "node-b", { tunnelAddress: "10.8.0.65" }));
  api.put(PODS, pod("web"));
  const first = await start(api);
  await eventually("all", () => first.seen.pods.length === 1 && first.seen.pools?.current === true);
  await eventually("it is kept", () =>
    ["cluster.json", "cluster-pools.json"].every((name) => existsSync(join(directory, name))),
  );
  first.stop();
  const down = new FakeApi();
  down.intercept = () => failure(503, "ServiceUnavailable", "starting");
  const second = await start(down);
  expect(second.seen.order).toEqual(["pools", "rows", "pods"]);
  expect(prefixes(second.seen)).toEqual(prefixes(first.seen));
  expect(JSON.stringify(second.seen.pods)).toBe(JSON.stringify(first.seen.pods));
  const { current, ...rest } = second.seen.pools as PoolsMessage;
  expect(current).toBe(false);
  expect(JSON.parse(JSON.stringify(rest))).toEqual(
    JSON.parse(JSON.stringify({ ...first.seen.pools, current: undefined })),
  );
  expect(second.pools.freeBlocks("p", 5).prefixes).toHaveLength(5);
  // It is back, and a block went meanwhile.
  api.delete(BLOCKS, "10-8-0-0-26");
  down.intercept = () => undefined;
  for (const [path, objects] of [NODES, POOLS, NAMESPACES, BLOCKS, PODS].map(
    (p) => [p, api.objects(p)] as const,
  )) {
    for (const object of objects) down.put(path, object);
  }
  await eventually("it is as there", () => prefixes(second.seen).join() === "10.8.0.64/26 node-b");
  await eventually("nothing of it is left", () => second.seen.pools?.blocks.length === 0);
  // No pool and no block any more: the plain mode, and no copy.
  down.delete(POOLS, "p");
  down.delete(POOLS, "team");
  await eventually("plain", () => second.seen.pools?.enabled === false);
  await eventually("no copy", () => !existsSync(join(directory, "cluster-pools.json")));
});

test("rights that are missing are an error, and the rest goes on", async () => {
  const api = new FakeApi();
  api.put(NODES, { ...node("node-a", "192.0.2.1"), spec: { podCIDRs: ["10.244.1.0/24"] } });
  api.put(PODS, pod("web"));
  api.intercept = ({ path }) =>
    path === BLOCKS
      ? failure(
          403,
          "Forbidden",
          'ipblocks.weft.network is forbidden: User "x" cannot list resource "ipblocks"',
        )
      : undefined;
  const { seen } = await start(api);
  await eventually("rows", () => seen.rows !== undefined && seen.pods.length === 1);
  expect(prefixes(seen)).toEqual(["10.244.1.0/24 node-a"]);
  expect(seen.errors).toEqual([expect.stringContaining("IPBlocks cannot be read: ")]);
  expect(seen.pools?.current).toBe(false);
});
