/** Which rows a peer costs: families, mixed underlays, neighbours and tables, as they change. */
import { expect, test } from "bun:test";
import { familyOf, parseIp, parseIpWithLength, parsePrefix } from "@weft/base";
import {
  DEFAULT_SETTINGS,
  type NodeNetwork,
  type PlanRow,
  type Settings,
  type UnderlayLink,
} from "@weft/model";
import { createFabric, type Fabric, type Fact } from "../fabric/fabric.ts";
import { TUNNEL_TABLE } from "./vxlan/vxlan.ts";

interface Given {
  readonly at: readonly string[];
  readonly blocks: readonly string[];
}

function fabric(
  self: Given,
  peers: Readonly<Record<string, Given>>,
  settings: Partial<Settings> = {},
): Fabric {
  const f = createFabric((error) => {
    throw error;
  });
  const uplink: UnderlayLink = {
    name: "eth0",
    index: 2,
    mtu: 1500,
    up: true,
    addresses: self.at.map((a) => parseIpWithLength(`${a}/${a.includes(":") ? 64 : 24}`)),
    acceptsRouterAdvertisements: true,
  };
  f.database.write(() => {
    f.self.put({
      key: "self",
      name: "n1",
      settings: { ...DEFAULT_SETTINGS, ...settings },
      capabilities: { kernel: "6.1.0", vxlan: true, brokenVxlanChecksumOffload: false },
    });
    f.underlay.put(uplink);
    for (const [name, given] of Object.entries({ n1: self, ...peers })) put(f, name, given);
  });
  return f;
}

function put(f: Fabric, name: string, { at, blocks }: Given): void {
  const origin = { kind: "Node", name };
  f.nodes.put({ name, addresses: at.map(parseIp), origin });
  for (const block of [...f.blocks.where("node", name)]) f.blocks.delete(block.prefix);
  for (const prefix of blocks) f.blocks.put({ prefix: parsePrefix(prefix), node: name, origin });
}

const facts = (f: Fabric): Fact[] => f.facts.flatMap((t) => [...t.rows()]);
const rows = (f: Fabric): PlanRow[] => facts(f).flatMap((fact) => (fact.type === "row" ? [fact.row] : []));
const problems = (f: Fabric): string[] =>
  facts(f).flatMap((fact) => (fact.type === "problem" ? [fact.problem.message] : []));
const paths = (f: Fabric): string[] =>
  facts(f).flatMap((x) => (x.type === "path" ? [`${x.path.block} ${x.path.backend} ${x.path.via}`] : []));
const context = (f: Fabric) => facts(f).flatMap((x) => (x.type === "context" ? [x.context] : []))[0];
/** Peers' own addresses that are reached through the tunnel. */
const throughTunnel = (f: Fabric): string[] =>
  rows(f).flatMap((r) => (r.kind === "route" && r.table === TUNNEL_TABLE ? [r.destination as string] : []));

const SELF: Given = {
  at: ["198.18.1.11", "fd57:eff7:0:1::11"],
  blocks: ["10.244.1.0/24", "fd00:10:244:1::/64"],
};
const BLOCKS = ["10.244.2.0/24", "fd00:10:244:2::/64"];

test("auto: a peer's own address is reached through the tunnel in each family in which it is far", () => {
  const told = (at: readonly string[], blocks = BLOCKS) =>
    throughTunnel(fabric(SELF, { n2: { at, blocks } }));
  expect(told(["198.18.1.12", "fd57:eff7:0:1::12"])).toEqual([]);
  expect(told(["198.18.1.12", "fd57:eff7:0:2::12"])).toEqual(["fd57:eff7:0:2::12/128"]);
  expect(told(["198.18.2.12", "fd57:eff7:0:1::12"])).toEqual(["198.18.2.12/32"]);
  expect(told(["198.18.2.12", "fd57:eff7:0:2::12"])).toEqual(["198.18.2.12/32", "fd57:eff7:0:2::12/128"]);
  // Pods of one family have no way to an address of the other, and no need of one.
  expect(told(["198.18.2.12", "fd57:eff7:0:2::12"], ["fd00:10:244:2::/64"])).toEqual([
    "fd57:eff7:0:2::12/128",
  ]);
  expect(told(["198.18.2.12", "fd57:eff7:0:2::12"], ["10.244.2.0/24"])).toEqual(["198.18.2.12/32"]);
});

test("auto: a peer near in one family and far in the other is reached both ways", () => {
  const f = fabric(SELF, { n2: { at: ["198.18.1.12", "fd57:eff7:0:2::12"], blocks: BLOCKS } });
  expect(paths(f)).toEqual(["10.244.2.0/24 direct 198.18.1.12", "fd00:10:244:2::/64 vxlan 198.18.1.12"]);
  expect(rows(f).filter((r) => r.kind === "forwarding")).toMatchObject([{ remote: "198.18.1.12" }]);
  expect(problems(f)).toEqual([]);
});

test("a peer that another network serves has a path by nobody, and no row leads there; when it is moved, all do", () => {
  for (const backend of ["auto", "vxlan", "direct"] as const) {
    const f = fabric(SELF, { n2: { at: ["198.18.1.12", "fd57:eff7:0:1::12"], blocks: BLOCKS } }, { backend });
    const moved = { rows: rows(f), paths: paths(f) };
    const node = f.nodes.get("n2");
    const label = (network: NodeNetwork): void =>
      f.database.write(() => {
        if (node !== undefined) f.nodes.put({ ...node, network });
      });
    label("other");
    expect(paths(f)).toEqual(BLOCKS.map((block) => `${block} none undefined`));
    expect(problems(f)).toEqual([]);
    const leads = rows(f).filter(
      (r) => r.kind === "route" || r.kind === "neighbour" || r.kind === "forwarding",
    );
    expect(leads.filter((r) => r.origin.name === "n2")).toEqual([]);
    // Its pods are pods all the same: nothing is translated to them.
    expect(rows(f).filter((r) => r.kind === "masquerade-inside" && r.origin.name === "n2")).toHaveLength(4);
    label("weft");
    expect({ rows: rows(f), paths: paths(f) }).toEqual(moved);
    expect(context(f)?.exclusive).toBe(false);
  }
});

test("a node that is Weft's in a cluster on the move wants no other configuration first", () => {
  const f = fabric(SELF, {});
  const node = f.nodes.get("n1");
  f.database.write(() => {
    if (node !== undefined) f.nodes.put({ ...node, network: "weft" });
  });
  expect(context(f)?.exclusive).toBe(true);
});

test("a peer with IPv6 blocks alone", () => {
  const far = fabric(SELF, { n2: { at: ["198.18.2.12"], blocks: ["fd00:10:244:2::/64"] } });
  expect(paths(far)).toEqual(["fd00:10:244:2::/64 vxlan 198.18.2.12"]);
  expect(rows(far).filter((r) => r.kind === "neighbour")).toMatchObject([{ ip: "fd00:10:244:2::1" }]);
  const near = fabric(SELF, { n2: { at: ["fd57:eff7:0:1::12"], blocks: ["fd00:10:244:2::/64"] } });
  expect(paths(near)).toEqual(["fd00:10:244:2::/64 direct fd57:eff7:0:1::12"]);
  expect(problems(near)).toEqual([]);
});

test("nodes whose tunnels would be of different families both say so, and neither sends into nowhere", () => {
  const dual: Given = SELF;
  const six: Given = { at: ["fd57:eff7:0:2::12"], blocks: BLOCKS };
  const vxlan = { backend: "vxlan" } as const;
  const seen = fabric(dual, { n2: six }, vxlan);
  expect(paths(seen)).toEqual([]);
  expect(problems(seen)[0]).toContain("node n1 sends tunnel packets over IPv4, node n2 over IPv6");
  const back = fabric(
    { at: ["fd57:eff7:0:2::12"], blocks: BLOCKS },
    { n2: { ...dual, blocks: SELF.blocks } },
    vxlan,
  );
  expect(paths(back)).toEqual([]);
  expect(problems(back)[0]).toContain("node n1 sends tunnel packets over IPv6, node n2 over IPv4");
  expect(rows(back).filter((r) => r.kind === "forwarding")).toEqual([]);
  // Told to use the family that both have, they do.
  const both = fabric(
    dual,
    { n2: six },
    { ...vxlan, vxlan: { ...DEFAULT_SETTINGS.vxlan, underlay: "ipv6" } },
  );
  expect(paths(both)).toHaveLength(2);
});

test("two peers that swap their addresses swap their forwarding entries, and nothing else of theirs", () => {
  const [a, b] = [["198.18.2.12"], ["198.18.2.13"]];
  const f = fabric(SELF, {
    n2: { at: a, blocks: ["10.244.2.0/24"] },
    n3: { at: b, blocks: ["10.244.3.0/24"] },
  });
  const entries = () =>
    rows(f)
      .flatMap((r) => (r.kind === "forwarding" ? [`${r.origin.name} ${r.remote}`] : []))
      .sort();
  expect(entries()).toEqual(["n2 198.18.2.12", "n3 198.18.2.13"]);
  const touched: string[] = [];
  for (const t of f.facts) t.watch(({ changes }) => touched.push(...changes.map((c) => c.key)));
  f.database.write(() => {
    put(f, "n2", { at: b, blocks: ["10.244.2.0/24"] });
    put(f, "n3", { at: a, blocks: ["10.244.3.0/24"] });
  });
  expect(entries()).toEqual(["n2 198.18.2.13", "n3 198.18.2.12"]);
  expect(touched.filter((key) => /neighbour|route 10\.244/.test(key))).toEqual([]);
});

test("a node without an IPv6 address sends to its IPv6 pods from the tunnel's, where there is a tunnel", () => {
  const four: Given = { at: ["198.18.1.11"], blocks: SELF.blocks };
  for (const backend of ["auto", "vxlan"] as const) {
    expect(context(fabric(four, {}, { backend }))?.sources).toEqual({
      4: parseIp("198.18.1.11"),
      6: parseIp("fd00:10:244:1::1"),
    });
  }
  expect(context(fabric(four, {}, { backend: "direct" }))?.sources).toEqual({ 4: parseIp("198.18.1.11") });
  const six: Given = { at: ["fd57:eff7:0:1::11"], blocks: SELF.blocks };
  expect(context(fabric(six, {}))?.sources).toEqual({
    4: parseIp("10.244.1.1"),
    6: parseIp("fd57:eff7:0:1::11"),
  });
});

test("of several blocks the lowest has the tunnel's address; no pod gets what would be it without that one", () => {
  const f = fabric(
    { ...SELF, blocks: ["10.244.7.0/24", "10.244.1.0/24", "10.244.0.4/31", "fd00:7::/64"] },
    {},
  );
  expect(context(f)?.reserved).toEqual(["10.244.1.1", "10.244.7.1", "fd00:7::1"].map(parseIp));
  const addresses = () => rows(f).flatMap((r) => (r.kind === "address" ? [r.address as string] : []));
  expect(addresses()).toEqual(["10.244.1.1/32", "fd00:7::1/128"]);
  f.database.write(() => f.blocks.delete(parsePrefix("10.244.1.0/24")));
  expect(addresses()).toEqual(["10.244.7.1/32", "fd00:7::1/128"]);
});

/** A block of a pool, or an address on loan from one. */
function pooled(f: Fabric, node: string, prefix: string, tunnel?: string, lentFrom?: string): void {
  const block = {
    prefix: parsePrefix(prefix),
    node,
    pool: "p",
    ...(tunnel === undefined ? {} : { tunnelAddress: parseIp(tunnel) }),
    ...(lentFrom === undefined ? {} : { lentFrom: parsePrefix(lentFrom) }),
    origin: { kind: "IPBlock", name: prefix },
  };
  f.database.write(() => f.blocks.put(block));
}
const routes = (f: Fabric): string[] =>
  rows(f).flatMap((r) =>
    r.kind === "route" && r.table === 254
      ? [`${r.destination} ${r.type} via ${r.gateway} src ${r.source}`]
      : [],
  );

test("pools: the end of the tunnel is what a block says, but for nodes that have podCIDRs of the family", () => {
  const f = fabric(
    { at: SELF.at, blocks: [] },
    { n2: { at: ["198.18.2.12"], blocks: [] } },
    { backend: "vxlan" },
  );
  pooled(f, "n2", "10.8.2.0/26", "10.8.2.9");
  expect(routes(f)).toEqual(["10.8.2.0/26 unreachable via undefined src undefined"]);
  expect(problems(f)[0]).toContain("node n1 has no IPv4 block for its end of the tunnel");
  pooled(f, "n1", "10.8.1.0/26", "10.8.1.7");
  expect(problems(f)).toEqual([]);
  expect(routes(f)).toContain("10.8.2.0/26 unicast via 10.8.2.9 src 10.8.1.7");
  expect(context(f)?.reserved).toEqual([parseIp("10.8.1.7")]);
  // It moves: the new block says so, and for a moment both do.
  pooled(f, "n1", "10.8.0.64/26", "10.8.0.65");
  expect(routes(f)).toContain("10.8.2.0/26 unicast via 10.8.2.9 src 10.8.0.65");
  pooled(f, "n1", "10.8.1.0/26");
  expect(routes(f)).toContain("10.8.2.0/26 unicast via 10.8.2.9 src 10.8.0.65");
  // A podCIDR comes: from then on it is what both ends derive.
  f.database.write(() =>
    f.blocks.put({ prefix: parsePrefix("10.244.1.0/24"), node: "n1", origin: { kind: "Node", name: "n1" } }),
  );
  expect(routes(f)).toContain("10.8.2.0/26 unicast via 10.8.2.9 src 10.244.1.1");
  expect(context(f)?.reserved).toEqual(["10.8.0.65", "10.244.1.1"].map(parseIp));
  // A peer that has not said which it is cannot be reached yet.
  pooled(f, "n2", "10.8.2.0/26");
  expect(problems(f)[0]).toContain("node n2 has not said yet which address its end of the tunnel has");
});

test("loans: the borrower's address is routed to it from everywhere, the lender too, and ends there", () => {
  const all = { n2: { at: ["198.18.1.12"], blocks: [] }, n3: { at: ["198.18.2.13"], blocks: [] } };
  const f = fabric({ at: ["198.18.1.11"], blocks: [] }, all);
  pooled(f, "n1", "10.8.1.0/26", "10.8.1.1");
  pooled(f, "n2", "10.8.2.0/26", "10.8.2.1");
  pooled(f, "n3", "10.8.2.7/32", "10.8.2.7", "10.8.2.0/26");
  pooled(f, "n1", "10.8.2.8/32", undefined, "10.8.2.0/26");
  pooled(f, "n2", "10.8.1.9/32", undefined, "10.8.1.0/26");
  expect(problems(f)).toEqual([]);
  expect(routes(f).sort()).toEqual([
    // Own: a block and a loan.
    "10.8.1.0/26 unreachable via undefined src undefined",
    // Lent by this node, to a neighbour.
    "10.8.1.9/32 unicast via 198.18.1.12 src 198.18.1.11",
    "10.8.2.0/26 unicast via 198.18.1.12 src 198.18.1.11",
    "10.8.2.7/32 unicast via 10.8.2.7 src 10.8.1.1",
    "10.8.2.8/32 unreachable via undefined src undefined",
  ]);
  // What pods at borrowed addresses send to nodes behind the tunnel finds the tunnel's table.
  const rules = rows(f).flatMap((r) => (r.kind === "rule" ? [String(r.from)] : []));
  expect(rules.sort()).toEqual(["10.8.1.0/26", "10.8.2.8/32"]);
  expect(context(f)?.blocks.map((b) => b.prefix)).toEqual(["10.8.1.0/26", "10.8.2.8/32"].map(parsePrefix));
});

test("pools: a second family that comes live brings sysctls, tunnel and sources, and takes nothing away", () => {
  const far = { n2: { at: ["198.18.2.12", "fd57:eff7:0:2::12"], blocks: ["10.244.2.0/24"] } };
  const f = fabric({ at: SELF.at, blocks: ["10.244.1.0/24"] }, far);
  const before = rows(f);
  pooled(f, "n1", "fd00:8::40/122", "fd00:8::41");
  pooled(f, "n2", "fd00:8::80/122", "fd00:8::81");
  for (const row of before) expect(rows(f)).toContainEqual(row);
  const added = rows(f).filter((r) => !before.some((b) => Bun.deepEquals(b, r)));
  expect(added.map((r): string => r.kind).sort()).toEqual(
    [
      "sysctl",
      "sysctl",
      "route",
      "masquerade-source",
      "address",
      "rule",
      "neighbour",
      "route",
      "route",
      "masquerade-inside",
      "masquerade-inside",
    ].sort(),
  );
  expect(throughTunnel(f)).toEqual(["198.18.2.12/32", "fd57:eff7:0:2::12/128"]);
  expect(context(f)?.sources).toEqual({ 4: parseIp("198.18.1.11"), 6: parseIp("fd57:eff7:0:1::11") });
});

test("a block of a pool is inside of the cluster without being listed; one of nobody is a problem with a way out", () => {
  const clusterCIDRs = [parsePrefix("10.244.0.0/16"), parsePrefix("fd00:10:244::/48")];
  const f = fabric(SELF, {}, { clusterCIDRs });
  pooled(f, "n1", "10.8.1.0/26", "10.8.1.1");
  expect(problems(f)).toEqual([]);
  pooled(f, "gone", "10.8.2.0/26");
  expect(problems(f)).toEqual(["block 10.8.2.0/26 belongs to node gone, which does not exist"]);
});

test("a family that no pod of the node has is left as the machine has it", () => {
  const sysctls = (blocks: readonly string[]) =>
    rows(fabric({ ...SELF, blocks }, {})).flatMap((r) =>
      r.kind === "sysctl" ? [`${r.stage} ${r.key}`] : [],
    );
  expect(sysctls(["10.244.1.0/24"])).toEqual(["1 net/ipv4/ip_forward"]);
  expect(sysctls(["fd00:10:244:1::/64"])).toEqual([
    "0 net/ipv6/conf/eth0/accept_ra",
    "1 net/ipv6/conf/all/forwarding",
  ]);
  expect(sysctls([])).toEqual([]);
});

test("a block outside of clusterCIDRs is told, and routed all the same", () => {
  const clusterCIDRs = [parsePrefix("10.244.0.0/16"), parsePrefix("fd00:10:244::/48")];
  const peers = { n2: { at: ["198.18.1.12"], blocks: ["10.99.0.0/24"] } };
  const f = fabric(SELF, peers, { clusterCIDRs });
  expect(problems(f)).toEqual([
    "block 10.99.0.0/24 of node n2 lies outside of clusterCIDRs (10.244.0.0/16, fd00:10:244::/48)",
  ]);
  expect(paths(f)).toEqual(["10.99.0.0/24 direct 198.18.1.12"]);
  f.database.write(() => {
    const self = f.self.get("self");
    if (self !== undefined) f.self.put({ ...self, settings: { ...self.settings, clusterCIDRs: [] } });
  });
  expect(problems(f)).toEqual([]);
});

test("every route of the tunnel's table is of a family that the node has a rule for", () => {
  const f = fabric(SELF, { n2: { at: ["198.18.2.12", "fd57:eff7:0:2::12"], blocks: BLOCKS } });
  const families = new Set(rows(f).flatMap((r) => (r.kind === "rule" ? [familyOf(r.from)] : [])));
  for (const destination of throughTunnel(f)) expect(families.has(familyOf(destination))).toBe(true);
});
