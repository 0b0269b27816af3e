import { describe, expect, test } from "bun:test";
import { hasCode, hintOf, type WeftError } from "@weft/base";
import { type ClusterFacts, type NodeFacts, type PodFacts, podFacts } from "./facts.ts";
import { moveOf, moveText } from "./labels.ts";
import { type MoveOptions, moveNode } from "./move.ts";
import { planMigration } from "./plan.ts";
import { finishMigration, startMigration } from "./start.ts";
import { FakeCluster } from "./testing/fake-cluster.ts";

const node = (name: string, more: Partial<NodeFacts> = {}): NodeFacts => ({
  name,
  network: "other",
  move: undefined,
  podCIDRs: ["10.244.1.0/24"],
  addresses: ["192.0.2.1"],
  ready: true,
  cordoned: false,
  tainted: false,
  agent: "none",
  flannel: undefined,
  ...more,
});
const pod = (name: string, on: string, more: Partial<PodFacts> = {}): PodFacts => ({
  namespace: "default",
  name,
  node: on,
  owner: "ReplicaSet",
  hasLocalData: false,
  stays: false,
  started: 1,
  ...more,
});
const facts = (more: Partial<ClusterFacts> = {}): ClusterFacts => ({
  nodes: [node("a"), node("b")],
  pods: [],
  networks: [],
  installed: true,
  ...more,
});

describe("a plan", () => {
  const next = (more: Partial<ClusterFacts>): string => planMigration(facts(more)).next;

  test("says what is next, whatever there is", () => {
    expect(next({ nodes: [node("a", { network: undefined })], installed: false })).toBe("weft migrate start");
    expect(next({ installed: false })).toBe("weft install --apply --no-wait");
    expect(next({})).toBe("weft migrate node a");
    const moved = node("a", { network: "weft", agent: "ready" });
    expect(next({ nodes: [moved, node("b")] })).toBe("weft migrate node b");
    expect(next({ nodes: [moved, { ...moved, name: "b" }] })).toBe("weft migrate finish");
    expect(next({ nodes: [moved, node("b", { move: { to: "weft", cordoned: false } })] })).toBe(
      "weft migrate node b",
    );
    expect(next({ nodes: [moved, node("b", { move: { to: "other", cordoned: false } })] })).toBe(
      "weft migrate back b",
    );
    expect(next({ nodes: [node("a", { network: undefined, agent: "ready" })] })).toContain("nothing");
  });

  test("says when one node alone takes pods: what is tainted or cordoned does not", () => {
    const alone = (...nodes: NodeFacts[]): boolean =>
      planMigration(facts({ nodes })).remarks.some((r) => r.message.startsWith("it is the only node"));
    expect(alone(node("a"), node("b"))).toBe(false);
    expect(alone(node("a"), node("b", { tainted: true }))).toBe(true);
    expect(alone(node("a", { cordoned: true }), node("b"))).toBe(true);
  });

  test("names the network that there is", () => {
    const flannel = { name: "flannel", object: "DaemonSet kube-flannel/kube-flannel-ds" };
    const plan = planMigration(
      facts({
        networks: [flannel],
        nodes: [node("a", { flannel: "vxlan" }), node("b", { flannel: "vxlan" })],
      }),
    );
    expect(plan.from).toBe("flannel (vxlan)");
    expect(plan.remarks.map((r) => r.weight)).toEqual(["note"]);
    expect(planMigration(facts()).from).toContain("without a DaemonSet");
  });

  test("says what cannot work", () => {
    const calico = { name: "Calico", object: "DaemonSet calico-system/calico-node" };
    const blocks = (more: Partial<ClusterFacts>): string[] =>
      planMigration(facts(more))
        .remarks.filter((r) => r.weight === "blocks")
        .map((r) => `${r.node}: ${r.message}`);
    expect(blocks({ networks: [calico] })[0]).toContain(
      "Calico (DaemonSet calico-system/calico-node) chooses",
    );
    expect(blocks({ nodes: [node("a", { podCIDRs: [] }), node("b")] })).toEqual([
      "a: it has no spec.podCIDRs, which Weft takes pods' addresses from",
    ]);
    expect(blocks({ nodes: [node("a", { ready: false }), node("b")] })).toEqual(["a: it is not Ready"]);
    const { remarks } = planMigration(facts({ pods: [pod("s", "a", { owner: "Node" })] }));
    expect(remarks[0]?.message).toContain(
      "static pods keep the network that they were started with: default/s",
    );
  });
});

test("what is on a node by hand is read as well as can be", () => {
  const of = (text?: unknown) =>
    moveOf({ metadata: { name: "a", annotations: { "weft.network/move": text } } });
  expect(of(moveText({ to: "other", cordoned: true }))).toEqual({ to: "other", cordoned: true });
  for (const odd of ["", "null", "{", "[]", 7]) expect(of(odd)).toEqual({ to: "weft", cordoned: false });
  expect(moveOf({ metadata: { name: "a" } })).toBeUndefined();
});

test("pods that matter, and whether a taint drives them away", () => {
  const read = (spec: object, status: object = {}) =>
    podFacts({
      metadata: { name: "p", namespace: "n" },
      spec: { nodeName: "a", ...spec },
      status: { phase: "Running", ...status },
    });
  expect(read({ hostNetwork: true })).toBeUndefined();
  expect(read({}, { phase: "Succeeded" })).toBeUndefined();
  expect(read({ nodeName: undefined })).toBeUndefined();
  expect(read({ volumes: [{ emptyDir: {} }] })?.hasLocalData).toBe(true);
  const stays = (t: object): boolean | undefined => read({ tolerations: [t] })?.stays;
  expect(stays({ operator: "Exists" })).toBe(true);
  expect(stays({ operator: "Exists", effect: "NoSchedule" })).toBe(false);
  expect(stays({ operator: "Exists", tolerationSeconds: 300 })).toBe(false);
  expect(stays({ key: "weft.network/moving", operator: "Exists", effect: "NoExecute" })).toBe(true);
  expect(stays({ key: "node.kubernetes.io/not-ready", operator: "Exists" })).toBe(false);
  expect(read({}, { startTime: "garbage" })?.started).toBe(0);
});

function cluster(): FakeCluster {
  const c = new FakeCluster(["node1", "node2"]);
  for (const name of ["node1", "node2"]) c.label(name, "other");
  c.pod("web-1", "node1", { owner: "ReplicaSet" });
  c.pod("log-1", "node1", { owner: "DaemonSet" });
  c.pod("tolerant", "node1", { owner: "DaemonSet", spec: { tolerations: [{ operator: "Exists" }] } });
  return c;
}
const options = (c: FakeCluster, to: "weft" | "other", more: Partial<MoveOptions> = {}): MoveOptions => ({
  client: c.client,
  namespace: "weft-system",
  node: "node1",
  to,
  force: false,
  deleteLocalData: false,
  disableEviction: false,
  timeout: 60_000,
  every: 2,
  onStep: () => {},
  ...more,
});
const MOVED = { label: "weft", annotations: {}, taints: [], cordoned: false, agent: true };
const BACK = { label: "other", annotations: {}, taints: [], cordoned: false, agent: false };

async function refused(work: Promise<unknown>): Promise<WeftError> {
  return work.then(
    () => expect.unreachable("it was not refused"),
    (error: WeftError) => error,
  );
}

describe("a move", () => {
  test("to Weft and back; a second time there is nothing to do", async () => {
    const c = cluster();
    c.refusals.set("web-1", 2);
    const steps: string[] = [];
    const report = await moveNode(options(c, "weft", { onStep: (s) => steps.push(s) }));
    expect(report).toEqual({ node: "node1", to: "weft", moved: true, keepOldNetwork: [] });
    expect(c.state("node1")).toEqual(MOVED);
    expect(c.podsOn("node2")).toContain("web-1-again");
    expect(c.podsOn("node1")).toEqual(["weft-agent-node1"]);
    expect(steps.join("\n")).toContain("disruption budget");
    expect(steps.join("\n")).toContain("made anew: default/tolerant");
    const { writes } = c;
    expect((await moveNode(options(c, "weft"))).moved).toBe(false);
    expect(c.writes).toBe(writes);
    expect((await moveNode(options(c, "other"))).moved).toBe(true);
    expect(c.state("node1")).toEqual(BACK);
    expect((await moveNode(options(c, "other"))).moved).toBe(false);
  });

  test("a node that took no pods takes none afterwards", async () => {
    const c = cluster();
    const before = c.node("node1");
    const { resourceVersion: _, ...metadata } = before.metadata;
    c.api.put("/api/v1/nodes", {
      ...before,
      metadata: metadata as never,
      spec: { ...(before["spec"] as object), unschedulable: true },
    });
    await moveNode(options(c, "weft"));
    expect(c.state("node1")).toEqual({ ...MOVED, cordoned: true });
  });

  for (const [to, wanted] of [
    ["weft", MOVED],
    ["other", BACK],
  ] as const) {
    test(`to ${to}: ended in the middle anywhere, the same command completes it`, async () => {
      for (let at = 0; ; at++) {
        const c = cluster();
        if (to === "other") await moveNode(options(c, "weft"));
        c.failWrite = at;
        const first = await moveNode(options(c, to)).then(
          () => "done",
          (error: WeftError) => error.message,
        );
        if (c.failWrite !== undefined) {
          // There is no write with that number: all have been tried.
          expect(at).toBeGreaterThan(4);
          break;
        }
        expect(first).toContain("as the test wants it");
        await moveNode(options(c, to));
        expect([at, c.state("node1")]).toEqual([at, wanted]);
      }
    });
  }

  test("is refused where it would lose something, or cannot work, and nothing is changed", async () => {
    const cases: [string, (c: FakeCluster) => void, Partial<MoveOptions>, string][] = [
      ["conflict", (c) => c.pod("bare", "node1"), {}, "nobody would make these pods again: default/bare"],
      [
        "conflict",
        (c) => c.pod("data", "node1", { owner: "ReplicaSet", spec: { volumes: [{ emptyDir: {} }] } }),
        {},
        "emptyDir volumes: default/data",
      ],
      ["not-found", () => {}, { node: "node9" }, "there is no node node9"],
      [
        "not-found",
        (c) => c.api.delete("/apis/apps/v1/daemonsets", "weft-agent", "weft-system"),
        {},
        "not installed",
      ],
    ];
    for (const [code, prepare, more, message] of cases) {
      const c = cluster();
      prepare(c);
      const { writes } = c;
      const error = await refused(moveNode(options(c, "weft", more)));
      expect([hasCode(error, code as never), error.message]).toEqual([
        true,
        expect.stringContaining(message),
      ]);
      expect(c.writes).toBe(writes);
    }
    const c = cluster();
    c.pod("bare", "node1");
    expect((await moveNode(options(c, "weft", { force: true }))).moved).toBe(true);
  });

  test("the other way is refused while one is under way, and says how to complete it", async () => {
    const c = cluster();
    c.failWrite = 2;
    await refused(moveNode(options(c, "weft")));
    const error = await refused(moveNode(options(c, "other")));
    expect(error.message).toContain("a move to Weft is under way");
    expect(hintOf(error)).toContain("weft migrate node node1");
  });

  test("what does not come is named when the time is over", async () => {
    const c = cluster();
    c.refusals.set("web-1", 1_000_000);
    const error = await refused(moveNode(options(c, "weft", { timeout: 1500 })));
    expect(hasCode(error, "timeout")).toBe(true);
    expect(error.message).toContain("default/web-1 (Cannot evict pod");
    expect((await moveNode(options(c, "weft", { disableEviction: true }))).moved).toBe(true);
    expect(c.state("node1")).toEqual(MOVED);
  });
});

describe("beginning and end", () => {
  const scope = (c: FakeCluster) => ({ client: c.client, namespace: "weft-system", onStep: () => {} });

  test("labels come once, and go when every node is moved", async () => {
    const c = new FakeCluster(["node1", "node2"], false);
    expect(await startMigration(scope(c))).toEqual(["node1", "node2"]);
    expect(await startMigration(scope(c))).toEqual([]);
    const early = await refused(finishMigration(scope(c)));
    expect(early.message).toContain("node1 (other, agent none), node2 (other, agent none)");
  });

  test("a node of another system is nobody's business: it is neither labelled nor waited for", async () => {
    const c = new FakeCluster(["node1"]);
    c.api.put("/api/v1/nodes", {
      metadata: { name: "windows", labels: { "kubernetes.io/os": "windows" } },
      spec: { podCIDRs: ["10.244.9.0/24"] },
      status: { addresses: [{ type: "InternalIP", address: "192.0.2.9" }] },
    });
    c.label("node1", "other");
    await moveNode(options(c, "weft", { every: 2 }));
    expect(await finishMigration(scope(c))).toEqual(["node1"]);
    expect(c.state("windows")).toMatchObject({ label: undefined });
  });

  test("start is refused where Weft serves nodes, finish while the other network is there", async () => {
    const served = new FakeCluster(["node1"]);
    served.label("node1", "weft");
    served.label("node1", "other");
    const c = new FakeCluster(["node1"]);
    c.label("node1", "other");
    await moveNode(options(c, "weft", { every: 2 }));
    c.api.put("/apis/apps/v1/daemonsets", {
      metadata: { name: "kube-flannel-ds", namespace: "kube-flannel" },
      spec: { template: { spec: { containers: [{ image: "ghcr.io/flannel-io/flannel:v0.27.0" }] } } },
    });
    expect((await refused(finishMigration(scope(c)))).message).toContain(
      "DaemonSet kube-flannel/kube-flannel-ds",
    );
    c.api.delete("/apis/apps/v1/daemonsets", "kube-flannel-ds", "kube-flannel");
    expect(await finishMigration(scope(c))).toEqual(["node1"]);
    expect(c.state("node1")).toEqual({ ...MOVED, label: undefined as never });
    expect((await refused(startMigration(scope(c)))).message).toContain("Weft runs already on node1");
  });
});
