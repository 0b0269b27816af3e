/** Applying, waiting and uninstalling against an API server in memory: refusals, faults in the middle, running again. */
import { expect, test } from "bun:test";
import { describeError, hasCode, hintOf } from "@weft/base";
import { type Call, directClient, FakeApi, failure } from "@weft/cluster/client/testing";
import { type Action, applyInstall } from "./apply.ts";
import { installObjects } from "./objects/index.ts";
import { checkOptions } from "./options.ts";
import { uninstall } from "./uninstall.ts";
import { untilReady } from "./wait.ts";

const install = checkOptions({}, "0.0.1");
const PODS = "/api/v1/pods";
const NODES = "/api/v1/nodes";
const DAEMONSETS = "/apis/apps/v1/daemonsets";
const DEPLOYMENTS = "/apis/apps/v1/deployments";
const NAMESPACES = "/api/v1/namespaces";

function server(minor = "34"): FakeApi {
  const api = new FakeApi();
  api.intercept = versionOnly(minor);
  return api;
}
const versionOnly =
  (minor: string) =>
  (call: Call): Response | undefined =>
    call.path === "/version" ? Response.json({ major: "1", minor, gitVersion: `v1.${minor}.0` }) : undefined;

async function run(api: FakeApi, withSettings = false, options = install): Promise<Map<string, Action>> {
  const client = directClient(api, { retries: 0 });
  const seen = new Map<string, Action>();
  const onObject = (object: string, action: Action): void => void seen.set(object, action);
  await applyInstall({ client, install: options, withSettings, onObject });
  return seen;
}
const fault = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.unreachable("it did not fail"),
    (error: unknown) => error,
  );

test("every object, the namespace first, by server-side apply under one name", async () => {
  const api = server();
  const seen = await run(api);
  expect([...seen.values()].every((a) => a === "created")).toBe(true);
  expect(seen.size).toBe(installObjects(install).length);
  const writes = api.calls.filter((c) => c.method !== "GET");
  expect(writes[0]?.path).toBe(`${NAMESPACES}/weft-system`);
  for (const { method, headers, query } of writes) {
    expect(method).toBe("PATCH");
    expect(headers.get("content-type")).toBe("application/apply-patch+yaml");
    expect(query.get("fieldManager")).toBe("weft-install");
  }
});

test("interrupted in the middle: the same command completes it", async () => {
  const api = server();
  let left = 4;
  api.intercept = (call) => {
    if (call.method === "PATCH" && left-- === 0) return failure(500, "InternalError", "etcd has gone");
    return versionOnly("34")(call);
  };
  const client = directClient(api, { retries: 0 });
  const error = await fault(applyInstall({ client, install, withSettings: false, onObject() {} }));
  expect(describeError(error)).toContain("etcd has gone");
  api.intercept = versionOnly("34");
  const seen = await run(api);
  expect([...seen.values()].filter((a) => a === "created").length).toBeGreaterThan(4);
  expect(api.objects(DAEMONSETS).length).toBe(1);
});

test("settings that are there stay, unless settings are asked for", async () => {
  const api = server();
  const settings = () =>
    (api.objects("/api/v1/configmaps")[0]?.["data"] as Record<string, string> | undefined)?.["settings.yaml"];
  await run(api, true, checkOptions({ settings: { backend: "vxlan" } }, "0.0.1"));
  expect(settings()).toBe("backend: vxlan\n");
  expect((await run(api)).get("ConfigMap weft-system/weft-settings")).toBe("unchanged");
  expect(settings()).toBe("backend: vxlan\n");
  await run(api, true, checkOptions({ settings: { backend: "direct" } }, "0.0.1"));
  expect(settings()).toBe("backend: direct\n");
});

test("refused before anything is written: too old, another install, a namespace that is going, no rights", async () => {
  const old = server("21");
  const other = server();
  const labels = { "app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent" };
  other.put(DAEMONSETS, { metadata: { name: "weft-agent", namespace: "kube-system", labels } });
  const going = server();
  going.put(NAMESPACES, { metadata: { name: "weft-system" }, status: { phase: "Terminating" } });
  const denied = server();
  denied.intercept = (call) =>
    call.path.startsWith(DAEMONSETS)
      ? failure(403, "Forbidden", 'User "joe" cannot list resource "daemonsets"')
      : versionOnly("34")(call);
  const cases = [
    [old, "unsupported", /v1\.21\.0/, /1\.22 or later/],
    [other, "exists", /kube-system already/, /weft uninstall --namespace kube-system/],
    [going, "busy", /being deleted/, /Wait until it is gone/],
    [denied, "permission", /joe/, /Role/],
  ] as const;
  for (const [api, code, message, hint] of cases) {
    const error = await fault(run(api));
    expect(hasCode(error, code), describeError(error)).toBe(true);
    expect(describeError(error)).toMatch(message);
    expect(hintOf(error) ?? "").toMatch(hint);
    expect(api.calls.filter((c) => c.method !== "GET")).toEqual([]);
  }
});

const LABELS = (component: string) => ({
  "app.kubernetes.io/name": "weft",
  "app.kubernetes.io/component": component,
});

function agentPod(api: FakeApi, node: string, status: object): void {
  const metadata = {
    name: `weft-agent-${node}`,
    namespace: "weft-system",
    uid: `uid-${node}`,
    labels: LABELS("agent"),
  };
  api.put(PODS, { metadata, spec: { nodeName: node, hostNetwork: true }, status });
}
const READY = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };

/** What the cluster's own controllers would write. */
function roll(api: FakeApi, ready: number): void {
  for (const [collection, status] of [
    [
      DAEMONSETS,
      { observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: ready },
    ],
    [DEPLOYMENTS, { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2 }],
  ] as const) {
    const [object] = api.objects(collection);
    if (object === undefined) throw new Error("not installed");
    api.put(collection, { ...object, metadata: { ...object.metadata, generation: 1 }, status });
  }
}
const putNode = (api: FakeApi, name: string, ...conditions: object[]) =>
  api.put(NODES, { metadata: { name }, status: { conditions } });
const NODE_READY = { type: "Ready", status: "True" };
const NETWORK = { type: "NetworkUnavailable", status: "False", reason: "WeftIsReady" };

test("waiting: what is missing is told as it changes, and at the end why, pod by pod and node by node", async () => {
  const api = server();
  await run(api);
  roll(api, 1);
  putNode(api, "a", NODE_READY, NETWORK);
  putNode(api, "b", { type: "Ready", status: "False", message: "cni plugin not initialized" });
  putNode(api, "no-agent", { type: "Ready", status: "False", message: "not ours" });
  agentPod(api, "a", READY);
  agentPod(api, "b", {
    phase: "Pending",
    containerStatuses: [
      {
        name: "agent",
        ready: false,
        state: { waiting: { reason: "ErrImagePull", message: "no such\nimage" } },
      },
    ],
  });
  const client = directClient(api, { retries: 0 });
  const lines: string[] = [];
  const wait = { client, namespace: "weft-system", onProgress: (l: string) => lines.push(l), every: 10 };
  const error = await fault(untilReady({ ...wait, timeout: 100 }));
  expect(hasCode(error, "timeout")).toBe(true);
  expect(describeError(error)).toContain("pod weft-agent-b on b: agent: ErrImagePull: no such; image");
  expect(describeError(error)).toContain("node b: cni plugin not initialized");
  expect(describeError(error)).not.toContain("not ours");
  expect(lines).toEqual(["agents 1 of 2, controllers 2 of 2, nodes ready 1 of 2"]);
  roll(api, 2);
  putNode(api, "b", NODE_READY, NETWORK);
  agentPod(api, "b", READY);
  await untilReady({ ...wait, timeout: 1000 });
  expect(lines.at(-1)).toBe("agents 2 of 2, controllers 2 of 2, nodes ready 2 of 2");
});

test("a pod that says nothing itself is explained by its last warning", async () => {
  const api = server();
  await run(api);
  roll(api, 0);
  putNode(api, "a", NODE_READY, NETWORK);
  agentPod(api, "a", { phase: "Running", conditions: [{ type: "Ready", status: "False" }] });
  api.put("/api/v1/events", {
    metadata: { name: "e", namespace: "weft-system" },
    involvedObject: { uid: "uid-a" },
    type: "Warning",
    message: "Readiness probe failed: weft: https://10.0.0.9:6443: connection refused",
    lastTimestamp: "2026-01-01T00:00:00Z",
  });
  const client = directClient(api, { retries: 0 });
  const error = await fault(
    untilReady({ client, namespace: "weft-system", onProgress() {}, every: 10, timeout: 50 }),
  );
  expect(describeError(error)).toContain("https://10.0.0.9:6443: connection refused");
});

/** Plays the kubelets: clean-up pods end as told, agents go when their DaemonSet finds no node. */
function kubelets(api: FakeApi, outcome: (node: string) => object): () => void {
  const timer = setInterval(() => {
    for (const pod of api.objects(PODS)) {
      const labels = pod.metadata["labels"] as Record<string, string>;
      const spec = pod["spec"] as { nodeName: string };
      const component = labels?.["app.kubernetes.io/component"];
      if (component === "cleanup" && pod["status"] === undefined)
        api.put(PODS, { ...pod, status: outcome(spec.nodeName) });
      const [agents] = api.objects(DAEMONSETS);
      if (component === "agent" && JSON.stringify(agents ?? {}).includes("uninstalling"))
        api.delete(PODS, pod.metadata.name, "weft-system");
    }
  }, 5);
  return () => clearInterval(timer);
}

function leave(api: FakeApi, over: Partial<Parameters<typeof uninstall>[0]> = {}) {
  const steps: string[] = [];
  const client = directClient(api, { retries: 0 });
  const options = { client, namespace: "weft-system", force: false, apply: true, image: undefined };
  const done = uninstall({
    ...options,
    timeout: 60_000,
    every: 5,
    onStep: ({ object, action }) => steps.push(`${object}: ${action}`),
    ...over,
  });
  return { done, steps };
}

async function standing(): Promise<FakeApi> {
  const api = server();
  await run(api);
  for (const node of ["a", "b"]) {
    putNode(api, node, NODE_READY, NETWORK);
    agentPod(api, node, READY);
  }
  return api;
}

test("uninstall: nodes are cleaned, then everything goes, the namespace last", async () => {
  const api = await standing();
  const stop = kubelets(api, () => ({ phase: "Succeeded" }));
  const { done, steps } = leave(api);
  expect((await done).nodes).toEqual(["a", "b"]);
  stop();
  expect(steps.at(-1)).toBe("Namespace weft-system: removed");
  expect(steps.indexOf("2 nodes: cleaned, and checked to be")).toBeLessThan(
    steps.indexOf("ClusterRole weft-agent: removed"),
  );
  for (const object of installObjects(install)) {
    const group = object.apiVersion === "v1" ? "/api/v1" : `/apis/${object.apiVersion}`;
    expect(api.objects(`${group}/${String(object.kind).toLowerCase()}s`), object.kind as string).toEqual([]);
  }
  expect(api.objects(PODS)).toEqual([]);
  const again = await leave(api).done;
  expect(again).toEqual({ steps: [], nodes: [] });
});

test("uninstall: pools are let go, before their definitions go; what others hold them by stays", async () => {
  const api = await standing();
  const POOLS = "/apis/weft.network/v1alpha1/ippools";
  api.put(POOLS, {
    metadata: { name: "p", finalizers: ["weft.network/blocks", "example.org/other"] },
    spec: {},
  });
  api.put(POOLS, { metadata: { name: "q" }, spec: {} });
  const stop = kubelets(api, () => ({ phase: "Succeeded" }));
  const { done, steps } = leave(api);
  await done;
  stop();
  const released = steps.indexOf("IPPool p: finalizer removed");
  expect(released).toBeGreaterThan(steps.indexOf("2 nodes: cleaned, and checked to be"));
  expect(released).toBeLessThan(steps.indexOf("CustomResourceDefinition ippools.weft.network: removed"));
  expect(steps.filter((s) => s.startsWith("IPPool"))).toHaveLength(1);
  expect(api.objects(POOLS)[0]?.metadata["finalizers"]).toEqual(["example.org/other"]);
});

test("a namespace that is not there is no success while Weft is in the cluster", async () => {
  const api = await standing();
  const wrong = await fault(leave(api, { namespace: "other" }).done);
  expect(hasCode(wrong, "not-found")).toBe(true);
  expect(hintOf(wrong)).toContain("--namespace weft-system");
  // Somebody has deleted the namespace, and what was in it went with it.
  api.delete(DAEMONSETS, "weft-agent", "weft-system");
  api.delete(NAMESPACES, "weft-system");
  const gone = await fault(leave(api).done);
  expect(hintOf(gone)).toContain("weft install --apply");
});

test("without --apply nothing is written", async () => {
  const api = await standing();
  const before = api.calls.filter((c) => c.method !== "GET").length;
  const { done, steps } = leave(api, { apply: false });
  await done;
  expect(steps.length).toBeGreaterThan(10);
  expect(api.calls.filter((c) => c.method !== "GET").length).toBe(before);
});

test("refused while pods are on the network; those on the node's network and ended ones do not count", async () => {
  const api = await standing();
  const put = (name: string, spec: object, phase: string) =>
    api.put(PODS, { metadata: { name, namespace: "default" }, spec, status: { phase, podIP: "10.0.0.1" } });
  put("host", { nodeName: "a", hostNetwork: true }, "Running");
  put("done", { nodeName: "a" }, "Succeeded");
  put("web", { nodeName: "a" }, "Running");
  const error = await fault(leave(api).done);
  expect(hasCode(error, "busy")).toBe(true);
  expect(describeError(error)).toBe("pods are on Weft's network: default/web");
  const stop = kubelets(api, () => ({ phase: "Succeeded" }));
  await leave(api, { force: true }).done;
  stop();
});

test("a node that is not clean is named with what is left, and nothing else is removed; run again it goes on", async () => {
  const api = await standing();
  const bad = {
    phase: "Failed",
    containerStatuses: [
      {
        name: "cleanup",
        ready: false,
        state: {
          terminated: { exitCode: 1, reason: "Error", message: "LEFT file /opt/cni/bin/weft: EPERM" },
        },
      },
    ],
  };
  let stop = kubelets(api, (node) => (node === "b" ? bad : { phase: "Succeeded" }));
  const error = await fault(leave(api).done);
  stop();
  expect(hasCode(error, "conflict")).toBe(true);
  expect(describeError(error)).toContain("b: cleanup: Error: LEFT file /opt/cni/bin/weft: EPERM");
  expect(api.objects(DAEMONSETS).length).toBe(1);
  expect(api.objects("/apis/rbac.authorization.k8s.io/v1/clusterroles").length).toBe(2);
  expect(JSON.stringify(api.objects(DAEMONSETS))).toContain("uninstalling");
  // Somebody may change their mind, and later again.
  await run(api);
  expect(JSON.stringify(api.objects(DAEMONSETS))).not.toContain("uninstalling");
  stop = kubelets(api, () => ({ phase: "Succeeded" }));
  await leave(api).done;
  stop();
  expect(api.objects(DAEMONSETS)).toEqual([]);
});

test("a node whose kubelet is away is named, and a second run after it is back goes on", async () => {
  const api = await standing();
  const stop = kubelets(api, (node) => (node === "b" ? { phase: "Pending" } : { phase: "Succeeded" }));
  const error = await fault(leave(api, { timeout: 2000 }).done);
  stop();
  expect(hasCode(error, "timeout")).toBe(true);
  expect(describeError(error)).toContain("nodes are not clean: b: ");
});

test("somebody else's namespace stays, and so does one with somebody else's pods", async () => {
  const api = await standing();
  api.put(PODS, { metadata: { name: "guest", namespace: "weft-system" }, spec: { hostNetwork: true } });
  const stop = kubelets(api, () => ({ phase: "Succeeded" }));
  await leave(api).done;
  stop();
  expect(api.objects(NAMESPACES).map((n) => n.metadata.name)).toEqual(["weft-system"]);
});

test("without an install it says which name may be wrong", async () => {
  const api = server();
  api.put(NAMESPACES, { metadata: { name: "weft-system" } });
  expect(hintOf(await fault(leave(api).done))).toContain("--namespace");
});
