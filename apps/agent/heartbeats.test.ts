/**
 * What a large cluster does all the time, and what an agent must not notice: kubelets report, leases are renewed, pods
 * change. From the API server to the compiler, with the watch that the agent has.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIpWithLength, silentLogger } from "@weft/base";
import { writeKubeconfig } from "@weft/cluster/client/testing";
import { createFabric, type Fabric } from "@weft/compile";
import { DEFAULT_SETTINGS } from "@weft/model";
import { type ClusterRows, watchSource } from "./cluster-source.ts";

const NODES = 40;
const directory = mkdtempSync(join(tmpdir(), "weft-t-heartbeats-"));
const copy = join(directory, "cluster.json");
let version = 1;
let server: Bun.Server<undefined>;
const asked: string[] = [];
const streams = new Map<string, ReadableStreamDefaultController<Uint8Array>>();

const node = (i: number, beat: number, address = `172.30.0.${i + 1}`): object => ({
  metadata: {
    name: `node-${i}`,
    uid: `uid-${i}`,
    resourceVersion: String(version),
    annotations: { beat: String(beat) },
    managedFields: [{ manager: "kubelet", time: `${beat}` }],
  },
  spec: { podCIDR: `10.240.${i}.0/24`, podCIDRs: [`10.240.${i}.0/24`] },
  status: {
    addresses: [{ type: "InternalIP", address }],
    conditions: [{ type: "Ready", status: beat % 2 === 0 ? "True" : "False", lastHeartbeatTime: `${beat}` }],
    images: [{ names: [`image-${beat}`], sizeBytes: beat }],
  },
});
const pod = (i: number, change: number): object => ({
  metadata: { name: `pod-${i}`, namespace: "shop", uid: `pod-uid-${i}`, resourceVersion: String(version) },
  spec: { nodeName: "node-0", containers: [{ name: "c", image: `example.com/web:${change}` }] },
  status: { phase: "Running", conditions: [{ type: "Ready", lastProbeTime: `${change}` }] },
});

function send(kind: "nodes" | "pods", type: string, make: () => object): void {
  version++;
  streams.get(kind)?.enqueue(Buffer.from(`${JSON.stringify({ type, object: make() })}\n`));
}

function answer(request: Request): Response {
  const url = new URL(request.url);
  const kind = url.pathname.endsWith("/pods") ? "pods" : "nodes";
  asked.push(`${url.pathname} ${url.searchParams.get("fieldSelector") ?? "all"}`);
  // A cluster that knows no pools.
  if (url.pathname.startsWith("/apis/")) return new Response("{}", { status: 404 });
  if (url.searchParams.get("watch") === null) {
    const items = Array.from({ length: kind === "pods" ? 3 : NODES }, (_, i) =>
      (kind === "pods" ? pod : node)(i, 0),
    );
    return Response.json({ kind: "List", metadata: { resourceVersion: String(version) }, items });
  }
  return new Response(
    new ReadableStream({
      start(controller) {
        streams.set(kind, controller);
        controller.enqueue(Buffer.from("\n"));
      },
    }),
  );
}

let readings: ClusterRows[];
let compiled: number;
let fabric: Fabric;

beforeAll(async () => {
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 0, fetch: answer });
  const url = `http://127.0.0.1:${server.port}`;
  const kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), url);
  fabric = createFabric((error) => expect.unreachable(String(error)));
  const capabilities = { kernel: "6.18.0", vxlan: true, brokenVxlanChecksumOffload: false };
  fabric.database.write(() => {
    fabric.self.put({ key: "self", name: "node-0", settings: DEFAULT_SETTINGS, capabilities });
    fabric.underlay.put({
      name: "eth0",
      index: 2,
      mtu: 1500,
      up: true,
      addresses: [parseIpWithLength("172.30.0.1/24")],
      acceptsRouterAdvertisements: false,
    });
  });
  compiled = 0;
  for (const table of fabric.facts) {
    table.watch(({ changes }) => {
      compiled += changes.length;
    });
  }
  readings = [];
  watchSource(
    { kind: "kubernetes", kubeconfig, copy },
    "node-0",
    {
      state: () => {},
      pods: () => {},
      pools: () => {},
      rows(reading) {
        readings.push(reading);
        fabric.database.write(() => {
          fabric.nodes.replaceAll(reading.nodes);
          fabric.blocks.replaceAll(reading.blocks);
        });
      },
    },
    silentLogger,
  );
  await eventually(() => readings.length === 1 && streams.size === 2);
});
afterAll(async () => {
  await server.stop(true);
  rmSync(directory, { recursive: true, force: true });
});

async function eventually(check: () => boolean): Promise<void> {
  for (let i = 0; i < 12_000 && !check(); i++) await Bun.sleep(5);
  expect(check()).toBe(true);
}

test("only the node's own pods are asked for, nodes, whether there are pools, and nothing else", () => {
  expect(readings[0]?.nodes).toHaveLength(NODES);
  expect(compiled).toBeGreaterThan(NODES);
  const pools = ["ipblocks", "ippools"].map((kind) => `/apis/weft.network/v1alpha1/${kind} all`);
  expect([...new Set(asked)].sort()).toEqual([
    "/api/v1/nodes all",
    "/api/v1/pods spec.nodeName=node-0",
    ...pools,
  ]);
  // Not there: it is not asked again at once.
  for (const kind of pools) expect(asked.filter((a) => a === kind)).toHaveLength(1);
});

test("reports of kubelets and changes of pods cause no reading, no compile and no writing", async () => {
  const [revision, text, inode] = [fabric.database.revision, readFileSync(copy, "utf8"), statSync(copy).ino];
  compiled = 0;
  readings.length = 0;
  for (let beat = 1; beat <= 5; beat++) {
    for (let i = 0; i < NODES; i++) send("nodes", "MODIFIED", () => node(i, beat));
    for (let i = 0; i < 3; i++) send("pods", "MODIFIED", () => pod(i, beat));
    send("pods", "ADDED", () => pod(10 + beat, beat));
    send("pods", "DELETED", () => pod(9 + beat, beat));
    // Longer than changes are gathered for: each beat would be a reading of its own.
    await Bun.sleep(120);
  }
  expect(readings).toEqual([]);
  expect(fabric.database.revision).toBe(revision);
  // What does count comes through after all of these.
  send("nodes", "MODIFIED", () => node(7, 9, "172.30.0.207"));
  await eventually(() => readings.length > 0);
  expect(readings).toHaveLength(1);
  expect(readings[0]?.nodes.find((n) => n.name === "node-7")?.addresses).toEqual(["172.30.0.207" as never]);
  expect(compiled).toBeGreaterThan(0);
  expect(compiled).toBeLessThan(10);
  expect(statSync(copy).ino).not.toBe(inode);
  expect(readFileSync(copy, "utf8")).not.toBe(text);
});
