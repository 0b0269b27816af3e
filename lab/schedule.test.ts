import { describe, expect, test } from "bun:test";
import type { Pod } from "@weft/model";
import fc from "fast-check";
import { schedule } from "./schedule.ts";

const pod = (name: string, node?: string): Pod => ({
  namespace: "default",
  name,
  uid: name,
  node,
  hostNetwork: false,
  labels: {},
  containers: [],
  origin: { kind: "Pod", namespace: "default", name },
});

describe("scheduling", () => {
  test("fewest pods first, then the order of the nodes", () => {
    const pods = ["a", "b", "c", "d"].map((n) => pod(n));
    expect([...schedule(pods, ["node1", "node2", "node3"]).values()]).toEqual([
      "node1",
      "node2",
      "node3",
      "node1",
    ]);
  });

  test("bound pods count, and go where they say even when nobody is there", () => {
    const placed = schedule([pod("b"), pod("a"), pod("x", "node1"), pod("y", "node9")], ["node1", "node2"]);
    expect(Object.fromEntries(placed)).toEqual({
      "default/x": "node1",
      "default/y": "node9",
      "default/a": "node2",
      "default/b": "node1",
    });
  });

  test("placed pods stay, unless their node is gone", () => {
    const before = new Map([
      ["default/a", "node2"],
      ["default/b", "node7"],
    ]);
    expect(Object.fromEntries(schedule([pod("a"), pod("b")], ["node1", "node2"], before))).toEqual({
      "default/a": "node2",
      "default/b": "node1",
    });
  });

  test("without nodes nothing is placed", () => {
    expect(schedule([pod("a")], []).size).toBe(0);
  });

  test("spreads evenly, and a pod more moves none", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 9 }),
        (names, count) => {
          const nodes = Array.from({ length: count }, (_, i) => `node${i + 1}`);
          const first = schedule(
            names.map((n) => pod(n)),
            nodes,
          );
          const loads = nodes.map((n) => [...first.values()].filter((v) => v === n).length);
          expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
          const second = schedule(
            [...names, "0new"].map((n) => pod(n)),
            nodes,
            first,
          );
          for (const [key, node] of first) expect(second.get(key)).toBe(node);
        },
      ),
    );
  });
});
