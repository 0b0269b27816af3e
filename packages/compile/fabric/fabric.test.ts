import { expect, test } from "bun:test";
import { type IpAddress, parseIp, parseIpWithLength, parsePrefix, prefixIp } from "@weft/base";
import {
  type Block,
  type Capabilities,
  DEFAULT_SETTINGS,
  type IpPool,
  type Node,
  originText,
  type Settings,
  type UnderlayLink,
} from "@weft/model";
import fc from "fast-check";
import { createFabric, type Fabric, type Fact } from "./fabric.ts";

const capabilities: Capabilities = { kernel: "6.1.0", vxlan: true, brokenVxlanChecksumOffload: false };
const fresh = (): Fabric =>
  createFabric((error) => {
    throw error;
  });

function node(name: string, ...addresses: string[]): Node {
  return { name, addresses: addresses.map(parseIp), origin: { kind: "Node", name } };
}
function block(name: string, prefix: string, index = 0): Block {
  return {
    node: name,
    prefix: parsePrefix(prefix),
    origin: { kind: "Node", name, field: `spec.podCIDRs[${index}]` },
  };
}
const uplink: UnderlayLink = {
  name: "eth0",
  index: 2,
  mtu: 1500,
  up: true,
  addresses: [parseIpWithLength("198.18.1.11/24"), parseIpWithLength("fd57:eff7:0:1::11/64")],
  acceptsRouterAdvertisements: true,
};

/** Three nodes, dual stack: n1 and n2 on one subnet, n3 behind a router. */
function threeNodes(settings: Settings = DEFAULT_SETTINGS): Fabric {
  const f = fresh();
  f.database.write(() => {
    f.self.put({ key: "self", name: "n1", settings, capabilities });
    f.underlay.put(uplink);
    f.nodes.put(node("n1", "198.18.1.11", "fd57:eff7:0:1::11"));
    f.nodes.put(node("n2", "198.18.1.12", "fd57:eff7:0:1::12"));
    f.nodes.put(node("n3", "198.18.2.11", "fd57:eff7:0:2::11"));
    for (const i of [1, 2, 3]) {
      f.blocks.put(block(`n${i}`, `10.244.${i}.0/24`));
      f.blocks.put(block(`n${i}`, `fd00:10:244:${i}::/64`, 1));
    }
  });
  return f;
}

const facts = (f: Fabric): Fact[] => f.facts.flatMap((t) => [...t.rows()]);

/** One line a fact: what a reader compares in a review. */
function lines(f: Fabric): string[] {
  return facts(f)
    .map((fact) => {
      if (fact.type === "path") return `path ${fact.path.block} ${fact.path.backend} via ${fact.path.via}`;
      if (fact.type === "problem") return `problem ${fact.problem.message}`;
      if (fact.type === "context")
        return `context mtu ${fact.context.podMtu} reserved ${fact.context.reserved.join(" ")}`;
      const r = fact.row;
      const from = `<- ${originText(r.origin)}`;
      switch (r.kind) {
        case "route":
          return `route ${r.destination} ${r.type} table ${r.table} via ${r.gateway} dev ${r.link}${r.onlink ? " onlink" : ""} src ${r.source} metric ${r.metric} ${from}`;
        case "tunnel":
          return `tunnel ${r.name} vni ${r.vni} port ${r.port} local ${r.local} dev ${r.underlay} mtu ${r.mtu} checksum ${r.udpChecksum} ${from}`;
        case "forwarding":
          return `forwarding ${r.link} remote ${r.remote} ${from}`;
        case "neighbour":
          return `neighbour ${r.link} ${r.ip} ${from}`;
        case "address":
          return `address ${r.link} ${r.address} ${from}`;
        case "rule":
          return `rule from ${r.from} table ${r.table} ${from}`;
        case "sysctl":
          return `sysctl ${r.stage} ${r.key}=${r.value} ${from}`;
        case "masquerade-source":
        case "masquerade-inside":
          return `${r.kind} ${r.prefix} ${from}`;
        default:
          return `${r.kind} ${from}`;
      }
    })
    .sort();
}

test("auto: direct to the neighbour, VXLAN behind the router", () => {
  expect(lines(threeNodes())).toMatchSnapshot();
});
test("vxlan: everything through the tunnel", () => {
  expect(lines(threeNodes({ ...DEFAULT_SETTINGS, backend: "vxlan" }))).toMatchSnapshot();
});
test("direct: no device, and what is not reachable ends in unreachable with a problem", () => {
  expect(lines(threeNodes({ ...DEFAULT_SETTINGS, backend: "direct" }))).toMatchSnapshot();
});
test("vxlan over IPv6", () => {
  const settings: Settings = { ...DEFAULT_SETTINGS, vxlan: { ...DEFAULT_SETTINGS.vxlan, underlay: "ipv6" } };
  expect(lines(threeNodes(settings)).filter((l) => /tunnel|forwarding|context/.test(l))).toMatchSnapshot();
});

test("every unicast route carries a source, and every row an origin", () => {
  for (const backend of ["auto", "vxlan", "direct"] as const) {
    for (const fact of facts(threeNodes({ ...DEFAULT_SETTINGS, backend }))) {
      if (fact.type !== "row") continue;
      expect(fact.row.origin.name.length).toBeGreaterThan(0);
      if (fact.row.kind === "route" && fact.row.type === "unicast") expect(fact.row.source).toBeDefined();
    }
  }
});

test("a node address that is on no link is a problem that says so, and no rows", () => {
  const f = threeNodes();
  f.database.write(() => f.underlay.replaceAll([]));
  expect(lines(f)).toEqual(["problem node address 198.18.1.11 is on none of this machine's links"]);
});

test("an MTU that does not fit is refused; a smaller one is taken", () => {
  const mtu = (value: number) =>
    lines(threeNodes({ ...DEFAULT_SETTINGS, mtu: value })).filter((l) => /^(problem|context)/.test(l));
  expect(mtu(1451)[0]).toContain("mtu 1451 does not fit");
  expect(mtu(1400)[0]).toContain("context mtu 1400");
});

test("a kernel without VXLAN is named", () => {
  const f = threeNodes();
  f.database.write(() =>
    f.self.put({
      key: "self",
      name: "n1",
      settings: DEFAULT_SETTINGS,
      capabilities: { ...capabilities, vxlan: false },
    }),
  );
  expect(lines(f).filter((l) => l.startsWith("problem"))).toEqual([
    "problem this kernel (6.1.0) has no VXLAN",
  ]);
});

test("a change of one node touches that node's facts only", () => {
  const f = threeNodes();
  const touched: string[] = [];
  for (const t of f.facts) t.watch((b) => touched.push(...b.changes.map((c) => c.key)));
  f.database.write(() => f.nodes.put(node("n3", "198.18.2.99", "fd57:eff7:0:2::99")));
  expect(touched.sort()).toMatchSnapshot();
});

type Change =
  | {
      readonly do: "node";
      readonly name: number;
      readonly subnet: number;
      readonly host: number;
      readonly six: boolean;
    }
  | { readonly do: "drop-node" | "drop-block"; readonly name: number }
  | { readonly do: "block"; readonly name: number; readonly index: number; readonly six: boolean }
  | { readonly do: "backend"; readonly to: "auto" | "direct" | "vxlan" }
  | { readonly do: "mtu"; readonly mtu: number }
  | { readonly do: "nat"; readonly enabled: boolean }
  | { readonly do: "pool"; readonly six: boolean; readonly ready: boolean; readonly nat: boolean | undefined }
  | { readonly do: "drop-pool"; readonly six: boolean }
  | {
      readonly do: "claim";
      readonly name: number;
      readonly index: number;
      readonly six: boolean;
      readonly tunnel: number | undefined;
    }
  | {
      readonly do: "lend";
      readonly name: number;
      readonly index: number;
      readonly six: boolean;
      readonly host: number;
      readonly tunnel: boolean;
    }
  | { readonly do: "give-back"; readonly index: number; readonly six: boolean; readonly host: number };

const small = fc.integer({ min: 1, max: 4 });
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({
    do: fc.constant("node" as const),
    name: small,
    subnet: fc.integer({ min: 1, max: 2 }),
    host: fc.integer({ min: 11, max: 13 }),
    six: fc.boolean(),
  }),
  fc.record({ do: fc.constantFrom("drop-node" as const, "drop-block" as const), name: small }),
  fc.record({
    do: fc.constant("block" as const),
    name: small,
    index: fc.integer({ min: 1, max: 6 }),
    six: fc.boolean(),
  }),
  fc.record({
    do: fc.constant("backend" as const),
    to: fc.constantFrom("auto" as const, "direct" as const, "vxlan" as const),
  }),
  fc.record({ do: fc.constant("mtu" as const), mtu: fc.constantFrom(1500, 1400, 9000) }),
  fc.record({ do: fc.constant("nat" as const), enabled: fc.boolean() }),
  fc.record({
    do: fc.constant("pool" as const),
    six: fc.boolean(),
    ready: fc.boolean(),
    nat: fc.constantFrom(true, false, undefined),
  }),
  fc.record({ do: fc.constant("drop-pool" as const), six: fc.boolean() }),
  fc.record({
    do: fc.constant("claim" as const),
    name: small,
    index: fc.integer({ min: 1, max: 4 }),
    six: fc.boolean(),
    tunnel: fc.constantFrom(1, 2, undefined),
  }),
  fc.record({
    do: fc.constant("lend" as const),
    name: small,
    index: fc.integer({ min: 1, max: 4 }),
    six: fc.boolean(),
    host: fc.integer({ min: 3, max: 5 }),
    tunnel: fc.boolean(),
  }),
  fc.record({
    do: fc.constant("give-back" as const),
    index: fc.integer({ min: 1, max: 4 }),
    six: fc.boolean(),
    host: fc.constantFrom(0, 3, 4, 5),
  }),
);

const poolName = (six: boolean): string => (six ? "p6" : "p4");
const poolRange = (six: boolean, index: number, host: number | undefined): string => {
  if (six) return `fd00:200::${index}${host === undefined ? "40/122" : `4${host}/128`}`;
  return `10.200.${index}.${host === undefined ? "64/26" : `${64 + host}/32`}`;
};
const poolOf = (six: boolean, ready: boolean, natOutgoing: boolean | undefined): IpPool => ({
  name: poolName(six),
  uid: "u",
  cidr: parsePrefix(six ? "fd00:200::/64" : "10.200.0.0/16"),
  blockSize: six ? 122 : 26,
  nodeSelector: [],
  namespaceSelector: [],
  natOutgoing,
  disabled: false,
  ready,
  created: 0,
  origin: { kind: "IPPool", name: poolName(six) },
});

function apply(f: Fabric, c: Change): void {
  f.database.write(() => {
    if (c.do === "node") {
      const addresses: IpAddress[] = [parseIp(`198.18.${c.subnet}.${c.host}`)];
      if (c.six) addresses.push(parseIp(`fd57:eff7:0:${c.subnet}::${c.host}`));
      f.nodes.put({ name: `n${c.name}`, addresses, origin: { kind: "Node", name: `n${c.name}` } });
    } else if (c.do === "drop-node") f.nodes.delete(`n${c.name}`);
    else if (c.do === "drop-block") {
      const first = [...f.blocks.where("node", `n${c.name}`)][0];
      if (first !== undefined) f.blocks.delete(first.prefix);
    } else if (c.do === "block") {
      f.blocks.put(block(`n${c.name}`, c.six ? `fd00:10:244:${c.index}::/64` : `10.244.${c.index}.0/24`));
    } else if (c.do === "backend") {
      f.self.put({ key: "self", name: "n1", settings: { ...DEFAULT_SETTINGS, backend: c.to }, capabilities });
    } else if (c.do === "nat") {
      const masquerade = { ...DEFAULT_SETTINGS.masquerade, enabled: c.enabled };
      f.self.put({ key: "self", name: "n1", settings: { ...DEFAULT_SETTINGS, masquerade }, capabilities });
    } else if (c.do === "pool") f.pools.put(poolOf(c.six, c.ready, c.nat));
    else if (c.do === "drop-pool") f.pools.delete(poolName(c.six));
    else if (c.do === "claim" || c.do === "lend") {
      const host = c.do === "lend" ? c.host : undefined;
      const tunnel = c.do === "claim" ? c.tunnel : c.tunnel ? c.host : undefined;
      const at = (host: number): IpAddress => prefixIp(poolRange(c.six, c.index, host));
      f.blocks.put({
        prefix: parsePrefix(poolRange(c.six, c.index, host)),
        node: `n${c.name}`,
        pool: poolName(c.six),
        ...(tunnel === undefined ? {} : { tunnelAddress: at(tunnel) }),
        ...(host === undefined ? {} : { lentFrom: parsePrefix(poolRange(c.six, c.index, undefined)) }),
        origin: { kind: "IPBlock", name: `b${c.index}` },
      });
    } else if (c.do === "give-back") {
      f.blocks.delete(poolRange(c.six, c.index, c.host === 0 ? undefined : c.host));
    } else if (c.do === "mtu") f.underlay.put({ ...uplink, mtu: c.mtu });
  });
}

test("incremental compile equals compile from scratch after any sequence of changes", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const incremental = threeNodes();
      for (const c of changes) apply(incremental, c);
      const scratch = fresh();
      scratch.database.write(() => {
        scratch.self.replaceAll(incremental.self.rows());
        scratch.underlay.replaceAll(incremental.underlay.rows());
        scratch.pools.replaceAll(incremental.pools.rows());
        scratch.nodes.replaceAll(incremental.nodes.rows());
        scratch.blocks.replaceAll(incremental.blocks.rows());
      });
      expect(facts(incremental)).toEqual(facts(scratch));
    }),
    { numRuns: 200 },
  );
});
