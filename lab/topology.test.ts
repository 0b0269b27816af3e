import { describe, expect, test } from "bun:test";
import { contains, familyOf, networkOf, overlaps, prefixIp } from "@weft/base";
import fc from "fast-check";
import { BACKENDS, FAMILY_CHOICES, familiesOf, type LabOptions, parseLabOptions } from "./options.ts";
import { CLUSTER_RANGES, ownsNamespace, planTopology, podNamespaceName } from "./topology.ts";

const options: fc.Arbitrary<LabOptions> = fc
  .record({
    name: fc.constantFrom("lab", "a", "a-b", "t-12345678"),
    nodes: fc.integer({ min: 1, max: 200 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    pods: fc.constantFrom(...FAMILY_CHOICES),
    underlay: fc.constantFrom(...FAMILY_CHOICES),
    backend: fc.constantFrom(...BACKENDS),
  })
  .map(({ share, ...rest }) =>
    parseLabOptions({ ...rest, racks: Math.max(1, Math.round(rest.nodes * share)) }),
  );

describe("topology", () => {
  test("three nodes in two racks", () => {
    const plan = planTopology(parseLabOptions());
    expect(plan.namespaces.map((n) => n.name)).toEqual([
      "weft-lab-outside",
      "weft-lab-spine",
      "weft-lab-rack1",
      "weft-lab-rack2",
      "weft-lab-node1",
      "weft-lab-node2",
      "weft-lab-node3",
    ]);
    expect(plan.nodes.map((n) => [n.name, n.rack, ...n.addresses, ...n.podCIDRs].join(" "))).toEqual([
      "node1 rack1 198.18.1.11 fd57:eff7:0:1::11 10.244.1.0/24 fd00:10:244:1::/64",
      "node2 rack1 198.18.1.12 fd57:eff7:0:1::12 10.244.2.0/24 fd00:10:244:2::/64",
      "node3 rack2 198.18.2.11 fd57:eff7:0:2::11 10.244.3.0/24 fd00:10:244:3::/64",
    ]);
    expect(plan.outside).toEqual(["203.0.113.10", "fd57:eff7:ffff::10"] as never);
    expect(plan.routes.filter((r) => r.namespace === "weft-lab-node3")).toEqual([
      { namespace: "weft-lab-node3", destination: "0.0.0.0/0", gateway: "198.18.2.1" },
      { namespace: "weft-lab-node3", destination: "::/0", gateway: "fd57:eff7:0:2::1" },
    ] as never);
  });

  test("pods and underlay have the families that were asked for, each on its own", () => {
    const plan = planTopology(parseLabOptions({ pods: "ipv6", underlay: "ipv4" }));
    expect(plan.nodes[0]?.addresses).toEqual(["198.18.1.11"] as never);
    expect(plan.nodes[0]?.podCIDRs).toEqual(["fd00:10:244:1::/64"] as never);
    expect(plan.clusterRanges).toEqual(["fd00:10:244::/48"] as never);
  });

  test("is sound for all options", () => {
    fc.assert(
      fc.property(options, (o) => {
        const plan = planTopology(o);
        expect(planTopology(o)).toEqual(plan);
        const ends = plan.links.flatMap((l) => l.ends);
        const unique = (values: readonly string[]): void => expect(new Set(values).size).toBe(values.length);
        unique(plan.namespaces.map((n) => n.name));
        unique(ends.map((e) => e.mac));
        unique(ends.map((e) => `${e.namespace} ${e.name}`));
        unique(ends.flatMap((e) => e.addresses.map(prefixIp)));
        for (const end of ends) expect(end.name.length).toBeLessThanOrEqual(15);
        for (const rack of plan.racks) {
          expect(plan.nodes.some((n) => n.rack === rack.name)).toBe(true);
        }
        expect(plan.nodes).toHaveLength(o.nodes);
        expect(plan.racks).toHaveLength(o.racks);

        const blocks = plan.nodes.flatMap((n) => n.podCIDRs);
        unique(blocks);
        for (const node of plan.nodes) {
          expect(node.addresses.map(familyOf)).toEqual([...familiesOf(o.underlay)]);
          expect(node.podCIDRs.map(familyOf)).toEqual([...familiesOf(o.pods)]);
        }
        for (const block of blocks) expect(plan.clusterRanges.some((r) => contains(r, block))).toBe(true);
        for (const end of ends) {
          for (const address of end.addresses) {
            for (const range of Object.values(CLUSTER_RANGES)) {
              expect(overlaps(range, networkOf(address))).toBe(false);
            }
          }
        }
        // Each gateway is on the link that it is reached by.
        for (const route of plan.routes) {
          const own = ends.find((e) => e.namespace === route.namespace && e.name === "eth0");
          expect(own?.addresses.some((a) => contains(networkOf(a), route.gateway))).toBe(true);
          expect(ends.some((e) => e.addresses.some((a) => prefixIp(a) === route.gateway))).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a lab owns its own namespaces and none of a lab with a longer name", () => {
    fc.assert(
      fc.property(options, options, (a, b) => {
        for (const { name } of planTopology(b).namespaces) {
          expect(ownsNamespace(a.name, name)).toBe(a.name === b.name);
        }
      }),
      { numRuns: 40 },
    );
    expect(ownsNamespace("a", podNamespaceName("a", "default", "node1"))).toBe(true);
    expect(ownsNamespace("a", podNamespaceName("a-b", "default", "node1"))).toBe(false);
    expect(ownsNamespace("a", "weft-a-nodes")).toBe(false);
    expect(ownsNamespace("a", "weft-ab-node1")).toBe(false);
  });
});
