/** What a cluster must bear: its API server killed, a node that does not answer; and manifests of every kind. */
import { beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identify } from "../processes.ts";
import { Lab } from "./harness/lab.ts";
import { newDirectory, until, useWeft, weft } from "./harness/weft.ts";

useWeft();
let lab: Lab;
let manifests: string;

interface Fields {
  readonly metadata: { readonly name: string; readonly uid: string; readonly [field: string]: unknown };
  readonly spec: Readonly<Record<string, unknown>>;
  /** Of what has just been made there is none. */
  readonly status?: Readonly<Record<string, unknown>> & {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
    }[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

const CONTENT: Readonly<Record<string, string>> = { PATCH: "application/merge-patch+json" };

/** Asks the lab's API as its agents do: by the socket. */
async function api<T = Fields>(path: string, method = "GET", body?: unknown): Promise<T> {
  const response = await fetch(`http://server${path}`, {
    unix: `/run/weft-lab/${lab.name}/server/server.sock`,
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "Content-Type": CONTENT[method] ?? "application/json" } }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}
const items = async (path: string): Promise<readonly Fields[]> =>
  (await api<{ items: readonly Fields[] }>(path)).items;
const PODS = "/api/v1/namespaces/default/pods";
const isReady = ({ status }: Fields): boolean =>
  status?.conditions?.find((c) => c.type === "Ready")?.status === "True";
const write = (file: string, ...objects: readonly object[]): void =>
  writeFileSync(join(manifests, file), objects.map((o) => JSON.stringify(o)).join("\n---\n"));

const template = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "echo", image: "weft/echo" }] },
};
const WEB = (replicas: number) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web" },
  spec: { replicas, selector: { matchLabels: { app: "web" } }, template },
});
const SERVICE = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web" },
  spec: { clusterIP: "10.96.0.80", selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
};

beforeAll(async () => {
  manifests = newDirectory("manifests");
  lab = new Lab("--manifests", manifests);
  write("web.yaml", WEB(4), SERVICE);
  await lab.upOk();
}, 240_000);

test("a Deployment among the manifests is up when the lab is, and its Service answers", async () => {
  const { pods } = await lab.condition();
  expect(pods.map((p) => p.ready)).toEqual([true, true, true, true]);
  expect(new Set(pods.map((p) => p.node)).size).toBe(3);
  for (const from of ["node1", "node2", "node3"]) {
    await until(`${from} is answered`, 60_000, async () => {
      const { code, stdout } = await lab.exec(from, "curl -sf --max-time 200 http://10.96.0.80/");
      return code === 0 && stdout.includes('"name":"web-');
    });
  }
}, 120_000);

test("manifests are followed: changed, wrong, taken away; what users do stays until they change", async () => {
  await api(`/apis/apps/v1/namespaces/default/deployments/web`, "PATCH", { spec: { replicas: 1 } });
  await until("one is left", 60_000, async () => (await lab.condition()).pods.length === 1);
  write("web.yaml", WEB(2), SERVICE);
  await until("the manifest counts", 60_000, async () => {
    const { pods } = await lab.condition();
    return pods.length === 2 && pods.every((p) => p.ready);
  });
  write("job.yaml", { apiVersion: "batch/v1", kind: "Job", metadata: { name: "j" }, spec: {} });
  write("shop.yaml", {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "c", namespace: "shop" },
    data: { a: "1" },
  });
  const errors = await until("the Job is refused", 60_000, async () => {
    const { sourceErrors } = await lab.condition();
    return sourceErrors.length > 0 && sourceErrors;
  });
  expect(errors).toEqual(["job.yaml:1: Job j: the lab's API server has no kind Job of batch/v1"]);
  expect((await weft("lab", "status", "--name", lab.name)).code).toBe(1);
  expect((await items("/api/v1/namespaces/shop/configmaps")).map((c) => c.metadata.name)).toEqual(["c"]);
  rmSync(join(manifests, "job.yaml"));
  rmSync(join(manifests, "shop.yaml"));
  await until("both are gone", 60_000, async () => {
    const { sourceErrors } = await lab.condition();
    return sourceErrors.length === 0 && (await items("/api/v1/namespaces/shop/configmaps")).length === 0;
  });
}, 120_000);

test("a killed API server is back on its port; nothing is lost, and pods never noticed", async () => {
  const before = await lab.condition();
  const config = readFileSync(before.api.kubeconfig, "utf8");
  const pods = await items(PODS);
  process.kill(before.api.pid ?? 0, "SIGKILL");
  await until("it is gone", 60_000, async () => identify(before.api.pid ?? 0) === undefined);
  const [first] = before.pods;
  // What happens meanwhile is said later.
  process.kill(first?.containers[0]?.pid ?? 0, "SIGKILL");
  const after = await until("it is back", 60_000, async () => {
    const now = await lab.condition();
    return (
      now.api.pid !== undefined && now.api.pid !== before.api.pid && now.api.waitingFor === undefined && now
    );
  });
  expect(after.api.restarts).toBe(1);
  expect(readFileSync(after.api.kubeconfig, "utf8")).toBe(config);
  expect(after.pods.map((p) => p.uid)).toEqual(before.pods.map((p) => p.uid));
  expect(after.nodes.map((n) => n.pid)).toEqual(before.nodes.map((n) => n.pid));
  await until("the restart is told", 60_000, async () => {
    const now = await items(PODS);
    const told = now.find((p) => p.metadata.uid === first?.uid)?.status?.containerStatuses?.[0]?.restartCount;
    return now.length === pods.length && told === 1 && now.every(isReady);
  });
  // Agents have come back too: they learn of what is new.
  write("late.yaml", {
    ...SERVICE,
    metadata: { name: "late" },
    spec: { ...SERVICE.spec, clusterIP: "10.96.0.81" },
  });
  for (const node of ["node1", "node2", "node3"]) {
    await until(`${node} serves it`, 60_000, async () => {
      return (await lab.exec(node, "curl -sf --max-time 20 -o /dev/null http://10.96.0.81/")).code === 0;
    });
  }
  rmSync(join(manifests, "late.yaml"));
}, 240_000);

test("a node whose network does not answer gets no pods until it is back, and its pods serve on", async () => {
  const { nodes } = await lab.condition();
  const pid = nodes.find((n) => n.name === "node2")?.pid ?? 0;
  write("web.yaml", WEB(3), SERVICE);
  await until("one is on node2", 60_000, async () =>
    (await lab.condition()).pods.some((p) => p.node === "node2" && p.ready),
  );
  process.kill(pid, "SIGSTOP");
  try {
    await until("it is not ready", 60_000, async () => {
      const { spec, status } = await api("/api/v1/nodes/node2");
      const ready = status?.conditions?.find((c) => c.type === "Ready");
      return (
        ready?.status === "False" &&
        JSON.stringify(spec["taints"] ?? "").includes("node.kubernetes.io/not-ready")
      );
    });
    // What an agent has made is there without it: only a node that is silent has its pods taken out of service.
    const readiness = async () =>
      (await items(PODS))
        .filter((p) => p.spec["nodeName"] === "node2")
        .map((p) => p.status?.conditions?.find((c) => c.type === "Ready"));
    const before = await readiness();
    expect(before.map((c) => c?.status)).toEqual(["True"]);
    await Bun.sleep(5000);
    expect(await readiness()).toEqual(before);
    write("web.yaml", WEB(8), SERVICE);
    await until("new ones are elsewhere", 60_000, async () => {
      const { pods } = await lab.condition();
      return pods.length === 8 && pods.filter((p) => p.node === "node2").length === 1;
    });
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until("it is back", 60_000, async () => {
    const node = await api("/api/v1/nodes/node2");
    return isReady(node) && node.spec["taints"] === undefined;
  });
  await until("all pods serve", 60_000, async () => (await items(PODS)).every(isReady));
}, 240_000);

test("a node that nobody runs is unknown once its lease would have run out", async () => {
  await api("/api/v1/nodes", "POST", { apiVersion: "v1", kind: "Node", metadata: { name: "ghost" } });
  await until("it is unknown", 60_000, async () => {
    const { spec, status } = await api("/api/v1/nodes/ghost");
    const ready = status?.conditions?.find((c) => c.type === "Ready");
    return ready?.status === "Unknown" && JSON.stringify(spec["taints"] ?? "").includes("unreachable");
  });
  await api("/api/v1/nodes/ghost", "DELETE");
  // One of the lab's own comes back: the machine is there.
  await api("/api/v1/nodes/node3", "DELETE");
  await until("node3 is back", 60_000, async () => {
    const nodes = await items("/api/v1/nodes");
    return nodes.length === 3 && nodes.every(isReady);
  });
  expect((await lab.check()).code).toBe(0);
}, 240_000);
