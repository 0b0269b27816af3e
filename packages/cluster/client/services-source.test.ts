import { afterEach, expect, test } from "bun:test";
import {
  type Block,
  type EndpointSlice,
  type IpPool,
  type Node,
  type Service,
  type ServiceRange,
  serviceName,
} from "@weft/model";
import { type ServicesWatchOptions, watchServices } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import { serveApi, until } from "./testing/setup.ts";

const SERVICES = "/api/v1/services";
const POOLS = "/apis/weft.network/v1alpha1/ippools";
const BLOCKS = "/apis/weft.network/v1alpha1/ipblocks";
const SLICES = "/apis/discovery.k8s.io/v1/endpointslices";
const RANGES = "/apis/networking.k8s.io/v1/servicecidrs";
const NODES = "/api/v1/nodes";
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const service = (name: string, more: { metadata?: object; spec?: object } = {}) => ({
  metadata: { name, namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z", ...more.metadata },
  spec: { type: "ClusterIP", clusterIP: "10.96.0.1", ports: [{ port: 80, protocol: "TCP" }], ...more.spec },
});
const slice = (name: string, of: string, addresses: readonly string[], labels: object = {}) => ({
  metadata: { name, namespace: "shop", labels: { "kubernetes.io/service-name": of, ...labels } },
  addressType: "IPv4",
  ports: [{ name: "", port: 8080, protocol: "TCP" }],
  endpoints: addresses.map((a) => ({ addresses: [a], conditions: { ready: true } })),
});
const node = (name: string, zone: string) => ({
  metadata: { name, labels: { "topology.kubernetes.io/zone": zone } },
  spec: { podCIDRs: ["10.244.1.0/24"] },
  status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
});

/** A table as far as a watch needs one; the real ones are a room above. */
class MapTable<Row> {
  readonly #rows = new Map<string, Row>();
  readonly database = { write: <T>(fn: () => T): T => fn() };
  readonly keyOf: (row: Row) => string;
  constructor(keyOf: (row: Row) => string) {
    this.keyOf = keyOf;
  }
  put(row: Row): boolean {
    this.#rows.set(this.keyOf(row), row);
    return true;
  }
  delete(key: string): boolean {
    return this.#rows.delete(key);
  }
  rows(): readonly Row[] {
    return [...this.#rows.values()];
  }
  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }
  keys(): readonly string[] {
    return [...this.#rows.keys()];
  }
  replaceAll(rows: Iterable<Row>): void {
    this.#rows.clear();
    for (const row of rows) this.put(row);
  }
}

async function start(api: FakeApi, options: Partial<ServicesWatchOptions> = {}) {
  const { client, stop } = await serveApi(api);
  stops.push(stop);
  const tables = {
    services: new MapTable<Service>(serviceName),
    slices: new MapTable<EndpointSlice>(serviceName),
    nodes: new MapTable<Node>((n) => n.name),
    pools: new MapTable<IpPool>((p) => p.name),
    blocks: new MapTable<Block>((b) => b.prefix),
    ranges: new MapTable<ServiceRange>((r) => r.prefix),
  };
  let writes = 0;
  const write = (change: () => void): void => {
    writes++;
    change();
  };
  const watch = watchServices({
    client,
    tables,
    write,
    gather: 1,
    backoff: { first: 2, cap: 10 },
    ...options,
  });
  stops.push(() => watch.stop());
  const keys = (table: "services" | "slices" | "nodes" | "blocks" | "ranges") => [...tables[table].keys()];
  return { watch, tables, keys, writes: () => writes };
}

test("all of it in one write, then what changes", async () => {
  const api = new FakeApi();
  api.put(SERVICES, service("web"));
  api.put(SLICES, slice("web-1", "web", ["10.244.1.5"]));
  api.put(NODES, node("a", "z1"));
  api.put(RANGES, { metadata: { name: "kubernetes" }, spec: { cidrs: ["10.96.0.0/16", "fd00:96::/112"] } });
  const { watch, tables, keys, writes } = await start(api);
  await watch.ready;
  expect(writes()).toBe(1);
  expect([keys("services"), keys("slices"), keys("blocks"), keys("ranges")]).toEqual([
    ["shop/web"],
    ["shop/web-1"],
    ["10.244.1.0/24"],
    ["10.96.0.0/16", "fd00:96::/112"],
  ]);
  expect(tables.nodes.get("a")?.zone).toBe("z1");
  api.put(NODES, node("a", "z2"));
  api.put(SLICES, slice("web-1", "web", ["10.244.1.5", "10.244.1.6"]));
  api.put(SLICES, slice("early-1", "early", ["10.244.1.7"]));
  await until(() => keys("slices").length === 2 && tables.nodes.get("a")?.zone === "z2");
  expect(tables.slices.get("shop/web-1")?.endpoints).toHaveLength(2);
  api.delete(SERVICES, "web", "shop");
  await until(() => keys("services").length === 0);
});

test("blocks of pools, and who has an address on loan; as long as they cannot be listed what was known stays", async () => {
  const api = new FakeApi();
  api.put(SERVICES, service("web"));
  api.put(NODES, node("a", "z1"));
  const block = (loans: object[]) => ({
    metadata: { name: "10-8-1-0-26", uid: "u" },
    spec: { cidr: "10.8.1.0/26", pool: "p", poolUID: "u-p", node: "a", loans },
  });
  api.put(POOLS, { metadata: { name: "p", uid: "u-p" }, spec: { cidr: "10.8.0.0/16" } });
  api.put(
    BLOCKS,
    block([
      { id: "1", node: "b", address: "10.8.1.7" },
      { id: "2", node: "b" },
    ]),
  );
  const { watch, tables, keys } = await start(api);
  await watch.ready;
  expect(keys("blocks")).toEqual(["10.244.1.0/24", "10.8.1.0/26", "10.8.1.7/32"]);
  expect(tables.blocks.get("10.8.1.7/32")).toMatchObject({ node: "b", lentFrom: "10.8.1.0/26" } as object);
  expect(tables.pools.get("p")?.cidr as string).toBe("10.8.0.0/16");
  api.put(BLOCKS, block([{ id: "1", node: "b", address: "10.8.1.7", returned: true }]));
  await until(() => !keys("blocks").includes("10.8.1.7/32"));
  // Another node's podCIDR is there: it keeps what it has.
  api.put(NODES, { ...node("b", "z1"), spec: { podCIDRs: ["10.8.0.0/16"] }, metadata: { name: "b" } });
  await until(() => keys("blocks").includes("10.8.0.0/16"));
  expect(keys("blocks")).toEqual(["10.244.1.0/24", "10.8.0.0/16"]);
  expect(watch.errors()).toContainEqual(
    expect.stringContaining("IPBlock 10-8-1-0-26: 10.8.1.0/26 of node a overlaps 10.8.0.0/16 of Node b"),
  );

  const second = new FakeApi();
  second.put(SERVICES, service("web"));
  second.put(NODES, node("a", "z1"));
  second.intercept = ({ path }) =>
    path === BLOCKS ? failure(403, "Forbidden", "ipblocks is forbidden: cannot list resource") : undefined;
  const known = await start(second);
  known.tables.blocks.put({
    prefix: "10.8.1.0/26" as never,
    node: "a",
    pool: "p",
    origin: { kind: "IPBlock", name: "10-8-1-0-26" },
  });
  await known.watch.ready;
  expect(known.keys("blocks")).toEqual(["10.244.1.0/24", "10.8.1.0/26"]);
  expect(known.watch.errors()).toContainEqual(expect.stringContaining("IPBlocks cannot be read"));
});

test("nothing before everything was listed", async () => {
  const api = new FakeApi();
  api.put(SERVICES, service("web"));
  api.intercept = ({ path }) => (path === SLICES ? failure(503, "ServiceUnavailable", "away") : undefined);
  const { watch, writes } = await start(api);
  await until(() => watch.status().slices.lastError !== undefined && watch.status().services.synced);
  expect(writes()).toBe(0);
  api.intercept = () => undefined;
  await watch.ready;
  expect(writes()).toBe(1);
});

test("an API server without ServiceCIDRs", async () => {
  const api = new FakeApi();
  api.put(SERVICES, service("web"));
  api.intercept = ({ path }) => (path === RANGES ? failure(404, "NotFound", "no such kind") : undefined);
  const { watch, keys } = await start(api);
  await watch.ready;
  expect([keys("services"), keys("ranges")]).toEqual([["shop/web"], []]);
});

test("what other proxies serve, and what cannot be read", async () => {
  const api = new FakeApi();
  const foreign = { "service.kubernetes.io/service-proxy-name": "other" };
  api.put(SERVICES, service("web"));
  api.put(SLICES, slice("web-1", "web", ["10.244.1.5"]));
  const { watch, tables, keys } = await start(api);
  await watch.ready;
  api.put(SERVICES, service("web", { metadata: { labels: foreign } }));
  api.put(SLICES, slice("web-1", "web", ["10.244.1.5"], foreign));
  await until(() => keys("slices").length === 0);
  await until(() => tables.services.get("shop/web")?.leftAlone?.includes("other") === true);
  api.put(SERVICES, service("web", { metadata: { labels: { "bad key!": "x" } } }));
  await until(() => watch.errors().length > 0);
  expect(watch.errors()[0]).toContain("Service shop/web: metadata.labels");
  expect(keys("services")).toEqual(["shop/web"]);
  api.put(SERVICES, service("web", { spec: { ports: [{ port: 80 }, { port: "x" }] } }));
  const faults = (): string => tables.services.get("shop/web")?.faults?.join() ?? "";
  await until(() => faults() !== "");
  expect([faults(), watch.errors()]).toEqual([expect.stringContaining("spec.ports[1].port"), []]);
});

test("one that is made anew under its name takes the place of the former one", async () => {
  const api = new FakeApi();
  api.put(SERVICES, service("web"));
  const { watch, tables, keys } = await start(api);
  await watch.ready;
  api.delete(SERVICES, "web", "shop");
  const again = service("web", { metadata: { creationTimestamp: "2026-02-01T00:00:00Z" } });
  api.put(SERVICES, { ...again, spec: { ...again.spec, clusterIP: "10.96.0.2" } });
  await until(() => tables.services.get("shop/web")?.created === "2026-02-01T00:00:00Z");
  expect(keys("services")).toHaveLength(1);
});
