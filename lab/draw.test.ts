import { describe, expect, test } from "bun:test";
import { type DrawnPod, drawTopology, formatAge, formatTable } from "./draw.ts";
import { parseLabOptions } from "./options.ts";
import { planTopology } from "./topology.ts";

const pod = (name: string, node: string | undefined, ...podIPs: string[]): DrawnPod => ({
  namespace: "default",
  name,
  node,
  hostNetwork: false,
  podIPs,
  ready: true,
});

const widest = (text: string): number => Math.max(...text.split("\n").map((line) => [...line].length));

describe("drawing", () => {
  test("three nodes", () => {
    const pods = [
      pod("echo-1", "node1", "10.244.1.2", "fd00:10:244:1::2"),
      { ...pod("host-echo", "node1"), hostNetwork: true },
      { ...pod("coredns", "node2", "10.244.2.2"), namespace: "kube-system", ready: false },
      pod("lost", undefined),
    ];
    expect(drawTopology(planTopology(parseLabOptions()), pods)).toBe(
      [
        "┌─────────┐",
        "│ outside │ 203.0.113.10  fd57:eff7:ffff::10",
        "└────┬────┘",
        "┌────┴────┐",
        "│  spine  │ a router without pod routes: drops bare pod packets",
        "└────┬────┘",
        "     ├── rack1  198.18.1.0/24  fd57:eff7:0:1::/64",
        "     │   ├── ┌ node1  198.18.1.11  fd57:eff7:0:1::11 ─────────────────────────┐",
        "     │   │   │   echo-1                 10.244.1.2       fd00:10:244:1::2     │",
        "     │   │   │   host-echo              the node's own network                │",
        "     │   │   └────────────────────────────────────────────────────────────────┘",
        "     │   └── ┌ node2  198.18.1.12  fd57:eff7:0:1::12 ─────────────────────────┐",
        "     │       │ ! kube-system/coredns    10.244.2.2                            │",
        "     │       └────────────────────────────────────────────────────────────────┘",
        "     └── rack2  198.18.2.0/24  fd57:eff7:0:2::/64",
        "         └── ┌ node3  198.18.2.11  fd57:eff7:0:2::11 ─────────────────────────┐",
        "             │ no pods                                                        │",
        "             └────────────────────────────────────────────────────────────────┘",
        "on no node: lost",
      ].join("\n"),
    );
  });

  test("fits 80 columns with the longest names and addresses", () => {
    const long = "a-pod-name-that-is-as-long-as-kubernetes-lets-it-be-".padEnd(63, "x");
    for (const nodes of [1, 12, 13, 200]) {
      const plan = planTopology(parseLabOptions({ nodes, racks: nodes }));
      const pods = plan.nodes.map((n) =>
        pod(long, n.name, "10.244.200.200", "fd00:10:244:200:1234:5678:9abc:def0"),
      );
      const text = drawTopology(plan, pods);
      expect(widest(text)).toBeLessThanOrEqual(80);
      for (const node of plan.nodes) expect(text).toContain(node.name);
      if (nodes <= 12) expect(text).toContain("fd00:10:244:200:1234:5678:9abc:def0");
    }
  });

  test("more than twelve nodes are a table", () => {
    const plan = planTopology(parseLabOptions({ nodes: 13, racks: 2, pods: "ipv4", underlay: "ipv4" }));
    const lines = drawTopology(plan, [pod("a", "node13"), { ...pod("b", "node13"), ready: false }]).split(
      "\n",
    );
    expect(lines).toHaveLength(14);
    expect(lines[0]).toBe("NODE    RACK   ADDRESSES    PODS  POD RANGES");
    expect(lines[13]).toBe("node13  rack2  198.18.2.16  1/2   10.244.13.0/24");
  });

  test("tables and ages", () => {
    expect(formatTable(["A", "LONG"], [["xyz", "1"]])).toBe("A    LONG\nxyz  1");
    expect([-5, 0, 119_000, 120_000, 7_200_000, 200_000_000].map(formatAge)).toEqual([
      "0s",
      "0s",
      "119s",
      "2m",
      "2h",
      "2d",
    ]);
  });
});
