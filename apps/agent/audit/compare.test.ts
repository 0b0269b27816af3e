/** What the audit makes of facts, kind by kind; and that it invents nothing. */
import { describe, expect, test } from "bun:test";
import { type IpAddress, type Prefix, parseIp, parsePrefix } from "@weft/base";
import type { LedgerEntry } from "@weft/ipam";
import type { IpBlock, Workload } from "@weft/model";
import fc from "fast-check";
import { workload } from "../testing/workload.ts";
import { type AuditFacts, compare } from "./compare.ts";

const NODE = "n1";
const ips = (...texts: string[]): IpAddress[] => texts.map(parseIp);

const entry = (
  id: string,
  addresses: readonly IpAddress[],
  more: Partial<Workload> = {},
  state: LedgerEntry["state"] = "ready",
): LedgerEntry => ({
  state,
  workload: workload(id, `/run/netns/${id}`, { addresses, hostLink: `weft-${id}`, podName: id, ...more }),
});

/** A node on which everything is as it should be. */
function whole(entries: readonly LedgerEntry[] = [entry("a", ips("10.0.0.1", "fd00::1"))]): AuditFacts {
  return {
    node: NODE,
    entries,
    busy: new Set(),
    stuck: new Map(),
    suspects: [],
    links: new Set(entries.map((e) => e.workload.hostLink)),
    strayRoutes: new Map(),
    inside: new Map(entries.map((e) => [e.workload.id, e.workload.addresses])),
    ranges: ["10.0.0.0/24", "fd00::/64"].map((p) => ({
      prefix: parsePrefix(p),
      pool: undefined,
      state: "open" as const,
      lentFrom: undefined,
    })),
    held: [],
    blocks: undefined,
    paused: false,
  };
}

const block = (prefix: string, node: string | undefined, more: Partial<IpBlock> = {}): IpBlock => ({
  name: prefix.replaceAll(/[./]/g, "-"),
  uid: "u",
  resourceVersion: "1",
  prefix: parsePrefix(prefix),
  pool: "p",
  poolUid: "pu",
  node,
  tunnelAddress: undefined,
  loans: [],
  allocations: [],
  reported: undefined,
  origin: { kind: "IPBlock", name: prefix },
  ...more,
});
const loan = (id: string, node: string, address: string, more: object = {}) => ({
  id,
  node,
  wanted: undefined,
  address: parseIp(address),
  refused: undefined,
  returned: false,
  tunnel: false,
  pod: undefined,
  ...more,
});

const codes = (facts: AuditFacts): string[] =>
  compare(facts).map((f) => `${f.code} ${f.object} ${f.addresses.join(" ")}`.trim());

describe("the comparison", () => {
  test("finds nothing where everything fits, busy or not, with or without pools", () => {
    expect(compare(whole())).toEqual([]);
    expect(compare(whole([]))).toEqual([]);
    expect(compare({ ...whole(), blocks: [] })).toEqual([]);
    expect(compare({ ...whole(), ranges: undefined })).toEqual([]);
  });

  test("says of a pod that is gone when its addresses come back, whose they are, and who has to do something", () => {
    const facts = whole();
    const suspect = { id: "a/eth0", code: "pod-gone" as const, since: 5, left: 40_000 };
    const [waiting] = compare({ ...facts, suspects: [{ ...suspect, seen: "nothing yet" }] });
    expect(waiting).toMatchObject({
      code: "pod-gone",
      object: "pod shop/a",
      addresses: ["10.0.0.1", "fd00::1"],
      origin: { node: NODE, pod: "shop/a", podUid: "uid-web", containerId: "a", interface: "eth0", since: 1 },
      left: 40_000,
      needsPerson: false,
    });
    const [lives] = compare({ ...facts, suspects: [{ ...suspect, seen: "lives" }] });
    expect(lives).toMatchObject({ code: "sandbox-lives", needsPerson: true, left: undefined });
    const [unseen] = compare({ ...facts, suspects: [{ ...suspect, seen: "cannot see" }] });
    expect(unseen).toMatchObject({ code: "unseen", needsPerson: true });
    expect(unseen?.remedy).toContain("weft ipam release a --force");
    const superseded = compare({ ...facts, suspects: [{ ...suspect, code: "superseded", seen: "lives" }] });
    expect(superseded[0]?.message).toContain("another sandbox");
    // Of an attachment that went meanwhile there is nothing to say.
    expect(compare({ ...facts, suspects: [{ ...suspect, id: "b/eth0", seen: "lives" }] })).toEqual([]);
  });

  test("what cannot be taken away is told with what is in the way, once", () => {
    const stuck = new Map([["a/eth0", { why: "its network namespace is gone", error: "no memory" }]]);
    const suspects = [
      { id: "a/eth0", code: "pod-gone" as const, since: 5, left: 0, seen: "nothing yet" as const },
    ];
    const found = compare({ ...whole(), stuck, suspects });
    expect(found.map((f) => f.code)).toEqual(["stuck"]);
    expect(found[0]?.message).toBe("its network namespace is gone, and it cannot be taken away: no memory");
  });

  test("a link that nobody explains, with what leads to it; one that is missing", () => {
    const links = new Set(["weft-a", "weft0123456789a"]);
    const strayRoutes = new Map([["weft0123456789a", ips("10.0.0.9")]]);
    expect(codes({ ...whole(), links, strayRoutes })).toEqual([
      "link-unexplained link weft0123456789a 10.0.0.9",
    ]);
    expect(compare({ ...whole(), links, paused: true })[0]?.remedy).toContain("paused");
    expect(codes({ ...whole(), links: new Set() })).toEqual(["link-missing pod shop/a 10.0.0.1 fd00::1"]);
    expect(codes({ ...whole(), links: new Set(), busy: new Set(["a/eth0"]) })).toEqual([]);
    // Its link is being made.
    const half = whole([entry("a", ips("10.0.0.1"), {}, "allocating")]);
    expect(codes({ ...half, links: new Set(["weft-a"]) })).toEqual([]);
  });

  test("an address that somebody set inside of a pod, and one that somebody took", () => {
    const facts = whole([entry("a", ips("10.0.0.1")), entry("b", ips("10.0.0.2"))]);
    const inside = new Map([["a/eth0", ips("10.0.0.1", "10.0.0.2", "192.0.2.1")]]);
    const found = compare({ ...facts, inside });
    expect(found.map((f) => [f.code, f.addresses])).toEqual([
      ["foreign-inside", ips("10.0.0.2")],
      ["foreign-inside", ips("192.0.2.1")],
    ]);
    expect(found[0]?.message).toBe(
      "eth0 inside of it has 10.0.0.2, which pod shop/b holds; it was given 10.0.0.1",
    );
    expect(found[1]?.message).toContain("nobody was given");
    expect(codes({ ...facts, inside: new Map([["b/eth0", []]]) })).toEqual([
      "missing-inside pod shop/b 10.0.0.2",
    ]);
  });

  test("a lease outside of all own ranges, and one of a block that was lost", () => {
    const facts = whole([entry("a", ips("10.9.0.1", "fd00::1")), entry("b", ips("10.8.0.1"))]);
    const lost = {
      prefix: parsePrefix("10.8.0.0/26"),
      pool: "p",
      state: "lost" as const,
      lentFrom: undefined,
    };
    const found = compare({ ...facts, ranges: [...(facts.ranges ?? []), lost] });
    expect(found.map((f) => [f.code, f.addresses as readonly string[]])).toEqual([
      ["outside-blocks", ["10.9.0.1"]],
      ["outside-blocks", ["10.8.0.1"]],
    ]);
    expect(compare({ ...facts, busy: new Set(["a/eth0", "b/eth0"]) })).toEqual([]);
    expect(found[0]?.message).toContain("10.9.0.1 is in no block and no podCIDR");
    expect(found[1]?.message).toContain(
      "10.8.0.1 is of block 10.8.0.0/26, which is not this node's any more",
    );
  });

  test("one address twice: in two entries, of another node's block without a loan", () => {
    const both = whole([entry("a", ips("10.0.0.1")), entry("b", ips("10.0.0.1"))]);
    expect(codes(both)).toEqual(["address-twice pod shop/b 10.0.0.1"]);
    const theirs = block("10.0.0.0/26", "n2");
    expect(codes({ ...whole(), blocks: [theirs] })).toEqual(["address-twice pod shop/a 10.0.0.1"]);
    const lent = { ...theirs, loans: [loan("l", NODE, "10.0.0.1")] };
    expect(codes({ ...whole(), blocks: [lent] })).toEqual([]);
  });

  test("loans: held for nobody, given and not held, borrowed and unused", () => {
    const held = [
      {
        address: parseIp("10.0.0.7"),
        block: parsePrefix("10.0.0.0/26"),
        loan: "l1",
        node: "n2",
        pod: undefined,
        since: 9,
      },
    ];
    const own = block("10.0.0.0/26", NODE);
    expect(codes({ ...whole(), held, blocks: [own] })).toEqual(["loan-unknown IPBlock 10-0-0-0-26 10.0.0.7"]);
    const granted = { ...own, loans: [loan("l1", "n2", "10.0.0.7"), loan("l2", "n3", "10.0.0.8")] };
    expect(codes({ ...whole(), held, blocks: [granted] })).toEqual([
      "loan-not-held IPBlock 10-0-0-0-26 10.0.0.8",
    ]);
    const borrowed = {
      prefix: "10.5.0.3/32" as Prefix,
      pool: "p",
      state: "open" as const,
      lentFrom: parsePrefix("10.5.0.0/26"),
    };
    const facts = { ...whole(), ranges: [...(whole().ranges ?? []), borrowed], blocks: [] };
    expect(codes(facts)).toEqual(["loan-unused IPBlock 10-5-0-0-26 10.5.0.3"]);
    const lender = block("10.5.0.0/26", "n2", { loans: [loan("l3", NODE, "10.5.0.3", { tunnel: true })] });
    expect(codes({ ...facts, blocks: [lender] })).toEqual([]);
    // While the API is away nobody knows of loans.
    expect(codes({ ...facts, held, blocks: undefined })).toEqual([]);
  });

  test("a copy in an IPBlock that says something else", () => {
    const line = (address: string) => ({
      address: parseIp(address),
      pod: undefined,
      podUid: undefined,
      containerId: undefined,
      node: undefined,
      since: 0,
    });
    const copy = block("10.0.0.0/26", NODE, { reported: 7, allocations: [line("10.0.0.1")] });
    expect(codes({ ...whole(), blocks: [copy] })).toEqual([]);
    const off = { ...copy, allocations: [line("10.0.0.5")] };
    const [found] = compare({ ...whole(), blocks: [off] });
    expect(found?.message).toBe(
      "its status names 10.0.0.5, which nobody has and lacks 10.0.0.1, which somebody has",
    );
  });

  test("is the same in whatever order the facts come, with one finding a key, and about nobody who is in order", () => {
    const addresses = fc.subarray(ips("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "10.9.0.1"), {
      minLength: 1,
    });
    const one = fc.record({
      id: fc.constantFrom("a", "b", "c", "d"),
      addresses,
      inside: fc.option(addresses, { nil: undefined }),
      link: fc.boolean(),
      suspect: fc.constantFrom(undefined, "nothing yet" as const, "lives" as const, "cannot see" as const),
      state: fc.constantFrom("ready" as const, "allocating" as const, "releasing" as const),
    });
    const many = fc.uniqueArray(one, { selector: (o) => o.id, maxLength: 4 });
    fc.assert(
      fc.property(many, fc.boolean(), (all, paused) => {
        const make = (list: typeof all): AuditFacts => ({
          ...whole(list.map((o) => entry(o.id, o.addresses, {}, o.state))),
          links: new Set([...list.flatMap((o) => (o.link ? `weft-${o.id}` : [])), "weft-stray"]),
          inside: new Map(
            list.flatMap((o) => (o.inside === undefined ? [] : [[`${o.id}/eth0`, o.inside] as const])),
          ),
          suspects: list.flatMap((o) =>
            o.suspect === undefined
              ? []
              : [{ id: `${o.id}/eth0`, code: "pod-gone" as const, since: 1, left: 7, seen: o.suspect }],
          ),
          paused,
        });
        const found = compare(make(all));
        const strip = (list: typeof found) =>
          // Of two holders of one address, who is named first depends on who came first.
          list.filter((f) => f.code !== "address-twice" && f.code !== "foreign-inside");
        expect(strip(compare(make(all.toReversed())))).toEqual(strip(found));
        const keys = found.map((f) => f.key).filter((k) => !k.startsWith("address-twice"));
        expect(new Set(keys).size).toBe(keys.length);
        expect(found.filter((f) => f.code === "link-unexplained").map((f) => f.object)).toEqual([
          "link weft-stray",
        ]);
        for (const o of all) {
          const about = found.filter((f) => f.object === `pod shop/${o.id}`);
          const fine =
            o.suspect === undefined &&
            o.link &&
            !o.addresses.some((a) => a === "10.9.0.1") &&
            (o.inside === undefined || Bun.deepEquals([...o.inside].sort(), [...o.addresses].sort())) &&
            !all.some((x) => x !== o && x.addresses.some((a) => o.addresses.includes(a)));
          if (fine) expect(about).toEqual([]);
          // Who may be gone is told of, in whatever state.
          expect(about.some((f) => /pod-gone|lives|unseen/.test(f.code))).toBe(o.suspect !== undefined);
        }
        for (const f of found)
          expect(f.message === "" || f.remedy === "" || !f.remedy.includes(".")).toBe(false);
      }),
    );
  });
});
