/** The controller against an API server in memory. */
import { afterEach, expect, test } from "bun:test";
import { createLogger } from "@weft/base";
import { type Call, directClient, FakeApi, failure, until } from "@weft/cluster/client/testing";
import { runController } from "./controller.ts";

/** A leader stays one while the machine has other things to do; whoever stops gives its lease back. */
const ELECTION = { leaseDuration: 15_000, renewDeadline: 10_000, retryPeriod: 50 };
const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(ending.splice(0).map((end) => end()));
});

function controller(
  api: FakeApi,
  identity = "c1",
  grace = 60_000,
  onContact: (fault: string | undefined) => void = () => {},
): { stop(): Promise<void>; log: string[] } {
  const stopping = new AbortController();
  const log: string[] = [];
  const end = runController({
    client: directClient(api),
    namespace: "weft-system",
    identity,
    grace,
    nodeGone: 300_000,
    election: ELECTION,
    logger: createLogger((line) => log.push(line)),
    signal: stopping.signal,
    onContact,
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await end;
  };
  ending.push(stop);
  return { stop, log };
}

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const TAINT = { key: "weft.network/agent-not-ready", effect: "NoSchedule" };
const OTHER = { key: "example.org/other", effect: "NoSchedule" };

const putNode = (api: FakeApi, name: string, taints: object[] = []) =>
  api.put(NODES, { metadata: { name }, spec: taints.length === 0 ? {} : { taints } });

function putAgent(api: FakeApi, node: string, ready: boolean): void {
  api.put(PODS, {
    metadata: {
      name: `agent-${node}`,
      namespace: "weft-system",
      labels: { "app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent" },
    },
    spec: { nodeName: node },
    status: { conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  });
}

interface Shown {
  spec?: { taints?: object[] | null };
  status?: { conditions?: { type: string; status: string; reason: string }[] };
}
const node = (api: FakeApi, name: string) =>
  api.objects(NODES).find((n) => n.metadata.name === name) as unknown as Shown;
const condition = (api: FakeApi, name: string) =>
  node(api, name).status?.conditions?.find((c) => c.type === "NetworkUnavailable");

const writes = (api: FakeApi): Call[] =>
  api.calls.filter((c) => c.method !== "GET" && c.path.startsWith("/api/v1/nodes"));

test("a node with a ready agent: the condition is False, the start-up taint goes, other taints stay", async () => {
  const api = new FakeApi();
  putNode(api, "a", [OTHER, TAINT]);
  putNode(api, "b", [TAINT]);
  putAgent(api, "a", true);
  controller(api);
  await until(() => condition(api, "a")?.status === "False", "condition");
  await until(() => node(api, "a").spec?.taints?.length === 1, "taint");
  expect(node(api, "a").spec?.taints).toEqual([OTHER]);
  expect(condition(api, "b")).toBeUndefined();
  expect(node(api, "b").spec?.taints).toEqual([TAINT]);
  putAgent(api, "b", true);
  await until(() => condition(api, "b")?.status === "False" && !node(api, "b").spec?.taints, "b follows");
});

test("an agent that is away for longer than the grace: True; back again: False", async () => {
  const api = new FakeApi();
  putNode(api, "a");
  putAgent(api, "a", true);
  controller(api, "c1", 150);
  await until(() => condition(api, "a")?.status === "False", "False");
  putAgent(api, "a", false);
  await until(() => condition(api, "a")?.status === "True", "True");
  expect(condition(api, "a")?.reason).toBe("WeftIsNotReady");
  putAgent(api, "a", true);
  await until(() => condition(api, "a")?.status === "False", "False again");
  api.delete(PODS, "agent-a", "weft-system");
  await until(() => condition(api, "a")?.status === "True", "True without a pod");
  const reasons = (): Set<unknown> =>
    new Set(api.objects("/apis/events.k8s.io/v1/events").map((e) => e["reason"]));
  await until(() => reasons().size === 2, "events");
  expect(reasons()).toEqual(new Set(["WeftIsReady", "WeftIsNotReady"]));
});

test("a restart changes nothing", async () => {
  const api = new FakeApi();
  putNode(api, "a", [TAINT]);
  putAgent(api, "a", true);
  const first = controller(api);
  await until(() => condition(api, "a")?.status === "False" && !node(api, "a").spec?.taints, "settled");
  await first.stop();
  const before = writes(api).length;
  const lists = () => api.calls.filter((c) => c.path === NODES && c.query.get("watch") === null).length;
  const listed = lists();
  controller(api, "c2");
  await until(() => lists() > listed, "the second has read");
  await Bun.sleep(100);
  expect(writes(api).length).toBe(before);
});

test("of two only the leader writes, and when it goes the other takes over", async () => {
  const api = new FakeApi();
  const writers = new Set<string>();
  const first = controller(api, "one");
  await until(() => first.log.some((l) => l.includes("leading")), "one leads");
  const second = controller(api, "two");
  await until(() => second.log.some((l) => l.includes("leader=one")), "two sees it");
  putNode(api, "a");
  putAgent(api, "a", true);
  await until(() => condition(api, "a")?.status === "False", "written");
  for (const { log, name } of [
    { log: first.log, name: "one" },
    { log: second.log, name: "two" },
  ])
    if (log.some((l) => l.includes("condition written"))) writers.add(name);
  expect([...writers]).toEqual(["one"]);
  await first.stop();
  putNode(api, "b");
  putAgent(api, "b", true);
  await until(() => condition(api, "b")?.status === "False", "the other wrote");
  expect(second.log.some((l) => l.includes("condition written") && l.includes("node=b"))).toBe(true);
});

test("somebody changes the node in between: read again, nothing of theirs is lost", async () => {
  const api = new FakeApi();
  putNode(api, "a", [TAINT]);
  putAgent(api, "a", true);
  let conflicts = 2;
  api.intercept = (call) => {
    if (call.method !== "PATCH" || call.path !== "/api/v1/nodes/a" || conflicts === 0) return undefined;
    conflicts--;
    putNode(api, "a", [TAINT, OTHER]);
    return undefined;
  };
  controller(api);
  await until(() => JSON.stringify(node(api, "a").spec?.taints) === JSON.stringify([OTHER]), "taints");
  expect(conflicts).toBe(0);
});

test("a server that cannot be used is named, until it can", async () => {
  const api = new FakeApi();
  putNode(api, "a");
  putAgent(api, "a", true);
  let denied = true;
  api.intercept = ({ path }) =>
    denied && path.includes("/leases/") ? failure(403, "Forbidden", "no right to the lease") : undefined;
  const faults: (string | undefined)[] = [];
  controller(api, "c1", 60_000, (fault) => {
    faults.push(fault);
    denied = false;
  });
  await until(() => condition(api, "a")?.status === "False", "it works after all");
  expect(faults.length).toBe(2);
  expect(faults[0]).toContain("no right to the lease");
  expect(faults[1]).toBeUndefined();
});

test("a server that fails is asked again; a node that goes meanwhile is forgotten", async () => {
  const api = new FakeApi();
  putNode(api, "a");
  putNode(api, "gone");
  putAgent(api, "a", true);
  putAgent(api, "gone", true);
  let refusals = 1;
  api.intercept = (call) => {
    if (call.method !== "PATCH") return undefined;
    if (call.path.includes("/gone/")) {
      api.delete(NODES, "gone");
      return undefined;
    }
    return refusals-- > 0 ? failure(403, "Forbidden", "not now") : undefined;
  };
  const { log } = controller(api);
  await until(() => condition(api, "a")?.status === "False", "written after all");
  expect(
    log.some((l) => l.includes("will be tried again") && l.includes("object=a") && l.includes("not now")),
  ).toBe(true);
  expect(log.some((l) => l.includes("object=gone"))).toBe(false);
});
