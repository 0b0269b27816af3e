import { describe, expect, test } from "bun:test";
import type { PodSpec } from "./objects.ts";
import { isWaiting, placePod } from "./scheduler.ts";
import { node, pod } from "./testing/objects.ts";

const NODES = [node("node1"), node("node2"), node("node10")];
const waiting = (spec: Partial<PodSpec> = {}, labels = { app: "web" }) =>
  pod("new", { phase: "Pending", labels, spec });

describe("where a pod goes", () => {
  const on = (name: string, where: string, labels: Record<string, string> = {}) =>
    pod(name, { node: where, labels });
  const owner = (name: string) => ({ kind: "ReplicaSet", name, uid: name });

  test.each([
    ["the first by name, as people count", [], "node1"],
    ["where the fewest of its kind are", [on("a", "node1", { app: "web" })], "node2"],
    ["then where the fewest are", [on("a", "node1"), on("b", "node2")], "node10"],
    [
      "its kind counts more than the number",
      [
        on("a", "node1", { app: "web" }),
        on("b", "node2"),
        on("c", "node2"),
        on("d", "node10", { app: "web" }),
      ],
      "node2",
    ],
    ["what has ended does not count", [pod("a", { node: "node1", phase: "Succeeded" })], "node1"],
  ])("%s", (_, pods, expected) => {
    expect(placePod(waiting(), NODES, pods)).toEqual({ node: expected });
  });

  test("pods of one owner are spread, whatever their labels", () => {
    const mine = pod("new", { phase: "Pending", owner: owner("rs"), labels: { x: "1" } });
    const others = [
      pod("a", { node: "node1", owner: owner("rs"), labels: { x: "2" } }),
      pod("b", { node: "node2", owner: owner("other"), labels: { x: "1" } }),
    ];
    expect(placePod(mine, NODES, others)).toEqual({ node: "node10" });
  });

  test("required affinity, with all operators", () => {
    const wants = (matchExpressions: object[]) =>
      waiting({
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: matchExpressions as never }],
            },
          },
        },
      });
    const nodes = [
      node("a", { labels: { disk: "hdd", size: "4" } }),
      node("b", { labels: { disk: "ssd", size: "12" } }),
    ];
    for (const [expression, expected] of [
      [{ key: "disk", operator: "In", values: ["ssd"] }, "b"],
      [{ key: "disk", operator: "NotIn", values: ["ssd"] }, "a"],
      [{ key: "size", operator: "Gt", values: ["9"] }, "b"],
      [{ key: "size", operator: "Lt", values: ["9"] }, "a"],
      [{ key: "kubernetes.io/hostname", operator: "Exists" }, "a"],
    ] as const) {
      expect(placePod(wants([expression]), nodes, [])).toEqual({ node: expected });
    }
    expect(placePod(wants([]), nodes, [])).toHaveProperty("message");
  });
});

describe("where it does not go, and what is said of it", () => {
  test("each node's first reason", () => {
    const nodes = [
      node("a", { unschedulable: true }),
      node("b", { taints: [{ key: "db", value: "yes", effect: "NoSchedule" }] }),
      node("c", { ready: "False" }),
      node("d"),
      node("e"),
    ];
    expect(placePod(waiting({ nodeSelector: { disk: "ssd" } }), nodes, [])).toEqual({
      message:
        "0/5 nodes are available: 1 node(s) had untolerated taint(s) {db: yes}, 1 node(s) were not ready, " +
        "1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.",
    });
  });

  test("no nodes at all", () => {
    expect(placePod(waiting(), [], [])).toEqual({
      message: "0/0 nodes are available: no nodes available to schedule pods",
    });
  });

  test.each([
    [[{ key: "db", operator: "Exists" }], true],
    [[{ key: "db", value: "yes" }], true],
    [[{ key: "db", operator: "Equal", value: "no" }], false],
    [[{ operator: "Exists" }], true],
    [[{ key: "db", operator: "Exists", effect: "NoExecute" }], false],
    [[{ key: "other", operator: "Exists" }], false],
  ])("tolerations %j", (tolerations, fits) => {
    const nodes = [node("a", { taints: [{ key: "db", value: "yes", effect: "NoSchedule" }] })];
    expect("node" in placePod(waiting({ tolerations }), nodes, [])).toBe(fits);
  });

  test("a cordon is tolerated by who tolerates its taint", () => {
    const nodes = [node("a", { unschedulable: true })];
    const tolerations = [{ key: "node.kubernetes.io/unschedulable", operator: "Exists" }];
    expect(placePod(waiting({ tolerations }), nodes, [])).toEqual({ node: "a" });
  });

  test("host ports are taken once a node, protocol and address", () => {
    const asks = (hostIP: string, protocol: string) => [
      { name: "c", image: "x", ports: [{ containerPort: 80, hostPort: 80, hostIP, protocol }] },
    ];
    const there = pod("a", { node: "node1", spec: { containers: asks("", "TCP") } });
    const place = (hostIP: string, protocol: string) =>
      placePod(waiting({ containers: asks(hostIP, protocol) }), [node("node1")], [there]);
    expect(place("10.0.0.1", "TCP")).toEqual({
      message: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    });
    expect(place("10.0.0.1", "UDP")).toEqual({ node: "node1" });
  });
});

test("who waits for us", () => {
  const pending = { phase: "Pending" } as const;
  expect(isWaiting(pod("a", pending))).toBe(true);
  expect(isWaiting(pod("a", { ...pending, node: "node1" }))).toBe(false);
  expect(isWaiting(pod("a", { ...pending, deleting: true }))).toBe(false);
  expect(isWaiting(pod("a", { ...pending, spec: { schedulerName: "mine" } }))).toBe(false);
});
