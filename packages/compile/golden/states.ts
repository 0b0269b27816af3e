/**
 * Named states of one node, n1, and the plan that the compiler makes of each. The plans are kept in
 * plans.golden.json, which the tests of what applies plans read too: whatever is here is moved to and from there.
 */
import { type IpAddress, macFromSeed, parseIp, parseIpWithLength, parsePrefix } from "@weft/base";
import {
  type Block,
  blockName,
  DEFAULT_SETTINGS,
  type IpPool,
  type Node,
  type PlanRow,
  type Problem,
  type Settings,
  type UnderlayLink,
  type Workload,
} from "@weft/model";
import { createFabric } from "../fabric/fabric.ts";
import { attachmentRows } from "../links/attachment.ts";

export interface State {
  readonly settings?: Partial<Settings>;
  readonly mtu?: number;
  /** Addresses of the uplink with their lengths; the node has the same ones. */
  readonly uplink: readonly string[];
  readonly blocks: readonly string[];
  readonly peers?: Readonly<
    Record<string, { readonly at: readonly string[]; readonly blocks: readonly string[] }>
  >;
  /** By name: range, and whether its pods are translated when settings say otherwise. */
  readonly pools?: Readonly<Record<string, { readonly cidr: string; readonly natOutgoing?: boolean }>>;
  readonly poolBlocks?: readonly PoolBlock[];
  /** Containers by name, with their addresses. */
  readonly pods?: Readonly<Record<string, readonly string[]>>;
}

/** A block of a pool, or an address that is lent from one. */
interface PoolBlock {
  readonly prefix: string;
  readonly node: string;
  readonly pool: string;
  readonly tunnel?: string;
  readonly lentFrom?: string;
}

export interface GoldenPlan {
  readonly mtu: number;
  readonly uplink: readonly string[];
  readonly problems: readonly string[];
  readonly rows: readonly PlanRow[];
}

const DUAL = ["198.18.1.11/24", "fd57:eff7:0:1::11/64"];
const BLOCKS = ["10.244.1.0/24", "fd00:10:244:1::/64"];
const PODS = {
  b: ["10.244.1.5", "fd00:10:244:1::5"],
  c: ["10.244.1.6", "fd00:10:244:1::6"],
};
const peer = (number: number, subnet: number, host: number) => ({
  at: [`198.18.${subnet}.${host}`, `fd57:eff7:0:${subnet}::${host}`],
  blocks: [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`],
});
const NEAR = { n2: peer(2, 1, 12), n3: peer(3, 1, 13), n4: peer(4, 1, 14) };
const FAR = { n2: peer(2, 1, 12), n3: peer(3, 2, 13), n4: peer(4, 2, 14) };
const base: State = { uplink: DUAL, blocks: BLOCKS, pods: PODS, peers: FAR };
const vxlan = (more: Partial<Settings["vxlan"]> = {}): Partial<Settings> => ({
  backend: "vxlan",
  vxlan: { ...DEFAULT_SETTINGS.vxlan, ...more },
});

/** Nodes without podCIDRs: all that they have is of pools. */
const bare = (at: { readonly at: readonly string[] }) => ({ at: at.at, blocks: [] });
const POOLED: State = {
  uplink: DUAL,
  blocks: [],
  peers: { n2: bare(FAR.n2), n3: bare(FAR.n3), n4: bare(FAR.n4) },
  pools: { p4: { cidr: "10.200.0.0/16" }, p6: { cidr: "fd00:200::/64" } },
  poolBlocks: [
    { prefix: "10.200.1.0/26", node: "n1", pool: "p4", tunnel: "10.200.1.7" },
    { prefix: "10.200.2.0/26", node: "n2", pool: "p4", tunnel: "10.200.2.1" },
    { prefix: "10.200.3.0/26", node: "n3", pool: "p4", tunnel: "10.200.3.1" },
    { prefix: "fd00:200::100/122", node: "n1", pool: "p6", tunnel: "fd00:200::101" },
    { prefix: "fd00:200::200/122", node: "n2", pool: "p6", tunnel: "fd00:200::201" },
    { prefix: "fd00:200::300/122", node: "n3", pool: "p6", tunnel: "fd00:200::301" },
  ],
  pods: { b: ["10.200.1.5", "fd00:200::105"] },
};
/** Lent by n3: one to n1, one to n4, which has nothing else. Lent by n1: one to n2. */
const LOANS: readonly PoolBlock[] = [
  { prefix: "10.200.3.9/32", node: "n1", pool: "p4", lentFrom: "10.200.3.0/26" },
  { prefix: "10.200.3.10/32", node: "n4", pool: "p4", tunnel: "10.200.3.10", lentFrom: "10.200.3.0/26" },
  { prefix: "10.200.3.11/32", node: "n4", pool: "p4", lentFrom: "10.200.3.0/26" },
  { prefix: "10.200.1.9/32", node: "n2", pool: "p4", lentFrom: "10.200.1.0/26" },
];
const LENT: State = {
  ...POOLED,
  poolBlocks: [...(POOLED.poolBlocks ?? []), ...LOANS],
  pods: { ...POOLED.pods, c: ["10.200.3.9"] },
};

export const STATES: Readonly<Record<string, State>> = {
  "a node without pods": { uplink: DUAL, blocks: BLOCKS },
  "one pod, IPv4": { uplink: ["198.18.1.11/24"], blocks: ["10.244.1.0/24"], pods: { a: ["10.244.1.4"] } },
  "one pod, IPv6": {
    uplink: ["fd57:eff7:0:1::11/64"],
    blocks: ["fd00:10:244:1::/64"],
    pods: { d: ["fd00:10:244:1::7"] },
  },
  "dual pods": { uplink: DUAL, blocks: BLOCKS, pods: PODS },
  "three peers, direct": { ...base, peers: NEAR },
  "three peers, mixed": base,
  "three peers, vxlan": { ...base, settings: vxlan() },
  "vxlan, other vni": { ...base, settings: vxlan({ vni: 77 }) },
  "vxlan, other port": { ...base, settings: vxlan({ port: 8472 }) },
  "vxlan, checksums": { ...base, settings: vxlan({ checksum: "on", offload: "off" }) },
  "vxlan over IPv6": { ...base, settings: vxlan({ underlay: "ipv6" }) },
  "vxlan, jumbo frames": { ...base, settings: vxlan(), mtu: 9000 },
  "vxlan, mtu set": { ...base, settings: { ...vxlan(), mtu: 1400 } },
  "direct only": { ...base, settings: { backend: "direct" } },
  "the node has other addresses": { ...base, uplink: ["198.18.1.99/24", "fd57:eff7:0:1::99/64"] },
  "two peers swapped": { ...base, peers: { ...FAR, n3: peer(3, 2, 14), n4: peer(4, 2, 13) } },
  "a peer moved near": { ...base, peers: { ...FAR, n3: peer(3, 1, 33) } },
  "several blocks": {
    ...base,
    blocks: ["10.244.0.64/26", ...BLOCKS, "10.244.1.128/25", "fd00:10:244:0:8000::/80"],
    peers: {
      ...FAR,
      n3: { ...peer(3, 2, 13), blocks: ["10.244.3.0/24", "10.244.9.7/32", "fd00:10:244:3::/64"] },
    },
  },
  "IPv6 pods on an IPv4 node": {
    ...base,
    uplink: ["198.18.1.11/24"],
    peers: { n2: { at: ["198.18.1.12"], blocks: FAR.n2.blocks }, n3: FAR.n3 },
  },
  "IPv6 pods on an IPv4 node, direct": {
    ...base,
    settings: { backend: "direct" },
    uplink: ["198.18.1.11/24"],
    peers: NEAR,
  },
  "masquerade off": {
    ...base,
    settings: { masquerade: { ...DEFAULT_SETTINGS.masquerade, enabled: false } },
  },
  "masquerade, ranges and exclusions": {
    ...base,
    settings: {
      masquerade: {
        enabled: true,
        ranges: [{ range: parsePrefix("10.244.1.64/26"), enabled: false }],
        exclude: ["198.18.0.0/15", "10.244.3.0/25", "fd57:eff7::/32"].map(parsePrefix),
      },
    },
  },
  "clusterCIDRs hold the blocks": {
    ...base,
    settings: { clusterCIDRs: ["10.244.0.0/16", "fd00:10:244::/48"].map(parsePrefix) },
  },
  "pools alone, mixed": POOLED,
  "pools alone, vxlan": { ...POOLED, settings: vxlan() },
  "pools alone, direct": { ...POOLED, settings: { backend: "direct" }, peers: { n2: bare(NEAR.n2) } },
  "pools, addresses on loan": LENT,
  "pools, addresses on loan, vxlan": { ...LENT, settings: vxlan() },
  "pools, addresses on loan, direct": {
    ...LENT,
    settings: { backend: "direct" },
    peers: { n2: bare(NEAR.n2), n3: bare(NEAR.n3), n4: bare(NEAR.n4) },
  },
  "pools beside podCIDRs": { ...base, pools: POOLED.pools ?? {}, poolBlocks: LENT.poolBlocks ?? [] },
  "pools, the end of the tunnel has moved": {
    ...POOLED,
    poolBlocks: [
      ...(POOLED.poolBlocks ?? []).map((b) => (b.prefix === "10.200.1.0/26" ? { ...b, tunnel: "" } : b)),
      { prefix: "10.200.9.0/26", node: "n1", pool: "p4", tunnel: "10.200.9.1" },
    ],
  },
  "pools, one translated and one not": {
    ...POOLED,
    settings: { masquerade: { ...DEFAULT_SETTINGS.masquerade, enabled: false } },
    pools: {
      p4: { cidr: "10.200.0.0/16", natOutgoing: true },
      p6: { cidr: "fd00:200::/64", natOutgoing: false },
    },
  },
  "pools, clusterCIDRs do not hold them": {
    ...POOLED,
    settings: { clusterCIDRs: [parsePrefix("10.244.0.0/16")] },
  },
  "an uplink too small for IPv6": {
    uplink: ["198.18.1.11/24"],
    mtu: 1300,
    blocks: ["10.244.1.0/24"],
    pods: { a: ["10.244.1.4"] },
    peers: { n3: { at: ["198.18.2.13"], blocks: ["10.244.3.0/24"] } },
  },
};

export function compileState(state: State): GoldenPlan {
  const fabric = createFabric((error) => {
    throw error;
  });
  const mtu = state.mtu ?? 1500;
  const addresses = state.uplink.map(parseIpWithLength);
  const uplink: UnderlayLink = {
    name: "eth0",
    index: 2,
    mtu,
    up: true,
    addresses,
    acceptsRouterAdvertisements: false,
  };
  const node = (name: string, at: readonly string[]): Node => ({
    name,
    addresses: at.map(parseIp),
    origin: { kind: "Node", name },
  });
  const blocks = (name: string, prefixes: readonly string[]): Block[] =>
    prefixes.map((prefix, i) => ({
      prefix: parsePrefix(prefix),
      node: name,
      origin: { kind: "Node", name, field: `spec.podCIDRs[${i}]` },
    }));
  const pool = (name: string, cidr: string, natOutgoing: boolean | undefined): IpPool => ({
    name,
    uid: `uid-${name}`,
    cidr: parsePrefix(cidr),
    blockSize: cidr.includes(":") ? 122 : 26,
    nodeSelector: [],
    namespaceSelector: [],
    natOutgoing,
    disabled: false,
    ready: true,
    created: 0,
    origin: { kind: "IPPool", name },
  });
  const poolBlock = ({ prefix, node, pool, tunnel, lentFrom }: PoolBlock): Block => ({
    prefix: parsePrefix(prefix),
    node,
    pool,
    ...(tunnel ? { tunnelAddress: parseIp(tunnel) } : {}),
    ...(lentFrom === undefined ? {} : { lentFrom: parsePrefix(lentFrom) }),
    origin: { kind: "IPBlock", name: blockName(parsePrefix(lentFrom ?? prefix)) },
  });
  fabric.database.write(() => {
    for (const [name, { cidr, natOutgoing }] of Object.entries(state.pools ?? {}))
      fabric.pools.put(pool(name, cidr, natOutgoing));
    for (const block of state.poolBlocks ?? []) fabric.blocks.put(poolBlock(block));
    fabric.self.put({
      key: "self",
      name: "n1",
      settings: { ...DEFAULT_SETTINGS, ...state.settings },
      capabilities: { kernel: "6.1.0", vxlan: true, brokenVxlanChecksumOffload: false },
    });
    fabric.underlay.put(uplink);
    fabric.nodes.put(
      node(
        "n1",
        state.uplink.map((a) => a.slice(0, a.indexOf("/"))),
      ),
    );
    for (const block of blocks("n1", state.blocks)) fabric.blocks.put(block);
    for (const [name, { at, blocks: prefixes }] of Object.entries(state.peers ?? {})) {
      fabric.nodes.put(node(name, at));
      for (const block of blocks(name, prefixes)) fabric.blocks.put(block);
    }
  });
  const facts = fabric.facts.flatMap((table) => [...table.rows()]);
  const rows = facts.filter((f) => f.type === "row").map((f) => f.row);
  const problems = facts.filter((f) => f.type === "problem").map((f): Problem => f.problem);
  const context = facts.find((f) => f.type === "context")?.context;
  if (context !== undefined) {
    for (const [name, ips] of Object.entries(state.pods ?? {}))
      rows.push(...attachmentRows(workload(name, ips.map(parseIp)), context));
  }
  return { mtu, uplink: state.uplink, problems: problems.map((p) => p.message).sort(), rows };
}

const workload = (name: string, addresses: readonly IpAddress[]): Workload => ({
  id: `${name}/eth0`,
  network: "weft",
  containerId: name,
  interface: "eth0",
  namespacePath: name,
  namespaceIdentity: name,
  podNamespace: "default",
  podName: name,
  podUid: undefined,
  hostPorts: [],
  addresses,
  mac: macFromSeed(`pod ${name}`),
  hostLink: `weft0000000000${name}`,
  since: 0,
});
