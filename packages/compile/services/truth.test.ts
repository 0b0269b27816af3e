/**
 * Which endpoints a node uses, as data. Written from Kubernetes' documents, not from the code: "Virtual IPs and
 * Service Proxies" (traffic policies; traffic to terminating endpoints), "Topology Aware Routing" (safeguards), the API
 * reference of spec.trafficDistribution, and KEP-1669, KEP-2086, KEP-2433, KEP-3015.
 *
 * An endpoint is written NAME STATE PLACE HINTS. STATE: r ready, t terminating and serving, u neither. PLACE: here, far,
 * or ? where the slice names no node. HINTS: za meant for zone a (this node's), zb for another; nh for this node, nf for another.
 */
import { describe, expect, test } from "bun:test";
import { parseIp } from "@weft/base";
import type { Endpoint, FrontendRow, Service } from "@weft/model";
import { at, compiled, frontends, service, slice } from "./testing.ts";

/** Endpoints; then what answers: to the cluster policy, and to the local one. */
type Case = readonly [endpoints: string, cluster: string, local: string];

const CASES: readonly Case[] = [
  // Nobody at all, or nobody that could answer: rejected at once under either policy.
  ["", "reject", "reject"],
  ["A u here", "reject", "reject"],
  ["A u here, B u far", "reject", "reject"],
  // Ready ones; the local policy keeps packets from what is elsewhere by dropping them.
  ["A r here", "A", "A"],
  ["A r far", "A", "drop"],
  ["A r ?", "A", "drop"],
  ["A r here, B r far", "A B", "A"],
  ["A r here, B u here, C r far", "A C", "A"],
  ["A u here, B r far", "B", "drop"],
  // Ending ones only when there is none that is ready; the two policies decide that each for itself.
  ["A t here", "A", "A"],
  ["A t far", "A", "drop"],
  ["A t here, B t far", "A B", "A"],
  ["A r here, B t here", "A", "A"],
  ["A t here, B r far", "B", "A"],
  ["A t far, B r far", "B", "drop"],
  ["A t here, B u here, C u far", "A", "A"],
  // Zones: if all that are ready have hints, and one is meant for this zone.
  ["A r here za, B r far zb", "A", "A"],
  ["A r here zb, B r far za", "B", "A"],
  ["A r far za, B r far za, C r far zb", "A B", "drop"],
  ["A r far za zb, B r far zb", "A", "drop"],
  ["A r far zb, B r here zb", "A B", "B"],
  ["A r far za, B r here", "A B", "B"],
  ["A r far za, B u here, C r far zb", "A", "drop"],
  // Hints of endpoints that are not ready do not count; ending ones are used whatever their hints.
  ["A t far zb", "A", "drop"],
  ["A t far za, B t far zb", "A B", "drop"],
  ["A r far zb, B t here za", "A", "B"],
  // Nodes before zones, under the same conditions; else zones.
  ["A r here nh za, B r far nf za", "A", "A"],
  ["A r far nh za, B r here nf za", "A", "B"],
  ["A r here nf za, B r far nf zb", "A", "A"],
  ["A r here nf zb, B r far nf zb", "A B", "A"],
  ["A r here nh za, B r far za", "A B", "A"],
  ["A r here nh, B r far", "A B", "A"],
  ["A r far nf, B r far nf", "A B", "drop"],
];

const FAMILIES = {
  IPv4: {
    family: 4,
    cluster: "10.96.0.1",
    external: "198.51.100.1",
    balancer: "203.0.113.1",
    pod: "10.244.0.",
  },
  IPv6: {
    family: 6,
    cluster: "fd00:96::1",
    external: "2001:db8:5::1",
    balancer: "2001:db8:6::1",
    pod: "fd00:244::",
  },
} as const;

function endpointsOf(text: string, prefix: string): Endpoint[] {
  if (text === "") return [];
  return text.split(", ").map((item): Endpoint => {
    const [name = "", state, place, ...hints] = item.split(" ");
    const forZones = hints.filter((h) => h.startsWith("z")).map((h) => h.slice(1));
    const forNodes = hints.filter((h) => h.startsWith("n")).map((h) => (h === "nh" ? "here" : "far"));
    return {
      ip: parseIp(`${prefix}${name.charCodeAt(0) - 64}`),
      state: state === "r" ? "ready" : state === "t" ? "terminating" : "unready",
      ...(place === "?" ? {} : { node: place as string }),
      ...(forZones.length === 0 ? {} : { forZones }),
      ...(forNodes.length === 0 ? {} : { forNodes }),
    };
  });
}

/** "A B", "drop" or "reject". */
function answer(row: FrontendRow | undefined): string {
  if (row === undefined) return "no row";
  if (row.action !== "balance") return row.backends.length === 0 ? row.action : "backends without balance";
  return row.backends.map((b) => String.fromCharCode(64 + Number(/(\d+)$/.exec(b.ip)?.[1]))).join(" ");
}

describe.each(Object.entries(FAMILIES))("%s", (_, { family, cluster, external, balancer, pod }) => {
  describe.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("internalLocal %p, externalLocal %p", (internalLocal, externalLocal) => {
    test.each(CASES)("%s", (text, byCluster, byLocal) => {
      const wanted: Partial<Service> = {
        type: "LoadBalancer",
        clusterIPs: [at(cluster, "spec.clusterIPs[0]")],
        externalIPs: [at(external, "spec.externalIPs[0]")],
        loadBalancerIPs: [at(balancer, "status.loadBalancer.ingress[0].ip")],
        ports: [{ name: "", protocol: "tcp", port: 80, nodePort: 30080, index: 0 }],
        internalLocal,
        externalLocal,
      };
      const s = compiled(
        [service("web", wanted)],
        [slice("web-1", "web", endpointsOf(text, pod), { family })],
      );
      const found = frontends(s);
      const of = (address: string, scope: string) =>
        found.find((r) => r.match.address === address && r.match.family === family && r.scope === scope);
      expect(answer(of(cluster, "any"))).toBe(internalLocal ? byLocal : byCluster);
      expect(of(cluster, "outside")).toBeUndefined();
      for (const address of [external, balancer, "node"]) {
        // This node and its pods reach every endpoint at an external address, whatever its policy.
        expect(answer(of(address, "any"))).toBe(byCluster);
        expect(answer(of(address, "outside"))).toBe(externalLocal ? byLocal : "no row");
      }
      expect(found).toHaveLength(externalLocal ? 7 : 4);
      for (const row of found) expect(row.masquerade).toBe(row.scope === "outside" ? "never" : "foreign");
    });
  });
});
