import { expect, test } from "bun:test";
import { hostPrefix, ipFromBigInt, type Mac, macFromSeed, withLength } from "@weft/base";
import fc from "fast-check";
import { originText, workloadOrigin } from "./nouns.ts";
import { PLAN_KINDS, type PlanKind, type PlanRow, planKey } from "./plan.ts";
import { SERVICE_PLAN_KINDS } from "./service-plan.ts";

const origin = { kind: "Node", name: "n1" };
const few = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const link = few("weft-vxlan", "weft0000000000a", "eth0");
const ip = few(1n, 2n).chain((n) =>
  few(ipFromBigInt((10n << 24n) + n, 4), ipFromBigInt((0xfd00n << 112n) + n, 6)),
);
const mac: fc.Arbitrary<Mac> = few(macFromSeed("a"), macFromSeed("b"));
const table = few(254, 8700);
const common = { origin: fc.constant(origin) };
const kindOf = <K extends PlanKind>(kind: K) => ({ kind: fc.constant(kind), ...common });

/** Rows of each kind; what identifies an object comes from few values, so that two rows often mean the same one. */
const ROWS: { readonly [K in PlanKind]: fc.Arbitrary<Extract<PlanRow, { kind: K }>> } = {
  sysctl: fc.record({
    ...kindOf("sysctl"),
    stage: few(0 as const, 1 as const),
    key: few("a", "b"),
    value: few("0", "1"),
  }),
  tunnel: fc.record({
    ...kindOf("tunnel"),
    name: link,
    mac,
    mtu: few(1400, 1450),
    vni: few(1, 2),
    port: few(4789, 8472),
    local: ip,
    underlay: link,
    udpChecksum: fc.boolean(),
    transmitChecksumOffload: fc.boolean(),
  }),
  address: fc.record({ ...kindOf("address"), link, address: ip.map((a) => withLength(a, 32)) }),
  attachment: fc.record({
    ...kindOf("attachment"),
    workload: few("a/eth0", "a/eth1", "b/eth0"),
    namespacePath: few("/a", "/b"),
    namespaceIdentity: few("4:1", "4:2"),
    hostLink: link,
    hostMac: mac,
    alias: few("a", "b"),
    interface: few("eth0", "eth1"),
    mac,
    mtu: few(1400, 1450),
    addresses: fc.array(ip, { maxLength: 2 }),
  }),
  neighbour: fc.record({ ...kindOf("neighbour"), link, ip, mac }),
  forwarding: fc.record({ ...kindOf("forwarding"), link, mac, remote: ip }),
  route: fc.record({
    ...kindOf("route"),
    destination: ip.map(hostPrefix),
    table,
    type: few("unicast" as const, "unreachable" as const),
    link: fc.option(link, { nil: undefined }),
    gateway: fc.option(ip, { nil: undefined }),
    onlink: fc.boolean(),
    source: fc.option(ip, { nil: undefined }),
    metric: few(87, 4096),
  }),
  rule: fc.record({ ...kindOf("rule"), from: ip.map(hostPrefix), table, priority: few(1, 2) }),
  "allowed-source": fc.record({ ...kindOf("allowed-source"), link, mac, ip }),
  frontend: fc.record({
    ...kindOf("frontend"),
    scope: few("any" as const, "outside" as const),
    match: fc.record({
      address: fc.oneof(ip, fc.constant("node" as const)),
      family: few(4 as const, 6 as const),
      protocol: few("tcp" as const, "udp" as const),
      port: few(80, 443),
    }),
    action: few("balance" as const, "reject" as const),
    backends: fc.array(fc.record({ ip, port: few(8080) }), { maxLength: 2 }),
    balance: few("random" as const, "maglev" as const),
    affinity: few(undefined, 10_800),
    masquerade: few("never" as const, "foreign" as const),
    sources: fc.option(fc.array(ip.map(hostPrefix), { maxLength: 1 }), { nil: undefined }),
  }),
  "service-address": fc.record({ ...kindOf("service-address"), prefix: ip.map(hostPrefix) }),
  "node-port-address": fc.record({ ...kindOf("node-port-address"), ip }),
  hairpin: fc.record({ ...kindOf("hairpin"), ip }),
  "pod-range": fc.record({
    ...kindOf("pod-range"),
    role: few("local" as const, "cluster" as const),
    prefix: ip.map(hostPrefix),
  }),
  "node-source": fc.record({ ...kindOf("node-source"), ip }),
  "masquerade-source": fc.record({ ...kindOf("masquerade-source"), prefix: ip.map(hostPrefix) }),
  "masquerade-inside": fc.record({ ...kindOf("masquerade-inside"), prefix: ip.map(hostPrefix) }),
  "host-port": fc.record({
    ...kindOf("host-port"),
    address: ip,
    protocol: few("tcp" as const, "udp" as const),
    port: few(80, 81),
    target: ip,
    targetPort: few(8080, 8081),
  }),
  "host-port-hairpin": fc.record({ ...kindOf("host-port-hairpin"), ip }),
};

/** The fields that tell the kernel's objects of a kind apart. */
const IDENTITY: Readonly<Record<PlanKind, readonly string[]>> = {
  sysctl: ["stage", "key"],
  tunnel: ["name"],
  address: ["link", "address"],
  attachment: ["workload"],
  neighbour: ["link", "ip"],
  forwarding: ["link", "mac"],
  route: ["destination", "table", "metric"],
  rule: ["from", "table"],
  "allowed-source": ["link", "mac", "ip"],
  frontend: ["scope", "match"],
  "service-address": ["prefix"],
  "node-port-address": ["ip"],
  hairpin: ["ip"],
  "pod-range": ["role", "prefix"],
  "node-source": ["ip"],
  "masquerade-source": ["prefix"],
  "masquerade-inside": ["prefix"],
  "host-port": ["address", "protocol", "port"],
  "host-port-hairpin": ["ip"],
};
const ALL_KINDS: readonly PlanKind[] = [...PLAN_KINDS, ...SERVICE_PLAN_KINDS];
const identity = (row: PlanRow): string =>
  JSON.stringify(IDENTITY[row.kind].map((field) => (row as unknown as Record<string, unknown>)[field]));

test("two rows have one key exactly when they are about one object", () => {
  for (const kind of ALL_KINDS) {
    const rows: fc.Arbitrary<PlanRow> = ROWS[kind];
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        expect(planKey(a) === planKey(b)).toBe(identity(a) === identity(b));
      }),
      { numRuns: 300 },
    );
  }
});

test("each kind has a place in the order", () => {
  expect(new Set(ALL_KINDS).size).toBe(ALL_KINDS.length);
  expect([...ALL_KINDS].sort()).toEqual((Object.keys(IDENTITY) as PlanKind[]).sort());
});

test("an origin reads as its user knows the object", () => {
  expect(originText({ kind: "Pod", namespace: "default", name: "web" })).toBe("Pod default/web");
  expect(originText({ kind: "Node", name: "n1", field: "spec.podCIDRs[0]" })).toBe(
    "Node n1 spec.podCIDRs[0]",
  );
  const workload = { containerId: "abc", podNamespace: undefined, podName: undefined, podUid: undefined };
  expect(workloadOrigin(workload as never)).toEqual({ kind: "Container", name: "abc" });
  expect(
    workloadOrigin({ ...workload, podName: "web", podNamespace: "default", podUid: "u" } as never),
  ).toEqual({
    kind: "Pod",
    name: "web",
    namespace: "default",
    uid: "u",
  });
});
