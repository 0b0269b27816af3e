import { describe, expect, test } from "bun:test";
import { conditionOf, type PodObject } from "../controllers/objects.ts";
import { ago, NOW, pod } from "../controllers/testing/objects.ts";
import { type PodView, podStatusOf, type RunView } from "./pod-status.ts";

const RUN: RunView = {
  runningSince: NOW - 9000,
  lastEnd: undefined,
  over: false,
  restarts: 0,
  started: true,
  ready: true,
  startError: undefined,
};
const END = { exitCode: 3, signal: undefined, startedAt: NOW - 9000, endedAt: NOW - 1000 };
const fresh = (): PodObject => ({
  ...pod("p", { node: "node1" }),
  status: { phase: "Pending", qosClass: "BestEffort" },
});
const view = (run: Partial<RunView> | undefined, more: Partial<PodView> = {}): PodView => ({
  addresses: ["10.0.0.1", "fd00::1"],
  hostAddresses: ["198.18.1.11"],
  runs: new Map(run === undefined ? [] : [["c", { ...RUN, ...run }]]),
  error: undefined,
  hopeless: false,
  takenAt: NOW - 10_000,
  instance: "x",
  carried: new Map(),
  ...more,
});
const status = (v: PodView, object = fresh()) => podStatusOf(object, v, NOW);
const stopped = { runningSince: undefined, ready: false, started: false };

describe("phase, state and readiness", () => {
  test.each([
    ["without a network", view(undefined, { addresses: undefined }), "Pending", "ContainerCreating", "False"],
    ["with one, before its container", view(undefined), "Pending", "ContainerCreating", "False"],
    [
      "that cannot be",
      view(undefined, { addresses: undefined, hopeless: true, error: "no" }),
      "Pending",
      "CreateContainerConfigError",
      "False",
    ],
    ["running and ready", view({}), "Running", "running", "True"],
    ["running", view({ ready: false }), "Running", "running", "False"],
    [
      "ended, to be started again",
      view({ ...stopped, lastEnd: END, restarts: 1 }),
      "Running",
      "CrashLoopBackOff",
      "False",
    ],
    [
      "that could not be started",
      view({ ...stopped, startError: "no such file" }),
      "Pending",
      "RunContainerError",
      "False",
    ],
    [
      "over, well",
      view({ ...stopped, lastEnd: { ...END, exitCode: 0 }, over: true }),
      "Succeeded",
      "Completed",
      "False",
    ],
    ["over, badly", view({ ...stopped, lastEnd: END, over: true }), "Failed", "Error", "False"],
  ])("a pod %s", (_, v, phase, word, ready) => {
    const said = status(v);
    const state = said.containerStatuses?.[0]?.state;
    expect([
      said.phase,
      state?.waiting?.reason ?? state?.terminated?.reason ?? (state?.running && "running"),
      conditionOf({ status: said }, "Ready")?.status,
    ]).toEqual([phase, word, ready]);
  });

  test("of two containers the one that is not ready is named", () => {
    const two = fresh();
    const object = {
      ...two,
      spec: { ...two.spec, containers: [...two.spec.containers, { name: "d", image: "x" }] },
    };
    const runs = new Map([
      ["c", RUN],
      ["d", { ...RUN, ready: false }],
    ]);
    expect(conditionOf({ status: status({ ...view({}), runs }, object) }, "ContainersReady")).toMatchObject({
      status: "False",
      reason: "ContainersNotReady",
      message: "containers with unready status: [d]",
    });
    // One that has ended for good beside one that runs is no end.
    const half = new Map([
      ["c", { ...RUN, ...stopped, lastEnd: { ...END, exitCode: 0 }, over: true }],
      ["d", RUN],
    ]);
    expect(status({ ...view({}), runs: half }, object).phase).toBe("Running");
  });

  test("a readiness gate counts when the containers are ready", () => {
    const object = fresh();
    const gated = {
      ...object,
      spec: { ...object.spec, readinessGates: [{ conditionType: "example.com/lb" }] },
    };
    expect(conditionOf({ status: status(view({}), gated) }, "Ready")).toMatchObject({
      status: "False",
      reason: "ReadinessGatesNotReady",
    });
    const open = {
      ...gated,
      status: { ...gated.status, conditions: [{ type: "example.com/lb", status: "True" }] },
    };
    expect(conditionOf({ status: status(view({}), open) }, "Ready")?.status).toBe("True");
  });
});

test("addresses, of both families, and what others have said", () => {
  const object = fresh();
  const scheduled = { type: "PodScheduled", status: "True", lastTransitionTime: ago(30) };
  const said = status(view({}), { ...object, status: { ...object.status, conditions: [scheduled] } });
  expect(said).toMatchObject({
    podIP: "10.0.0.1",
    podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }],
    hostIP: "198.18.1.11",
    qosClass: "BestEffort",
    startTime: ago(10),
  });
  expect(said.conditions?.[0]).toEqual(scheduled);
});

test("a condition keeps its time as long as it says the same", () => {
  const first = status(view({}));
  const later = podStatusOf({ ...fresh(), status: first }, view({}), NOW + 60_000);
  expect(later).toEqual(first);
  const gone = podStatusOf({ ...fresh(), status: first }, view({ ready: false }), NOW + 60_000);
  expect(conditionOf({ status: gone }, "Ready")?.lastTransitionTime).toBe(ago(-60));
  expect(conditionOf({ status: gone }, "Initialized")).toEqual(conditionOf({ status: first }, "Initialized"));
});

test("a signal is 128 and its number; the state before is kept", () => {
  const end = { ...END, exitCode: 137, signal: 9 };
  const [c] = status(view({ lastEnd: end, restarts: 1 })).containerStatuses ?? [];
  expect(c).toMatchObject({
    restartCount: 1,
    lastState: {
      terminated: { exitCode: 137, signal: 9, reason: "Error", startedAt: ago(9), finishedAt: ago(1) },
    },
  });
});

test("what an earlier supervisor started counts as one restart more", () => {
  const [before] = status(view({ restarts: 2 })).containerStatuses ?? [];
  const carried = new Map(before === undefined ? [] : [["c", before]]);
  const [c] = status(view({}, { carried })).containerStatuses ?? [];
  expect(c).toMatchObject({
    restartCount: 3,
    state: { running: {} },
    lastState: { terminated: { exitCode: 137, reason: "ContainerStatusUnknown" } },
  });
});
