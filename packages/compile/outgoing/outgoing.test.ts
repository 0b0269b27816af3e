import { describe, expect, test } from "bun:test";
import {
  addressAt,
  contains,
  type IpAddress,
  ipFromBigInt,
  makePrefix,
  overlaps,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixSize,
} from "@weft/base";
import {
  type Block,
  DEFAULT_SETTINGS,
  type IpPool,
  type MasqueradeSettings,
  type Node,
  originText,
  type Settings,
} from "@weft/model";
import { createDatabase, createTable } from "@weft/store";
import fc from "fast-check";
import { insideTables } from "./inside.ts";
import { masquerades, sourceRows } from "./sources.ts";

const p = parsePrefix;
const on = DEFAULT_SETTINGS.masquerade;
const block = (node: string, prefix: string): Block => ({
  node,
  prefix: p(prefix),
  origin: { kind: "Node", name: node, field: "spec.podCIDRs[0]" },
});
const node = (name: string, ...addresses: string[]): Node => ({
  name,
  addresses: addresses.map(parseIp),
  origin: { kind: "Node", name },
});

const pool = (name: string, cidr: string, natOutgoing?: boolean, ready = true): IpPool => ({
  name,
  uid: `uid-${name}`,
  cidr: p(cidr),
  blockSize: 26,
  nodeSelector: [],
  namespaceSelector: [],
  natOutgoing,
  disabled: false,
  ready,
  created: 0,
  origin: { kind: "IPPool", name },
});

describe("sources", () => {
  const blocks = [block("n1", "10.244.1.0/24"), block("n1", "fd00:10:244:1::/64")];
  const said = (settings: Partial<MasqueradeSettings>): string[] =>
    sourceRows(blocks, { ...on, ...settings }, []).map((r) => `${r.prefix} <- ${originText(r.origin)}`);

  test("are the node's own blocks, by default", () => {
    expect(said({})).toEqual([
      "10.244.1.0/24 <- Node n1 spec.podCIDRs[0]",
      "fd00:10:244:1::/64 <- Node n1 spec.podCIDRs[0]",
    ]);
    expect(said({ enabled: false })).toEqual([]);
    expect(masquerades(on, [])).toBe(true);
    expect(masquerades({ ...on, enabled: false }, [])).toBe(false);
    expect(masquerades({ ...on, enabled: false }, [{ natOutgoing: true }])).toBe(true);
    expect(masquerades({ ...on, enabled: false }, [{ natOutgoing: false }])).toBe(false);
  });

  test("less what a range exempts, and what a longer one takes in again", () => {
    const ranges = [
      { range: p("10.244.0.0/16"), enabled: false },
      { range: p("10.244.1.64/26"), enabled: true },
      { range: p("fd00::/8"), enabled: true },
    ];
    expect(said({ ranges })).toEqual([
      "10.244.1.64/26 <- Settings weft masquerade.ranges[1]",
      "fd00:10:244:1::/64 <- Settings weft masquerade.ranges[2]",
    ]);
    expect(masquerades({ ...on, enabled: false, ranges }, [])).toBe(true);
    expect(said({ ranges: [{ range: p("10.244.1.64/26"), enabled: false }] })).toEqual([
      "10.244.1.0/26 <- Node n1 spec.podCIDRs[0]",
      "10.244.1.128/25 <- Node n1 spec.podCIDRs[0]",
      "fd00:10:244:1::/64 <- Node n1 spec.podCIDRs[0]",
    ]);
  });

  test("as their pool says, whatever is said of a wider range; a longer one speaks for its part", () => {
    const own = [{ ...block("n1", "10.8.0.64/26"), pool: "p" }, block("n1", "10.244.1.0/24")];
    const at = (natOutgoing: boolean | undefined, settings: Partial<MasqueradeSettings>): string[] =>
      sourceRows(own, { ...on, ...settings }, [pool("p", "10.8.0.0/16", natOutgoing)]).map(
        (r) => `${r.prefix} <- ${originText(r.origin)}`,
      );
    const podCIDR = "10.244.1.0/24 <- Node n1 spec.podCIDRs[0]";
    expect(at(undefined, {})).toEqual(["10.8.0.64/26 <- Node n1 spec.podCIDRs[0]", podCIDR]);
    expect(at(undefined, { enabled: false })).toEqual([]);
    expect(at(false, {})).toEqual([podCIDR]);
    expect(at(true, { enabled: false })).toEqual(["10.8.0.64/26 <- IPPool p spec.natOutgoing"]);
    const wider = [{ range: p("10.0.0.0/8"), enabled: true }];
    expect(at(false, { enabled: false, ranges: wider })).toEqual([
      "10.244.1.0/24 <- Settings weft masquerade.ranges[0]",
    ]);
    const same = [{ range: p("10.8.0.0/16"), enabled: true }];
    expect(at(false, { ranges: same })).toEqual([podCIDR]);
    const longer = [{ range: p("10.8.0.96/27"), enabled: false }];
    expect(at(true, { ranges: longer })).toEqual(["10.8.0.64/27 <- IPPool p spec.natOutgoing", podCIDR]);
  });

  test("are as few prefixes as can be where a range changes nothing", () => {
    expect(said({ ranges: [{ range: p("fd00:10:244:1::7/128"), enabled: true }] })).toEqual(said({}));
    expect(said({ enabled: false, ranges: [{ range: p("fd00:10:244:1::7/128"), enabled: true }] })).toEqual([
      "fd00:10:244:1::7/128 <- Settings weft masquerade.ranges[0]",
    ]);
  });
});

/** Prefixes of few addresses, so that they often hold one another. */
const small = fc
  .tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 26, max: 32 }), fc.boolean())
  .map(([n, length, six]) =>
    six
      ? makePrefix(ipFromBigInt((0xfdn << 120n) + BigInt(n * 2), 6), length + 96)
      : makePrefix(ipFromBigInt((10n << 24n) + BigInt(n * 2), 4), length),
  );
const smalls = fc.array(small, { maxLength: 5 });
const settings = fc
  .record({
    enabled: fc.boolean(),
    ranges: fc.uniqueArray(fc.record({ range: small, enabled: fc.boolean() }), {
      selector: (r) => r.range,
      maxLength: 4,
    }),
    exclude: smalls,
    clusterCIDRs: smalls,
  })
  .map(({ clusterCIDRs, ...masquerade }): Settings => ({ ...DEFAULT_SETTINGS, clusterCIDRs, masquerade }));

const disjoint = (prefixes: readonly Prefix[]): boolean =>
  prefixes.every((a, i) => prefixes.every((b, j) => i === j || !overlaps(a, b)));
const addressesOf = (prefix: Prefix): IpAddress[] =>
  Array.from({ length: Number(prefixSize(prefix)) }, (_, i) => addressAt(prefix, BigInt(i)));

test("each address of a block is a source exactly when the longest range that has it says so", () => {
  fc.assert(
    fc.property(smalls, settings, (prefixes, { masquerade }) => {
      const rows = sourceRows(
        [...new Set(prefixes)].map((x) => block("n1", x)),
        masquerade,
        [],
      );
      expect(disjoint(rows.map((r) => r.prefix))).toBe(true);
      for (const ip of new Set(prefixes.flatMap(addressesOf))) {
        const [range] = masquerade.ranges
          .filter((r) => contains(r.range, ip))
          .sort((a, b) => Number(b.range.split("/")[1]) - Number(a.range.split("/")[1]));
        const wanted = range?.enabled ?? masquerade.enabled;
        expect(rows.some((r) => contains(r.prefix, ip))).toBe(wanted);
      }
    }),
  );
});

interface World {
  readonly settings: Settings;
  readonly nodes: readonly Node[];
  readonly blocks: readonly Block[];
  readonly pools: readonly IpPool[];
}
const world: fc.Arbitrary<World> = fc.record({
  settings,
  nodes: fc
    .array(small, { maxLength: 4 })
    .map((ps) => ps.map((x, i) => node(`n${i}`, x.split("/")[0] as string))),
  pools: fc
    .array(fc.tuple(small, fc.boolean(), fc.option(fc.boolean(), { nil: undefined })), { maxLength: 3 })
    .map((ps) => ps.map(([cidr, ready, nat], i) => pool(`p${i}`, cidr, nat, ready))),
  blocks: fc.uniqueArray(small, { maxLength: 5 }).map((ps) => ps.map((x, i) => block(`n${i}`, x))),
});

function inside() {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const self = createTable<{ key: "self"; settings: Settings }>(database, {
    name: "self",
    key: (r) => r.key,
  });
  const nodes = createTable<Node>(database, { name: "nodes", key: (r) => r.name });
  const blocks = createTable<Block>(database, { name: "blocks", key: (r) => r.prefix });
  const pools = createTable<IpPool>(database, { name: "pools", key: (r) => r.name });
  const tables = insideTables({ self, nodes, pools, blocks });
  return {
    tables,
    become(w: World) {
      database.write(() => {
        self.put({ key: "self", settings: w.settings });
        nodes.replaceAll(w.nodes);
        blocks.replaceAll(w.blocks);
        pools.replaceAll(w.pools);
      });
    },
    rows: () => tables.flatMap((t) => [...t.rows()]),
  };
}

test("what is inside is told once, is all of it and nothing else, however it came about", () => {
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 4 }), (worlds) => {
      const live = inside();
      for (const w of worlds) {
        live.become(w);
        const fresh = inside();
        fresh.become(w);
        expect(live.rows()).toEqual(fresh.rows());
        const prefixes = live.rows().map((r) => r.prefix);
        expect(disjoint(prefixes)).toBe(true);
        const told = new Set(prefixes.flatMap(addressesOf));
        const wanted = masquerades(w.settings.masquerade, w.pools)
          ? [
              ...w.settings.clusterCIDRs.flatMap(addressesOf),
              ...w.settings.masquerade.exclude.flatMap(addressesOf),
              ...w.blocks.flatMap((b) => addressesOf(b.prefix)),
              ...w.nodes.flatMap((n) => n.addresses),
              ...w.pools.filter((x) => x.ready).flatMap((x) => addressesOf(x.cidr)),
            ]
          : [];
        expect(told).toEqual(new Set(wanted));
      }
    }),
  );
});

test("among a thousand nodes, one that comes or goes changes its own rows alone", () => {
  const cluster = (n: number): World => ({
    settings: DEFAULT_SETTINGS,
    nodes: Array.from({ length: n }, (_, i) => node(`n${i}`, `198.18.${i >> 8}.${i & 255}`, `fd57::${i}`)),
    blocks: Array.from({ length: n }, (_, i) => [
      block(`n${i}`, `10.${i >> 8}.${i & 255}.0/24`),
      block(`n${i}`, `fd00:${i}::/64`),
    ]).flat(),
    pools: [],
  });
  const live = inside();
  live.become(cluster(1000));
  expect(live.rows()).toHaveLength(4000);
  let changes = 0;
  for (const table of live.tables) table.watch((event) => (changes += event.changes.length));
  live.become(cluster(1001));
  expect(changes).toBe(4);
  live.become(cluster(1000));
  expect(changes).toBe(8);
});

test("an origin names who asked: settings before blocks, blocks before nodes", () => {
  const live = inside();
  const at = (s: Partial<Settings>, pools: readonly IpPool[] = []): string[] => {
    live.become({
      pools,
      settings: { ...DEFAULT_SETTINGS, ...s },
      nodes: [node("n1", "198.18.1.11"), node("n2", "10.244.2.7")],
      blocks: [block("n1", "10.244.1.0/24"), block("n2", "10.244.2.0/24")],
    });
    return live.rows().map((r) => `${r.prefix} <- ${originText(r.origin)}`);
  };
  expect(at({})).toEqual([
    "10.244.1.0/24 <- Node n1 spec.podCIDRs[0]",
    "10.244.2.0/24 <- Node n2 spec.podCIDRs[0]",
    "198.18.1.11/32 <- Node n1 status.addresses",
  ]);
  const exclude = [p("10.244.1.0/24"), p("198.18.0.0/15"), p("10.244.2.128/25"), p("198.18.0.0/15")];
  expect(at({ masquerade: { ...on, exclude } })).toEqual([
    "10.244.1.0/24 <- Settings weft masquerade.exclude[0]",
    "198.18.0.0/15 <- Settings weft masquerade.exclude[1]",
    "10.244.2.0/24 <- Node n2 spec.podCIDRs[0]",
  ]);
  expect(at({ clusterCIDRs: [p("10.244.0.0/16")] })).toEqual([
    "10.244.0.0/16 <- Settings weft clusterCIDRs[0]",
    "198.18.1.11/32 <- Node n1 status.addresses",
  ]);
  expect(at({ masquerade: { ...on, enabled: false } })).toEqual([]);
  expect(at({}, [pool("p", "10.244.0.0/16"), pool("q", "10.245.0.0/16", undefined, false)])).toEqual([
    "10.244.0.0/16 <- IPPool p spec.cidr",
    "198.18.1.11/32 <- Node n1 status.addresses",
  ]);
});
