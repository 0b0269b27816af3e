import { expect, test } from "bun:test";
import { decodeNode, decodePod } from "./decode.ts";
import { type NodeRow, wantedOf } from "./node-state.ts";

const GRACE = 60_000;
const row = (over: Partial<NodeRow> = {}): NodeRow => ({
  name: "n",
  uid: "u",
  network: undefined,
  hasStartupTaint: false,
  isOthers: false,
  ranges: [],
  addresses: [],
  ...over,
});

test("a ready agent: the network is available, the start-up taint goes, and nothing is written twice", () => {
  const first = wantedOf(row({ hasStartupTaint: true }), undefined, GRACE);
  expect(first.condition).toMatchObject({ status: "False", reason: "WeftIsReady" });
  expect(first.removeTaint).toBe(true);
  const then = wantedOf(row({ network: { status: "False", reason: "WeftIsReady" } }), undefined, GRACE);
  expect(then).toEqual({ removeTaint: false });
});

test("a node of another network is left alone, whatever it says and however its agent is", () => {
  for (const network of [
    undefined,
    { status: "False", reason: "FlannelIsUp" },
    { status: "True", reason: "x" },
  ])
    for (const since of [undefined, 0, GRACE * 2])
      expect(wantedOf(row({ network, hasStartupTaint: true, isOthers: true }), since, GRACE)).toEqual({
        removeTaint: false,
      });
});

test("somebody else's condition is taken over: a cloud provider says True until there are routes", () => {
  const node = row({ network: { status: "True", reason: "NoRouteCreated" } });
  expect(wantedOf(node, undefined, GRACE).condition?.status).toBe("False");
});

test("an agent that is away for less than the grace changes nothing, and is looked at when it is over", () => {
  for (const network of [undefined, { status: "False", reason: "WeftIsReady" }]) {
    expect(wantedOf(row({ network, hasStartupTaint: true }), 10_000, GRACE)).toEqual({
      removeTaint: false,
      lookAgain: 50_000,
    });
  }
});

test("for longer: unavailable, once; the start-up taint stays", () => {
  const wanted = wantedOf(row({ hasStartupTaint: true }), GRACE, GRACE);
  expect(wanted.condition).toMatchObject({ status: "True", reason: "WeftIsNotReady" });
  expect(wanted.condition?.message).toContain("60 s");
  expect(wanted.removeTaint).toBe(false);
  const told = row({ network: { status: "True", reason: "WeftIsNotReady" } });
  expect(wantedOf(told, GRACE * 5, GRACE)).toEqual({ removeTaint: false });
});

test("objects that are malformed count as having nothing", () => {
  for (const bad of [undefined, null, 7, "x", [], { conditions: 7, taints: {} }, { conditions: [null, 7] }]) {
    const object = { metadata: { name: "n" }, status: bad, spec: bad };
    expect(decodeNode(object)).toMatchObject({ network: undefined, hasStartupTaint: false });
    expect(decodePod(object)).toBeUndefined();
  }
});

test("a pod that is being deleted serves no more, ready or not", () => {
  const status = { conditions: [{ type: "Ready", status: "True" }] };
  const spec = { nodeName: "n" };
  expect(decodePod({ metadata: { name: "p" }, spec, status })).toEqual({ node: "n", ready: true });
  expect(decodePod({ metadata: { name: "p", deletionTimestamp: "2020" }, spec, status })).toEqual({
    node: "n",
    ready: false,
  });
});
