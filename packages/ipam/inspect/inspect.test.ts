/** A cluster of two nodes in which everything fits, and what is said once something does not. */
import { describe, expect, test } from "bun:test";
import { contains, type IpAddress, makePrefix, type Prefix, parseIp, parsePrefix } from "@weft/base";
import { blockName, type IpBlock, type NodeAddresses } from "@weft/model";
import fc from "fast-check";
import { checkCluster } from "./check.ts";
import { find } from "./find.ts";
import { RangeIndex } from "./range-index.ts";
import type { ApiState, ClusterState, PodFact, PoolFact } from "./state.ts";
import { usageReport } from "./usage.ts";

const NOW = 1_800_000_000_000;
const OLD = NOW - 3_600_000;
const ip = parseIp;

const pod = (name: string, node: string, ...ips: string[]): PodFact => ({
  namespace: "shop",
  name,
  uid: `uid-${name}`,
  node,
  hostNetwork: false,
  ended: false,
  ips: ips.map(parseIp),
  created: OLD,
});
const pool: PoolFact = {
  name: "p",
  uid: "pu",
  cidr: parsePrefix("10.5.0.0/16"),
  blockSize: 26,
  nodeSelector: [],
  namespaceSelector: [],
  natOutgoing: undefined,
  disabled: false,
  ready: true,
  created: OLD,
  origin: { kind: "IPPool", name: "p" },
  notReady: undefined,
};
const allocation = (address: string, name: string, node?: string) => ({
  address: ip(address),
  pod: `shop/${name}`,
  podUid: `uid-${name}`,
  containerId: `container-${name}`,
  node,
  since: OLD,
});
const block = (prefix: string, node: string | undefined, more: Partial<IpBlock> = {}): IpBlock => ({
  name: blockName(parsePrefix(prefix)),
  uid: "u",
  resourceVersion: "1",
  prefix: parsePrefix(prefix),
  pool: "p",
  poolUid: "pu",
  node,
  tunnelAddress: undefined,
  loans: [],
  allocations: [],
  reported: NOW - 300_000,
  origin: { kind: "IPBlock", name: prefix },
  ...more,
});
const loan = (node: string, address: string | undefined, more: object = {}) => ({
  id: `l-${node}-${address}`,
  node,
  wanted: undefined,
  address: address === undefined ? undefined : ip(address),
  refused: undefined,
  returned: false,
  tunnel: false,
  pod: "shop/c",
  ...more,
});
const origin = (node: string, name: string, since = OLD) => ({
  node,
  pod: `shop/${name}`,
  podUid: `uid-${name}`,
  containerId: `container-${name}`,
  interface: "eth0",
  since,
});
const agent = (node: string, more: Partial<NodeAddresses> = {}): NodeAddresses => ({
  node,
  at: NOW,
  ranges: [],
  leases: [],
  held: [],
  former: [],
  findings: [],
  ...more,
});
const range = (prefix: string, more: object = {}) => ({
  prefix: parsePrefix(prefix),
  pool: undefined,
  lentFrom: undefined,
  state: "open" as const,
  used: 1,
  size: 254,
  lent: 0,
  left: undefined,
  ...more,
});

const API: ApiState = {
  server: "https://api",
  nodes: [
    { name: "n1", podCIDRs: [parsePrefix("10.244.1.0/24"), parsePrefix("fd00:1::/64")], isOthers: false },
    { name: "n2", podCIDRs: [parsePrefix("10.244.2.0/24")], isOthers: false },
  ],
  pods: [pod("a", "n1", "10.244.1.5", "fd00:1::5"), pod("b", "n1", "10.5.0.3"), pod("c", "n2", "10.5.0.4")],
  pools: [pool],
  blocks: [
    block("10.5.0.0/26", "n1", {
      tunnelAddress: ip("10.5.0.1"),
      allocations: [allocation("10.5.0.3", "b"), allocation("10.5.0.4", "c", "n2")],
      loans: [loan("n2", "10.5.0.4")],
    }),
  ],
  faults: [],
};
const AGENT = agent("n1", {
  ranges: [range("10.244.1.0/24"), range("10.5.0.0/26", { pool: "p", used: 3, size: 63, lent: 1 })],
  leases: [
    {
      address: ip("10.244.1.5"),
      id: "container-a/eth0",
      origin: origin("n1", "a"),
      state: "ready",
      hostLink: "weft1",
      namespacePath: "/run/netns/a",
    },
    {
      address: ip("10.5.0.3"),
      id: "container-b/eth0",
      origin: origin("n1", "b"),
      state: "ready",
      hostLink: "weft2",
      namespacePath: "/run/netns/b",
    },
  ],
  held: [
    {
      address: ip("10.5.0.4"),
      block: parsePrefix("10.5.0.0/26"),
      node: "n2",
      pod: "shop/c",
      loan: "l",
      since: OLD,
    },
  ],
  former: [
    {
      address: ip("10.244.1.5"),
      origin: origin("n1", "z", 5),
      until: 9,
      why: "its network namespace is gone",
    },
  ],
});
const state = (api: Partial<ApiState> = {}, agents: readonly NodeAddresses[] = []): ClusterState => ({
  now: NOW,
  api: { ...API, ...api },
  agents,
  unreachable: [],
});
const codes = (s: ClusterState): string[] => checkCluster(s).map((f) => `${f.code} ${f.object}`);

describe("check", () => {
  test("finds nothing where everything fits, by the API, by agents, by both", () => {
    expect(codes(state())).toEqual([]);
    expect(codes({ ...state(), api: undefined, agents: [AGENT] })).toEqual([]);
    expect(codes(state({}, [agent("n2")]))).toEqual([]);
  });

  const wrong: readonly [string, Partial<ApiState>, string[]][] = [
    [
      "one address in two pods",
      { pods: [...API.pods, pod("d", "n1", "10.244.1.5")] },
      ["address-twice address 10.244.1.5"],
    ],
    [
      "one address in two pods, one of which has ended, or is the node's own",
      {
        pods: [
          ...API.pods,
          { ...pod("d", "n1", "10.244.1.5"), ended: true },
          { ...pod("e", "n1", "10.244.1.5"), hostNetwork: true },
        ],
      },
      [],
    ],
    [
      "a pod that nobody holds an address for",
      { pods: [...API.pods, pod("d", "n1", "10.5.0.9")] },
      ["pod-without-lease pod shop/d"],
    ],
    [
      "a pod that is younger than the copy, or so young that nobody can know",
      {
        pods: [
          ...API.pods,
          { ...pod("d", "n1", "10.5.0.9"), created: NOW - 200_000 },
          { ...pod("e", "n1", "10.5.0.10"), created: NOW - 1000 },
        ],
      },
      [],
    ],
    [
      "a pod that came a moment before its copy was written",
      {
        pods: [...API.pods, { ...pod("d", "n1", "10.5.0.9"), created: NOW - 1000 }],
        blocks: API.blocks.map((b) => ({ ...b, reported: NOW - 500 })),
      },
      [],
    ],
    [
      "a pod in no range",
      { pods: [...API.pods, pod("d", "n1", "192.0.2.7")] },
      ["pod-outside-ranges pod shop/d"],
    ],
    [
      "a pod of a node that another network serves",
      {
        nodes: [...API.nodes, { name: "x", podCIDRs: [], isOthers: true }],
        pods: [...API.pods, pod("d", "x", "192.0.2.7")],
      },
      [],
    ],
    [
      "an allocation without a pod",
      { pods: API.pods.slice(0, 1) },
      ["lease-without-pod IPBlock 10-5-0-0-26"],
    ],
    [
      "a block outside of its pool",
      { blocks: [...API.blocks, block("10.6.0.0/26", "n1")] },
      ["block-outside-pool IPBlock 10-6-0-0-26"],
    ],
    [
      "a block of a pool that is gone",
      { blocks: [...API.blocks, block("10.5.1.0/26", "n1", { poolUid: "before" })] },
      ["block-outside-pool IPBlock 10-5-1-0-26"],
    ],
    [
      "blocks that overlap each other and a node's range",
      {
        blocks: [
          ...API.blocks,
          block("10.5.0.32/27", "n2"),
          block("10.244.2.64/26", "n1", { poolUid: "pu" }),
        ],
      },
      [
        "block-outside-pool IPBlock 10-244-2-64-26",
        "ranges-overlap IPBlock 10-5-0-0-26",
        "ranges-overlap Node n2",
      ],
    ],
    [
      "a block and a loan of a node that is gone",
      { nodes: API.nodes.slice(0, 1), pods: API.pods.slice(0, 2) },
      ["loan-of-gone-node IPBlock 10-5-0-0-26"],
    ],
    [
      "a block of a node that is gone",
      { blocks: [...API.blocks, block("10.5.2.0/26", "n9")] },
      ["node-gone IPBlock 10-5-2-0-26"],
    ],
    [
      "a block without a node, of which nothing is on loan",
      { blocks: [...API.blocks, block("10.5.2.0/26", undefined)] },
      ["node-gone IPBlock 10-5-2-0-26"],
    ],
    [
      "loans that nobody answered, or took back",
      {
        blocks: [
          ...API.blocks,
          block("10.5.2.0/26", "n1", {
            loans: [loan("n2", undefined), loan("n2", "10.5.2.3", { returned: true })],
          }),
        ],
      },
      ["loan-unanswered IPBlock 10-5-2-0-26", "loan-unanswered IPBlock 10-5-2-0-26"],
    ],
    [
      "a pool that is not ready, an object that cannot be read",
      {
        pools: [{ ...pool, ready: false, notReady: "OverlapsPool: it overlaps q" }],
        faults: ["IPPool q: x"],
      },
      ["object-unreadable objects of the API", "pool-not-ready IPPool p"],
    ],
  ];
  for (const [what, api, expected] of wrong) test(what, () => expect(codes(state(api))).toEqual(expected));

  test("ledgers of agents against the API, and against each other", () => {
    const without = agent("n1", { ...AGENT, leases: AGENT.leases.slice(0, 1) });
    expect(codes(state({}, [without]))).toEqual([
      "copy-differs IPBlock 10-5-0-0-26",
      "pod-without-lease pod shop/b",
    ]);
    const both = [
      AGENT,
      agent("n2", { leases: AGENT.leases.slice(1).map((l) => ({ ...l, origin: origin("n2", "x") })) }),
    ];
    expect(codes({ ...state(), api: undefined, agents: both })).toEqual(["address-twice address 10.5.0.3"]);
    const elsewhere = API.pods.map((p) => (p.name === "a" ? { ...p, node: "n2", ips: [] } : p));
    expect(codes(state({ pods: elsewhere }, [AGENT]))).toEqual(["lease-without-pod address 10.244.1.5"]);
    expect(codes(state({ pods: API.pods.slice(1) }, [AGENT]))).toEqual([
      "lease-without-pod address 10.244.1.5",
    ]);
    const young = AGENT.leases.map((l) => ({ ...l, origin: { ...l.origin, since: NOW - 1000 } }));
    expect(codes(state({ pods: API.pods.slice(1) }, [{ ...AGENT, leases: young }]))).toEqual([]);
    const finding = {
      key: "k",
      code: "sandbox-lives" as const,
      object: "pod shop/q",
      addresses: [],
      message: "it lives",
      remedy: "End it.",
      origin: undefined,
      since: 1,
      due: undefined,
      needsPerson: true,
    };
    expect(
      codes(state({}, [agent("n2", { findings: [finding, { ...finding, needsPerson: false }] })])),
    ).toEqual(["agent-finding pod shop/q on node n2"]);
  });

  test("ten thousand blocks and thirty thousand pods are looked at in a moment", () => {
    const blocks = Array.from({ length: 10_000 }, (_, i) =>
      block(`10.${5 + (i >> 10)}.${(i >> 2) & 255}.${(i & 3) * 64}/26`, "n1"),
    );
    const pods = Array.from({ length: 30_000 }, (_, i) =>
      pod(
        `p${i}`,
        "n1",
        `10.${5 + ((i / 3) >> 10)}.${((i / 3) >> 2) & 255}.${(Math.floor(i / 3) & 3) * 64 + 5 + (i % 3)}`,
      ),
    );
    const big = state({ blocks, pods, pools: [{ ...pool, cidr: parsePrefix("10.0.0.0/8") }] });
    expect(checkCluster(big)).toHaveLength(30_000);
  });
});

describe("show", () => {
  test("how full pools and nodes are, by the API and by agents", () => {
    const { pools, nodes } = usageReport(state(), () => 60);
    expect(pools).toEqual([
      {
        pool: "p",
        cidr: parsePrefix("10.5.0.0/16"),
        blockSize: 26,
        size: 65_534,
        used: 3,
        blocks: 1,
        nodes: 1,
        loans: 1,
        fullest: { node: "n1", used: 3, size: 63 },
        left: 60,
        state: "ready",
      },
    ]);
    expect(nodes.map((n) => [n.node, n.range as string, n.used, n.by])).toEqual([
      ["n1", "10.244.1.0/24", 1, "pods"],
      ["n1", "fd00:1::/64", 1, "pods"],
      ["n2", "10.244.2.0/24", 0, "pods"],
    ]);
    const agents = usageReport({ ...state(), api: undefined, agents: [AGENT] });
    expect(agents.pools).toMatchObject([{ pool: "p", used: 3, size: 63, blocks: 1, loans: 1 }]);
    expect(agents.nodes).toMatchObject([{ node: "n1", used: 1, by: "agent" }]);
  });

  test("who has an address, since when, of which block, and who had it before", () => {
    const answer = find(state({}, [AGENT]), "10.244.1.5");
    expect(answer).toMatchObject({
      kind: "address",
      holdings: [
        { by: "agent", state: "ready", origin: { pod: "shop/a", containerId: "container-a", since: OLD } },
        { by: "Pod", origin: { pod: "shop/a", node: "n1" } },
      ],
      former: [{ origin: { pod: "shop/z" }, until: 9, why: "its network namespace is gone" }],
      range: { prefix: "10.244.1.0/24", node: "n1" },
    });
    expect(find(state(), "10.5.0.4")?.holdings.map((h) => [h.by, h.state, h.origin.node])).toEqual([
      ["IPBlock", "on loan", "n2"],
      ["Pod", "in its status", "n2"],
    ]);
    expect(find(state(), "10.5.0.1")?.holdings).toMatchObject([
      { state: "end of a tunnel", origin: { node: "n1" } },
    ]);
    expect(find(state(), "10.5.9.9")).toMatchObject({ holdings: [], range: { pool: "p", node: undefined } });
    expect(find(state(), "192.0.2.1")).toMatchObject({ holdings: [], range: undefined });
  });

  test("what a pool, a block, a node, a pod and a container have", () => {
    const all = state({}, [AGENT]);
    const addresses = (what: string): (string | IpAddress)[] | undefined =>
      find(all, what) === undefined
        ? undefined
        : [...new Set(find(all, what)?.holdings.map((h) => h.address))].sort();
    expect(addresses("p")).toEqual(["10.5.0.1", "10.5.0.3", "10.5.0.4"]);
    for (const name of ["10.5.0.0/26", "10-5-0-0-26"])
      expect(addresses(name)).toEqual(["10.5.0.1", "10.5.0.3", "10.5.0.4"]);
    expect(addresses("n2")).toEqual(["10.5.0.4"]);
    expect(addresses("shop/a")).toEqual(["10.244.1.5", "fd00:1::5"]);
    expect(addresses("container-b")).toEqual(["10.5.0.3"]);
    for (const nothing of ["shop/none", "nothing", "10-9-0-0-26"]) expect(find(all, nothing)).toBeUndefined();
    expect(() => find(all, "10.5.0.7/26")).toThrow();
  });
});

test("an index of ranges finds the longest, as comparing with each does", () => {
  const octet = fc.integer({ min: 0, max: 3 });
  const prefix = fc
    .tuple(octet, octet, fc.integer({ min: 8, max: 32 }), fc.boolean())
    .map(([a, b, length, six]): Prefix => {
      const text = six ? `fd00::${a}:${b}` : `10.${a}.${b}.0`;
      return makePrefix(text, six ? length + 96 : length);
    });
  fc.assert(
    fc.property(fc.array(prefix, { maxLength: 20 }), octet, octet, fc.boolean(), (prefixes, a, b, six) => {
      const address = ip(six ? `fd00::${a}:${b}` : `10.${a}.${b}.1`);
      const index = new RangeIndex(prefixes, (p) => p);
      const inside = prefixes.filter((p) => contains(p, address)).sort((x, y) => lengthOf(y) - lengthOf(x));
      expect(index.of(address)).toEqual(inside[0] as Prefix);
    }),
  );
});

const lengthOf = (p: string): number => Number(p.split("/")[1]);
