import { afterEach, describe, expect, test } from "bun:test";
import { stringify } from "yaml";
import { parseManifests } from "../manifests.ts";
import { type ClusterRows, type ClusterWatchOptions, watchCluster } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import { serveApi, until } from "./testing/setup.ts";

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const node = (
  name: string,
  index: number,
  more: { spec?: object; status?: object; metadata?: object } = {},
) => ({
  metadata: { name, uid: `uid-${name}`, labels: { "kubernetes.io/os": "linux" }, ...more.metadata },
  spec: more.spec ?? {
    podCIDR: `10.244.${index}.0/24`,
    podCIDRs: [`10.244.${index}.0/24`, `fd00:${index}::/64`],
  },
  status: more.status ?? {
    addresses: [
      { type: "Hostname", address: name },
      { type: "InternalIP", address: `192.0.2.${index}` },
      { type: "InternalIP", address: `2001:db8::${index}` },
      { type: "ExternalIP", address: "not looked at" },
    ],
    conditions: [{ type: "Ready", status: "True" }],
    nodeInfo: { kernelVersion: "6.1" },
  },
});

const pod = (name: string, nodeName: string | undefined, labels: object = { app: name }) => ({
  metadata: { name, namespace: "shop", uid: `uid-${name}`, labels },
  spec: {
    ...(nodeName === undefined ? {} : { nodeName }),
    volumes: [{ name: "v", emptyDir: {} }],
    containers: [
      { name: "c", image: "example.com/web:1", args: ["serve"], env: [{ name: "A", value: "b" }] },
    ],
    restartPolicy: "Never",
  },
  status: { phase: "Running" },
});

async function start(api: FakeApi, options: Partial<ClusterWatchOptions> = {}) {
  const { client, stop, url } = await serveApi(api);
  stops.push(stop);
  const said: ClusterRows[] = [];
  const watch = watchCluster({
    client,
    onChange: (rows) => said.push(rows),
    gather: 1,
    backoff: { first: 2, cap: 10 },
    ...options,
  });
  stops.push(() => watch.stop());
  const last = () => said.at(-1) as ClusterRows;
  const names = () =>
    last()
      ?.nodes.map((n) => n.name)
      .join(" ");
  return { watch, said, last, names, place: new URL(url).host };
}

describe("watchCluster", () => {
  test("gives the rows that the same objects give as manifests", async () => {
    const api = new FakeApi();
    for (const n of [node("b", 2), node("a", 1)]) api.put(NODES, n);
    for (const p of [pod("web", "a"), pod("db", "b"), pod("new", undefined)]) api.put(PODS, p);
    const { watch, said, last } = await start(api);
    await watch.ready;
    expect(said).toHaveLength(1);
    // The address that is not looked at would be a fault of a manifest, and containers without command a warning.
    const objects = [...api.objects(NODES), ...api.objects(PODS)].map((object) => ({
      apiVersion: "v1",
      kind: "spec" in object && "containers" in (object["spec"] as object) ? "Pod" : "Node",
      ...JSON.parse(JSON.stringify(object)),
    }));
    const { nodes, blocks, pods, errors } = parseManifests(
      objects.map((o) => stringify(o)).join("---\n"),
      "x.yaml",
    );
    expect(errors).toEqual([]);
    expect({ ...last() }).toEqual({
      nodes,
      blocks,
      pods,
      warnings: [],
      errors: [],
      conflicts: [],
      waiting: [],
      labels: undefined,
    });
    expect(nodes).toHaveLength(2);
    expect(pods).toHaveLength(3);
  });

  test("of one node: its pods only, and all nodes", async () => {
    const api = new FakeApi();
    for (const n of [node("a", 1), node("b", 2)]) api.put(NODES, n);
    for (const p of [pod("web", "a"), pod("db", "b")]) api.put(PODS, p);
    const { watch, last, names } = await start(api, { node: "a" });
    await watch.ready;
    expect([names(), last().pods.map((p) => p.name)]).toEqual(["a b", ["web"]]);
  });

  test("without containers: not looked at, whatever is wrong with them", async () => {
    const api = new FakeApi();
    api.put(NODES, node("node-a", 1));
    const faulty = pod("web-1", "node-a");
    api.put(PODS, { ...faulty, spec: { ...faulty.spec, containers: [{ name: "UPPER CASE" }] } });
    api.put(PODS, pod("web-2", "node-a"));
    const { said, watch } = await start(api, { containers: false });
    await watch.ready;
    expect(said[0]?.errors).toEqual([]);
    expect(said[0]?.pods.map((p) => [p.name, p.containers])).toEqual([
      ["web-1", []],
      ["web-2", []],
    ]);
  });

  test("nothing is told before both kinds are listed", async () => {
    const api = new FakeApi();
    api.put(NODES, node("a", 1));
    api.intercept = ({ path }) =>
      path === PODS ? failure(403, "Forbidden", "pods is forbidden") : undefined;
    const { watch, said } = await start(api);
    await until(() => watch.status().nodes.state === "watching" && watch.status().pods.state === "away");
    api.put(NODES, node("b", 2));
    await until(() => watch.status().nodes.objects === 2);
    await Bun.sleep(10);
    expect(said).toEqual([]);
    expect(watch.status().pods.lastError).toContain("pods is forbidden");
    api.intercept = () => undefined;
    await watch.ready;
    expect(said).toHaveLength(1);
    expect(said[0]!.nodes).toHaveLength(2);
  });

  test("a node that is being set up waits; that is no error", async () => {
    const api = new FakeApi();
    api.put(NODES, node("a", 1, { status: { addresses: [{ type: "Hostname", address: "a" }] } }));
    api.put(NODES, node("b", 2, { spec: {} }));
    api.put(NODES, node("c", 3, { spec: {}, status: {} }));
    const { watch, last, names, place } = await start(api);
    await watch.ready;
    expect(last().errors).toEqual([]);
    expect(last().waiting.map((w) => w.text)).toEqual([
      `${place}: Node a: waits for an address of type InternalIP in status.addresses`,
      `${place}: Node b: waits for a pod range in spec.podCIDRs`,
      `${place}: Node c: waits for an address of type InternalIP in status.addresses`,
    ]);
    expect([names(), last().blocks]).toEqual(["b", []]);
    for (const [name, i] of [
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ] as const)
      api.put(NODES, node(name, i));
    await until(() => last().waiting.length === 0);
    expect([names(), last().blocks.length]).toEqual(["a b c", 6]);
  });

  test("a node that loses its addresses or turns faulty keeps its rows; another one of that name does not", async () => {
    const api = new FakeApi();
    api.put(NODES, node("a", 1));
    const { watch, last, names, place } = await start(api);
    await watch.ready;
    api.put(NODES, node("a", 1, { status: { addresses: [] } }));
    await until(() => last().waiting.length === 1);
    expect(names()).toBe("a");
    api.put(NODES, node("a", 1, { spec: { podCIDRs: ["10.244.1.0/33"] } }));
    await until(() => last().errors.length === 1);
    expect(last().errors[0]).toStartWith(
      `${place}: Node a: spec.podCIDRs[0]: Invalid value: "10.244.1.0/33"`,
    );
    expect([names(), last().blocks.length, last().waiting]).toEqual(["a", 2, []]);
    api.put(NODES, node("a", 1, { metadata: { uid: "another" }, status: { addresses: [] } }));
    await until(() => last().nodes.length === 0);
    expect(last().blocks).toEqual([]);
  });

  test("two nodes with one range: the first by name keeps it, and the other one is told", async () => {
    const api = new FakeApi();
    api.put(NODES, node("b", 1));
    const { watch, last, place } = await start(api);
    await watch.ready;
    api.put(NODES, { ...node("a", 2), spec: node("b", 1).spec });
    await until(() => last().errors.length === 2);
    expect(last().errors[0]).toBe(
      `${place}: Node b: spec.podCIDRs[0]: Invalid value: "10.244.1.0/24": overlaps 10.244.1.0/24 of Node a (${place}), which keeps it`,
    );
    expect(last().blocks.map((b) => b.node)).toEqual(["a", "a"]);
  });

  test("two nodes with one range: the older one keeps it, whatever their names and the order of their coming", async () => {
    const api = new FakeApi();
    const born = (time: string): object => ({ metadata: { creationTimestamp: time } });
    api.put(NODES, { ...node("a", 2, born("2026-01-02T00:00:00Z")), spec: node("z", 1).spec });
    const { watch, last, place } = await start(api);
    await watch.ready;
    api.put(NODES, node("z", 1, born("2026-01-01T00:00:00Z")));
    await until(() => last().conflicts.length === 2);
    expect(last().blocks.map((b) => b.node)).toEqual(["z", "z"]);
    expect(last().errors[0]).toBe(
      `${place}: Node a: spec.podCIDRs[0]: Invalid value: "10.244.1.0/24": overlaps 10.244.1.0/24 of Node z (${place}), which keeps it`,
    );
    expect(last().conflicts[0]).toEqual({
      node: "a",
      uid: expect.any(String),
      field: "spec.podCIDRs[0]",
      value: "10.244.1.0/24",
      holder: "z",
      held: "10.244.1.0/24",
    });
    api.delete(NODES, "z");
    await until(() => last().conflicts.length === 0);
    expect(last().blocks.map((b) => b.node)).toEqual(["a", "a"]);
  });

  test("objects of a newer version: what is not known of them does not matter", async () => {
    const api = new FakeApi();
    const { addresses } = node("a", 1).status as { addresses: object[] };
    api.put(NODES, {
      ...node("a", 1, { spec: { ...node("a", 1).spec, podRanges: [{ cidr: 7 }] } }),
      status: { addresses: [{ type: "HoloAddress", at: { x: 1 } }, ...addresses], flux: [null] },
      statusV2: { addresses: "elsewhere" },
    });
    const newer = pod("web", "a");
    api.put(PODS, {
      ...newer,
      spec: {
        ...newer.spec,
        restartPolicy: "Always",
        portals: { far: true },
        containers: [
          { name: "c", image: "", env: [{ name: "a name", value: "b" }], ports: [{ protocol: "QUIC" }] },
        ],
      },
    });
    const { watch, last } = await start(api);
    await watch.ready;
    expect(last().errors).toEqual([]);
    expect(last().nodes[0]?.addresses).toEqual(["192.0.2.1", "2001:db8::1"] as never);
    expect([last().blocks.length, last().pods.map((p) => p.name)]).toEqual([2, ["web"]]);
  });

  test("a static pod's mirror tells by what uid the runtime knows it", async () => {
    const api = new FakeApi();
    const mirror = pod("fixed-a", "a");
    const hash = "0123456789abcdef0123456789abcdef";
    const annotations = { "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash };
    api.put(PODS, { ...mirror, metadata: { ...mirror.metadata, annotations } });
    const fromFile = pod("file-a", "a");
    api.put(PODS, {
      ...fromFile,
      metadata: { ...fromFile.metadata, annotations: { "kubernetes.io/config.hash": hash } },
    });
    const { watch, last } = await start(api);
    await watch.ready;
    expect(last().pods.map((p) => [p.name, p.uid, p.runtimeUid])).toEqual([
      ["file-a", "uid-file-a", undefined],
      ["fixed-a", "uid-fixed-a", hash],
    ]);
  });

  test("changes that touch no row are not told, and a server that is away changes nothing", async () => {
    const api = new FakeApi();
    api.put(NODES, node("a", 1));
    api.put(PODS, pod("web", "a"));
    const { watch, said, last } = await start(api);
    await watch.ready;
    await until(() => watch.status().nodes.state === "watching" && watch.status().pods.state === "watching");
    api.put(NODES, {
      ...node("a", 1),
      status: { ...node("a", 1).status, conditions: [{ type: "Ready", status: "False" }] },
    });
    api.put(PODS, { ...pod("web", "a"), status: { phase: "Failed" } });
    await until(() =>
      Object.values(watch.status()).every((s) => Number(s.resourceVersion) >= api.version - 1),
    );
    api.intercept = () => failure(500, "InternalError", "down");
    api.disconnect();
    await until(() => Object.values(watch.status()).every((s) => s.lastError?.includes("down") === true));
    expect(said).toHaveLength(1);
    api.delete(NODES, "a");
    api.intercept = () => undefined;
    await until(() => said.length === 2);
    expect([last().nodes, last().pods.length]).toEqual([[], 1]);
  });

  test("whoever throws is told the next time all the same", async () => {
    const api = new FakeApi();
    let calls = 0;
    const { watch } = await start(api, {
      onChange: () => {
        calls++;
        throw new Error("no");
      },
    });
    await watch.ready;
    api.put(NODES, node("a", 1));
    await until(() => calls === 2);
  });
});
