import { describe, expect, test } from "bun:test";
import { inOrderOfRemoval, reconcileReplicaSet } from "./replica-set.ts";
import { NOW, pod, replicaSet } from "./testing/objects.ts";

const owner = { kind: "ReplicaSet", name: "web", uid: "uid-web" };
const labels = { app: "web" };
const mine = (name: string, more: Parameters<typeof pod>[1] = {}) =>
  pod(name, { owner, labels, node: "node1", ...more });
const verbs = (outcome: ReturnType<typeof reconcileReplicaSet>): string[] =>
  outcome.writes.map((w) => (w.verb === "event" ? "event" : `${w.verb} ${"kind" in w ? w.kind.kind : ""}`));

describe("the number of pods", () => {
  test("missing ones are made, with labels, spec and owner of the set", () => {
    const { writes } = reconcileReplicaSet(replicaSet("web", { replicas: 3 }), [mine("a")], NOW);
    const made = writes.filter((w) => w.verb === "create");
    expect(made).toHaveLength(2);
    expect(made[0]?.object).toMatchObject({
      metadata: {
        generateName: "web-",
        labels,
        ownerReferences: [{ kind: "ReplicaSet", name: "web", controller: true }],
      },
      spec: { containers: [{ image: "weft/echo:1" }] },
    });
  });

  test("what has ended or is ending is no pod any more", () => {
    const pods = [mine("a", { phase: "Failed" }), mine("b", { deleting: true })];
    const { writes } = reconcileReplicaSet(replicaSet("web", { replicas: 1 }), pods, NOW);
    expect(verbs({ writes })).toEqual(["create Pod", "status ReplicaSet"]);
  });

  test("surplus ones go, those that serve last", () => {
    const pods = [mine("old"), mine("unready", { ready: false }), mine("new", { age: 1 })];
    const { writes } = reconcileReplicaSet(replicaSet("web", { replicas: 1 }), pods, NOW);
    const gone = writes.flatMap((w) => (w.verb === "delete" ? w.object.metadata.name : []));
    expect(gone).toEqual(["unready", "new"]);
  });

  test("a set that is being deleted makes and removes nothing", () => {
    const set = replicaSet("web", { replicas: 3 });
    const going = { ...set, metadata: { ...set.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } };
    expect(verbs(reconcileReplicaSet(going, [], NOW))).toEqual(["status ReplicaSet"]);
  });
});

test("the order of removal", () => {
  const pods = [
    mine("ready-old", { readySince: 500 }),
    mine("ready-young", { readySince: 5 }),
    mine("restarted", { readySince: 500, restarts: 3 }),
    mine("cheap", { annotations: { "controller.kubernetes.io/pod-deletion-cost": "-1" } }),
    mine("unready", { ready: false }),
    mine("pending", { phase: "Pending" }),
    pod("nowhere", { owner, labels, phase: "Pending" }),
    mine("crowded", { node: "node2", readySince: 500 }),
  ];
  expect(inOrderOfRemoval(pods).map((p) => p.metadata.name)).toEqual([
    "nowhere",
    "pending",
    "unready",
    "cheap",
    "ready-young",
    "restarted",
    "ready-old",
    "crowded",
  ]);
});

describe("whose pods", () => {
  test("an orphan that is selected is adopted, and counts at once", () => {
    const { writes } = reconcileReplicaSet(replicaSet("web"), [pod("a", { labels })], NOW);
    expect(verbs({ writes })).toEqual(["update Pod", "status ReplicaSet"]);
    expect(writes[0]).toMatchObject({
      object: { metadata: { ownerReferences: [{ uid: "uid-web", controller: true }] } },
    });
  });

  test("one that is not selected any more is released, and replaced", () => {
    const { writes } = reconcileReplicaSet(replicaSet("web"), [mine("a", { labels: { app: "debug" } })], NOW);
    expect(verbs({ writes })).toEqual(["update Pod", "create Pod", "status ReplicaSet"]);
    expect(writes[0]).toMatchObject({ object: { metadata: { ownerReferences: [] } } });
  });

  test("somebody else's is left alone", () => {
    const theirs = pod("a", { labels, owner: { ...owner, uid: "another" } });
    expect(verbs(reconcileReplicaSet(replicaSet("web", { replicas: 0 }), [theirs], NOW))).toEqual([
      "status ReplicaSet",
    ]);
  });
});

test("the status, and when to look again for minReadySeconds", () => {
  const pods = [mine("a", { readySince: 100 }), mine("b", { readySince: 4 }), mine("c", { ready: false })];
  const set = replicaSet("web", { replicas: 3, minReadySeconds: 10 });
  const outcome = reconcileReplicaSet(set, pods, NOW);
  expect(outcome.again).toBe(6000);
  expect(outcome.writes).toMatchObject([
    {
      verb: "status",
      object: { status: { replicas: 3, readyReplicas: 2, availableReplicas: 1, observedGeneration: 1 } },
    },
  ]);
});
