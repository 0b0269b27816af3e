import { describe, expect, test } from "bun:test";
import { systemClock } from "@weft/base";
import { reconcileNode } from "./node-lifecycle.ts";
import type { NodeObject } from "./objects.ts";
import { mayStay } from "./taints.ts";
import { startCluster } from "./testing/cluster.ts";
import { ago, NOW, node, pod } from "./testing/objects.ts";

const state = (object: NodeObject, more: Partial<Parameters<typeof reconcileNode>[0]> = {}) => ({
  node: object,
  silence: 5000,
  pods: [],
  ...more,
});
const taints = (writes: ReturnType<typeof reconcileNode>["writes"]): string[] =>
  writes.flatMap((w) =>
    w.verb === "update"
      ? ((w.object as NodeObject).spec?.taints ?? []).map((t) => `${t.key}:${t.effect}`)
      : [],
  );
const NOT_READY = { key: "node.kubernetes.io/not-ready", effect: "NoExecute", timeAdded: ago(10) };

describe("a node", () => {
  test("that is well is looked at again when its lease would run out", () => {
    expect(reconcileNode(state(node("a")), NOW)).toEqual({ writes: [], again: 35_000 });
  });

  test("whose lease has run out is unknown, and unreachable", () => {
    const running = pod("p", { node: "a" });
    const { writes } = reconcileNode(state(node("a"), { silence: 40_000, pods: [running] }), NOW);
    expect(writes.map((w) => w.verb)).toEqual(["status", "update", "status"]);
    expect(writes[0]).toMatchObject({
      object: { status: { conditions: [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }] } },
    });
    expect(taints(writes)).toEqual([
      "node.kubernetes.io/unreachable:NoSchedule",
      "node.kubernetes.io/unreachable:NoExecute",
    ]);
    expect(writes[2]).toMatchObject({
      object: {
        metadata: { name: "p" },
        status: { conditions: [{ status: "False", reason: "NodeNotReady" }] },
      },
    });
  });

  test("that says it is not ready is tainted so, and not any more when it is back; of its pods it says itself", () => {
    const pods = [pod("p", { node: "a" })];
    const { writes } = reconcileNode(state(node("a", { ready: "False" }), { pods }), NOW);
    expect(writes.map((w) => w.verb)).toEqual(["update"]);
    expect(taints(writes)).toEqual([
      "node.kubernetes.io/not-ready:NoSchedule",
      "node.kubernetes.io/not-ready:NoExecute",
    ]);
    const mine = { key: "mine", effect: "NoSchedule" };
    const back = reconcileNode(state(node("a", { taints: [NOT_READY, mine] })), NOW);
    expect(taints(back.writes)).toEqual(["mine:NoSchedule"]);
  });

  test("without a network, or cordoned, gets no new pods", () => {
    const { writes } = reconcileNode(
      state(node("a", { networkUnavailable: true, unschedulable: true })),
      NOW,
    );
    expect(taints(writes)).toEqual([
      "node.kubernetes.io/network-unavailable:NoSchedule",
      "node.kubernetes.io/unschedulable:NoSchedule",
    ]);
  });

  test("that has said nothing yet is left alone", () => {
    const fresh = { ...node("a"), status: {} };
    expect(reconcileNode(state(fresh), NOW).writes).toEqual([]);
  });
});

describe("pods on it", () => {
  const dedicated = { key: "dedicated", value: "db", effect: "NoExecute" };

  test("those that do not tolerate a taint are evicted", () => {
    const pods = [
      pod("stays", { node: "a", spec: { tolerations: [{ key: "dedicated", operator: "Exists" }] } }),
      pod("goes", { node: "a" }),
      pod("is-going", { node: "a", deleting: true }),
    ];
    const { writes } = reconcileNode(state(node("a", { taints: [dedicated] }), { pods }), NOW);
    expect(writes.map((w) => (w.verb === "delete" ? w.object.metadata.name : w.verb))).toEqual(["goes"]);
  });

  test.each([
    ["nothing said: five minutes of these two", [], NOT_READY, 290_000],
    ["nothing said of another one", [], dedicated, 0],
    [
      "for a time",
      [{ key: "dedicated", operator: "Exists", tolerationSeconds: 20 }],
      { ...dedicated, timeAdded: ago(5) },
      15_000,
    ],
    [
      "the shortest counts",
      [{ operator: "Exists" }, { key: "dedicated", operator: "Exists", tolerationSeconds: 7 }],
      { ...dedicated, timeAdded: ago(5) },
      2000,
    ],
    ["for ever", [{ operator: "Exists" }], dedicated, Number.POSITIVE_INFINITY],
    ["NoSchedule evicts nobody", [], { ...dedicated, effect: "NoSchedule" }, Number.POSITIVE_INFINITY],
  ])("how long they may stay: %s", (_, tolerations, taint, expected) => {
    expect(mayStay({ containers: [], tolerations }, [taint], NOW)).toBe(expected);
  });
});

test("a clock that is set ahead makes no node silent", async () => {
  let ahead = 0;
  const cluster = await startCluster({ ...systemClock, now: () => Date.now() + ahead });
  const path = "/api/v1/nodes/a";
  const seen = async (n: string): Promise<NodeObject> => {
    await cluster.request("PATCH", path, { metadata: { labels: { n } } });
    // One look for each change, and one after the other: what a look writes is there with the next.
    await cluster.until(
      "it is looked at",
      () => cluster.controllers.nodes.get("a")?.metadata.labels?.["n"] === n,
    );
    await Bun.sleep(50);
    return cluster.request<NodeObject>("GET", path);
  };
  try {
    await cluster.request("POST", "/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "a" },
    });
    const conditions = [{ type: "Ready", status: "True", reason: "x", message: "" }];
    await cluster.request("PATCH", `${path}/status`, { status: { conditions } });
    expect((await seen("1")).status?.conditions?.[0]?.status).toBe("True");
    ahead = 3_600_000;
    const { spec, status } = await seen("2");
    expect(status?.conditions?.[0]?.status).toBe("True");
    expect(spec?.taints ?? []).toEqual([]);
  } finally {
    await cluster.stop();
  }
});
