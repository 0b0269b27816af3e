import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@weft/base";
import { FakeApi, failure, serveApi, writeKubeconfig } from "@weft/cluster/client/testing";
import { type ClusterRows, watchSource } from "./cluster-source.ts";
import type { KnownPod } from "./known-pods.ts";
import { eventually } from "./testing/wait.ts";

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const EVENTS = "/apis/events.k8s.io/v1/events";

let directory: string;
const stops: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weft-t-source-"));
});
afterEach(() => {
  for (const stop of stops.splice(0).reverse()) stop();
  rmSync(directory, { recursive: true, force: true });
});

const node = (name: string, range: string, address: string, created = "2026-01-01T00:00:00Z") => ({
  metadata: { name, uid: `uid-${name}`, creationTimestamp: created },
  spec: { podCIDRs: [range] },
  status: { addresses: [{ type: "InternalIP", address }] },
});

const pod = (name: string, nodeName: string) => ({
  metadata: { name, namespace: "shop", uid: `uid-${name}` },
  spec: { nodeName, containers: [{ name: "c", image: "web" }] },
});

/** An agent's view of an API; the watch itself has no end of its own, its connections end with the server. */
async function start(api: FakeApi) {
  const { url, stop } = await serveApi(api);
  stops.push(stop);
  const kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), url);
  const seen = { rows: [] as ClusterRows[], state: "", pods: [] as readonly KnownPod[], current: false };
  watchSource(
    { kind: "kubernetes", kubeconfig, copy: join(directory, "cluster.json") },
    "node-a",
    {
      rows: (rows) => void seen.rows.push(rows),
      state: (text) => {
        seen.state = text;
      },
      pods: (pods, current) => Object.assign(seen, { pods, current }),
      pools: () => {},
    },
    silentLogger,
  );
  return { seen, url };
}

test("rows of nodes come when nodes change, pods when pods do", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "10.244.1.0/24", "192.0.2.1"));
  const { seen, url } = await start(api);
  await eventually(
    "both are watched",
    () => seen.current && seen.state === `Kubernetes API ${url}: watching`,
  );
  expect(seen.rows).toHaveLength(1);
  api.put(PODS, pod("web", "node-a"));
  api.put(PODS, pod("other", "node-b"));
  await eventually("the pod is known", () => seen.pods.length === 1);
  expect(seen.pods).toEqual([{ namespace: "shop", name: "web", uid: "uid-web" }]);
  expect(seen.rows).toHaveLength(1);
  api.put(NODES, node("node-b", "10.244.2.0/24", "192.0.2.2"));
  await eventually("the node is known", () => seen.rows.at(-1)?.nodes.length === 2);
});

test("an API that goes away: said, with the reason; rows stay, and absence of a pod means nothing", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "10.244.1.0/24", "192.0.2.1"));
  api.put(PODS, pod("web", "node-a"));
  const { seen } = await start(api);
  await eventually("pods are known", () => seen.current && seen.pods.length === 1);
  api.intercept = () => failure(500, "InternalError", "etcdserver: no leader");
  api.disconnect();
  await eventually("it is away", () => !seen.current && seen.state.includes("no leader"));
  expect(seen.state).toMatch(
    /: away since 20.*: the last known state is in force \(.*etcdserver: no leader.*\)$/,
  );
  expect([seen.rows.length, seen.pods.length]).toEqual([1, 1]);
  // A second start finds the copy at once.
  const again = await start(api);
  expect(again.seen.rows[0]?.blocks.map((b) => String(b.prefix))).toEqual(["10.244.1.0/24"]);
  expect(again.seen.current).toBe(false);
});

test("without the right to see pods, nothing is known, and that right is named", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "10.244.1.0/24", "192.0.2.1"));
  const message =
    'pods is forbidden: User "weft" cannot list resource "pods" in API group "" at the cluster scope';
  api.intercept = ({ path }) => (path === PODS ? failure(403, "Forbidden", message) : undefined);
  const { seen } = await start(api);
  await eventually("it says so", () => seen.state.includes(message));
  expect(seen.state).toContain(": nothing is known yet (");
  expect(seen.rows).toEqual([]);
});

test("two nodes with one range: an Event on the one that does not get it names both", async () => {
  const api = new FakeApi();
  api.put(NODES, node("node-a", "10.244.1.0/24", "192.0.2.1"));
  api.put(NODES, node("aaa", "10.244.0.0/22", "192.0.2.9", "2026-01-02T00:00:00Z"));
  api.put(NODES, node("far", "10.250.1.0/24", "192.0.2.7", "2026-01-02T00:00:00Z"));
  api.put(NODES, node("farther", "10.250.1.0/24", "192.0.2.8", "2026-01-03T00:00:00Z"));
  const { seen } = await start(api);
  const [event] = await eventually("an event", () => {
    const events = api.objects(EVENTS);
    return events.length > 0 ? events : undefined;
  });
  expect(event).toMatchObject({
    regarding: { kind: "Node", name: "aaa", uid: "uid-aaa" },
    type: "Warning",
    reason: "RangeTaken",
    note: "spec.podCIDRs[0] 10.244.0.0/22 of node aaa overlaps 10.244.1.0/24 of node node-a, which was there first and keeps it",
  });
  const errors = seen.rows.at(-1)?.errors ?? [];
  expect(errors).toHaveLength(2);
  expect(errors[0]).toContain("overlaps 10.244.1.0/24 of Node node-a");
  // A change of other nodes tells nothing anew; what is no business of this node is others' to tell.
  api.put(NODES, node("node-c", "10.244.7.0/24", "192.0.2.3"));
  await eventually("the node is known", () => seen.rows.at(-1)?.nodes.some((n) => n.name === "node-c"));
  await Bun.sleep(50);
  expect(api.objects(EVENTS)).toHaveLength(1);
});
