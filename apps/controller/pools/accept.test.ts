/** Which pools may be used, and why not; what becomes of blocks when nodes are gone. As data. */
import { describe, expect, test } from "bun:test";
import { makePrefix, overlaps, parseIp, parsePrefix } from "@weft/base";
import { blockName, type IpBlock, type Loan } from "@weft/model";
import fc from "fast-check";
import { countsOf, type Reason, verdictOf, type World } from "./accept.ts";
import type { BlockRow, PoolRow, Range } from "./decode.ts";
import { actionOf } from "./gone.ts";

const range = (cidr: string, blockSize = 26): Range => ({ cidr: parsePrefix(cidr), blockSize });
const pool = (name: string, cidr: string, more: Partial<PoolRow> = {}): PoolRow => ({
  name,
  uid: `u-${name}`,
  resourceVersion: "1",
  generation: 1,
  created: 100,
  deleting: false,
  finalizers: [],
  disabled: false,
  asked: range(cidr),
  fault: undefined,
  accepted: undefined,
  status: undefined,
  ...more,
});
const row = (cidr: string, poolUid: string, more: Partial<BlockRow> = {}): BlockRow => ({
  name: blockName(parsePrefix(cidr)),
  uid: "b",
  prefix: parsePrefix(cidr),
  pool: poolUid.slice(2),
  poolUid,
  node: "n1",
  borrowers: [],
  abandoned: false,
  used: 0,
  ...more,
});
const world = (more: Partial<World> = {}): World => ({
  pools: [],
  nodes: new Map(),
  services: new Map(),
  blocks: [],
  ...more,
});

describe("a pool", () => {
  const p = pool("p", "10.8.0.0/16");
  const node = { ranges: [parsePrefix("10.244.1.0/24")], addresses: [parseIp("192.0.2.1")] };
  const cases: readonly [what: string, PoolRow, Partial<World>, Reason, string][] = [
    [
      "that overlaps nothing",
      p,
      { nodes: new Map([["n1", node]]) },
      "Accepted",
      "10.8.0.0/16 in blocks of /26",
    ],
    ["that is disabled", { ...p, disabled: true }, {}, "Disabled", "spec.disabled"],
    [
      "that cannot be read",
      { ...p, asked: undefined, fault: "spec.cidr: Required value" },
      {},
      "Invalid",
      "spec.cidr: Required value",
    ],
    [
      "whose range was changed",
      { ...p, accepted: range("10.9.0.0/16") },
      {},
      "RangeChanged",
      "it was accepted with 10.9.0.0/16 in blocks of /26, and now has 10.8.0.0/16 in blocks of /26",
    ],
    [
      "whose blocks were made smaller",
      { ...p, accepted: range("10.8.0.0/16", 24) },
      {},
      "RangeChanged",
      "in blocks of /24, and now has",
    ],
    [
      "beside an older one",
      p,
      { pools: [pool("q", "10.0.0.0/8", { created: 50 })] },
      "OverlapsPool",
      "10.8.0.0/16 overlaps 10.0.0.0/8 of IPPool q, which was first",
    ],
    ["beside a younger one", p, { pools: [pool("q", "10.0.0.0/8", { created: 150 })] }, "Accepted", ""],
    ["beside one of the same age", p, { pools: [pool("a", "10.8.1.0/24")] }, "OverlapsPool", "of IPPool a"],
    [
      "beside a younger one that was accepted",
      p,
      { pools: [pool("q", "10.0.0.0/8", { created: 150, accepted: range("10.0.0.0/8") })] },
      "OverlapsPool",
      "of IPPool q",
    ],
    [
      "beside one that cannot be read",
      p,
      { pools: [pool("q", "10.0.0.0/8", { created: 50, asked: undefined })] },
      "Accepted",
      "",
    ],
    [
      "beside one that is being deleted and still has it",
      p,
      { pools: [pool("q", "10.0.0.0/8", { created: 50, deleting: true, accepted: range("10.0.0.0/8") })] },
      "OverlapsPool",
      "of IPPool q",
    ],
    [
      "in a node's range",
      p,
      { nodes: new Map([["n1", { ...node, ranges: [parsePrefix("10.0.0.0/8")] }]]) },
      "OverlapsNodeRange",
      "10.8.0.0/16 overlaps 10.0.0.0/8, which Node n1 has in spec.podCIDRs",
    ],
    [
      "in which a node is",
      p,
      { nodes: new Map([["n1", { ...node, addresses: [parseIp("10.8.3.4")] }]]) },
      "OverlapsNodeAddress",
      "10.8.0.0/16 has 10.8.3.4 in it, an address of Node n1",
    ],
    [
      "in the range of services",
      p,
      { services: new Map([["kubernetes", [parsePrefix("10.0.0.0/12")]]]) },
      "OverlapsServiceRange",
      "10.8.0.0/16 overlaps 10.0.0.0/12 of ServiceCIDR kubernetes",
    ],
    [
      "with a block that is left of another one",
      p,
      { blocks: [row("10.8.0.64/26", "u-old")] },
      "OverlapsBlock",
      "IPBlock 10-8-0-64-26, which is left of a pool old that is gone",
    ],
    ["with blocks of its own", p, { blocks: [row("10.8.0.64/26", "u-p")] }, "Accepted", ""],
    [
      "that is being deleted",
      { ...p, deleting: true, accepted: range("10.8.0.0/16") },
      {
        blocks: [
          row("10.8.0.0/26", "u-p", { used: 2 }),
          row("10.8.0.64/26", "u-p", { node: undefined, used: 1 }),
        ],
      },
      "Deleting",
      "2 blocks of n1, nodes that are gone are left, with 3 addresses in use",
    ],
    [
      "that is being deleted, and is empty",
      { ...p, deleting: true },
      {},
      "Deleting",
      "nothing of it is left",
    ],
    [
      "that was accepted before a node came into it",
      { ...p, accepted: range("10.8.0.0/16") },
      { nodes: new Map([["n1", { ...node, ranges: [parsePrefix("10.8.1.0/24")] }]]) },
      "OverlapsNodeRange",
      "",
    ],
  ];
  test.each(cases)("%s", (_, given, more, reason, message) => {
    const verdict = verdictOf(given, world({ ...more, pools: [given, ...(more.pools ?? [])] }));
    expect(verdict.reason).toBe(reason);
    expect(verdict.message).toContain(message);
    expect(verdict.ready).toBe(reason === "Accepted" || reason === "Disabled");
    // What was accepted is kept, whatever is said now.
    if (given.accepted !== undefined) expect(verdict.accepted).toEqual(given.accepted);
  });

  test("no two that are ready overlap, in whatever order they were accepted", () => {
    const small = fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 13, max: 16 }));
    const some = fc.array(fc.record({ at: small, created: fc.integer({ min: 0, max: 3 }) }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(some, fc.array(fc.nat(4), { maxLength: 8 }), (given, order) => {
        const pools = given.map(({ at: [n, length], created }, i) =>
          pool(`p${i}`, makePrefix(`10.${n}.0.0`, length), { created }),
        );
        for (const i of order) {
          const one = pools[i];
          if (one === undefined) continue;
          const verdict = verdictOf(one, world({ pools }));
          pools[i] = { ...one, accepted: verdict.accepted };
        }
        const ready = pools.filter((one) => verdictOf(one, world({ pools })).ready);
        for (const a of ready) {
          for (const b of ready) {
            const both = a === b || a.accepted === undefined || b.accepted === undefined;
            if (!both) expect(overlaps(a.accepted?.cidr ?? "", b.accepted?.cidr ?? "")).toBe(false);
          }
        }
      }),
    );
  });

  test("counts what is used and free; numbers that no JSON has are cut off", () => {
    const blocks = [
      row("10.8.0.0/26", "u-p", { used: 5 }),
      row("10.8.0.64/26", "u-p", { node: "n2", used: 1 }),
    ];
    expect(countsOf(range("10.8.0.0/24"), blocks)).toEqual({ blocks: 2, nodes: 2, used: 6, free: 248 });
    expect(countsOf(range("fd00::/64", 122), [])).toEqual({
      blocks: 0,
      nodes: 0,
      used: 0,
      free: Number.MAX_SAFE_INTEGER,
    });
    expect(countsOf(range("10.8.0.0/32", 32), []).free).toBe(0);
  });
});

describe("a block", () => {
  const loan = (id: string, node: string, more: Partial<Loan> = {}): Loan => ({
    id,
    node,
    wanted: undefined,
    address: undefined,
    refused: undefined,
    returned: false,
    tunnel: false,
    pod: undefined,
    ...more,
  });
  const block = (node: string | undefined, ...loans: Loan[]): IpBlock => ({
    name: "10-8-0-0-26",
    uid: "u",
    resourceVersion: "1",
    prefix: parsePrefix("10.8.0.0/26"),
    pool: "p",
    poolUid: "u-p",
    node,
    tunnelAddress: node === undefined ? undefined : parseIp("10.8.0.1"),
    loans,
    allocations: [],
    reported: undefined,
    origin: { kind: "IPBlock", name: "10-8-0-0-26" },
  });
  const at = parseIp("10.8.0.9");
  const gone = (node: string): boolean => node.startsWith("gone");
  const granted = loan("1", "n2", { address: at });

  test.each<[string, IpBlock, string, Partial<IpBlock>]>([
    ["of a node that is there", block("n1", granted), "nothing", {}],
    ["of a node that is gone", block("gone"), "delete", {}],
    [
      "of a node that is gone, lent to one that is gone",
      block("gone", loan("1", "gone2", { address: at })),
      "delete",
      {},
    ],
    [
      "of a node that is gone, with a loan that came back",
      block("gone", { ...granted, returned: true }),
      "delete",
      {},
    ],
    [
      "of a node that is gone, with a loan",
      block("gone", granted),
      "replace",
      { node: undefined, tunnelAddress: undefined, loans: [granted] },
    ],
    [
      "of a node that is gone, with a loan and a request",
      block("gone", granted, loan("2", "n3")),
      "replace",
      { node: undefined, loans: [granted, loan("2", "n3", { refused: "the block's node is gone" })] },
    ],
    ["of a node that is gone, with a request", block("gone", loan("2", "n3")), "delete", {}],
    ["without a node, with a loan", block(undefined, granted), "nothing", {}],
    [
      "without a node, whose last loan came back",
      block(undefined, { ...granted, returned: true }),
      "delete",
      {},
    ],
    [
      "without a node, one of whose loans came back",
      block(undefined, granted, loan("2", "n3", { address: parseIp("10.8.0.10"), returned: true })),
      "replace",
      { loans: [granted] },
    ],
    ["without a node or loans", block(undefined), "delete", {}],
    [
      "lent to a node that is gone",
      block("n1", loan("1", "gone", { address: at }), granted),
      "replace",
      { node: "n1", loans: [loan("1", "gone", { address: at, returned: true }), granted] },
    ],
    [
      "asked for by a node that is gone",
      block("n1", loan("1", "gone")),
      "replace",
      { loans: [loan("1", "gone", { returned: true })] },
    ],
    ["returned by a node that is gone", block("n1", loan("1", "gone", { returned: true })), "nothing", {}],
  ])("%s", (_, given, wanted, wants) => {
    const action = actionOf(given, gone);
    expect(action.do).toBe(wanted as typeof action.do);
    if (action.do !== "replace") return;
    expect(action.block).toMatchObject(wants as object);
    // Done once, there is nothing more to do.
    expect(actionOf(action.block, gone).do).toBe("nothing");
  });
});
