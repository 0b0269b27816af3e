/** What every Nftables does, as one suite: the real one and the in-memory one both pass it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  hasCode,
  hintOf,
  type IpAddress,
  isExists,
  isInvalid,
  isNotFound,
  isUnsupported,
  type Mac,
} from "@weft/base";
import type { IpRange, Nftables, SetElement } from "../port.ts";
import type { NftStep, RawElement } from "./batch.ts";
import { address, DROP, goTo, isFamily, lookupVerdict, verdict } from "./expressions.ts";
import { rangeText } from "./ranges.ts";

export interface ConformanceNftables {
  /** Without any table. */
  readonly nft: Nftables;
  cleanup(): void;
}

const ip = (text: string) => ({ type: "ip", value: text as IpAddress }) as const;
const port = (value: number) => ({ type: "port", value }) as const;
const protocol = (value: number) => ({ type: "protocol", value }) as const;
const mark = (value: number) => ({ type: "mark", value }) as const;
const ifname = (value: string) => ({ type: "ifname", value }) as const;
const mac = (text: string) => ({ type: "mac", value: text as Mac }) as const;

const SCRIPT = `
# what the suite uses
table inet weft {
  set pods { type ifname . ipv6_addr . ether_addr; }
  set one { type ipv4_addr; }
  set ports { type inet_service; }
  set small { type mark; size 2; }
  set ranges { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 }; }
  set nets4 { type ipv4_addr; flags interval; }
  set nets6 { type ipv6_addr; flags interval; }
  set pairs { type ipv4_addr . ipv4_addr; flags interval; }
  map services { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }
  map marks {
    type ifname : mark
  }
  map dispatch { type ifname : verdict; }
}`;

/** "10.0.0.0-10.0.0.9", or one address. */
function range(text: string): IpRange {
  const [first, last = first] = text.split("-") as IpAddress[];
  return { first, last } as IpRange;
}

const many = (n: number): SetElement[] =>
  Array.from({ length: n }, (_, i) => ({ key: [ip(`10.0.${i >> 8}.${i & 255}`)] }));

function thrown(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return expect.unreachable("nothing was thrown");
}

const rejected = (promise: Promise<void>): Promise<unknown> =>
  promise.then(
    () => expect.unreachable("nothing was thrown"),
    (error: unknown) => error,
  );

export function nftablesConformance(name: string, make: () => ConformanceNftables): void {
  describe(`${name} as nftables`, () => {
    let made: ConformanceNftables;
    let nft: Nftables;
    beforeAll(async () => {
      made = make();
      nft = made.nft;
      await nft.run(SCRIPT);
    });
    afterAll(() => made.cleanup());

    const addresses = (): unknown[] =>
      nft
        .elements("inet", "weft", "one", ["ip"], 4)
        .map((e) => e.key[0]?.value)
        .sort();

    describe("elements", () => {
      test("of sets", () => {
        const pods = [1, 2].map((n) => ({
          key: [ifname(`weft${n}`), ip(`fd00::${n}`), mac(`02:00:00:00:00:0${n}`)],
        }));
        const types = ["ifname", "ip", "mac"] as const;
        nft.addElements("inet", "weft", "pods", pods);
        const read = nft.elements("inet", "weft", "pods", types, 6);
        expect(read).toHaveLength(2);
        expect(read).toEqual(expect.arrayContaining(pods));
        nft.deleteElements("inet", "weft", "pods", pods.slice(1));
        expect(nft.elements("inet", "weft", "pods", types, 6)).toEqual(pods.slice(0, 1));
        expect(nft.presentElements("inet", "weft", "pods", pods)).toEqual(pods.slice(0, 1));
        expect(nft.presentElements("inet", "weft", "pods", [])).toEqual([]);
        expect(isNotFound(thrown(() => nft.presentElements("inet", "weft", "nowhere", pods)))).toBe(true);
      });

      test("of maps have values", () => {
        const element = {
          key: [ip("10.96.0.1"), protocol(6), port(443), mark(1)],
          value: [ip("10.244.0.7"), port(6443)],
        };
        nft.addElements("inet", "weft", "services", [element]);
        const types = ["ip", "protocol", "port", "mark"] as const;
        expect(nft.elements("inet", "weft", "services", types, 4, ["ip", "port"])).toEqual([element]);
        expect(nft.elements("inet", "weft", "services", types, 4)).toEqual([{ key: element.key }]);
        nft.deleteElements("inet", "weft", "services", [element]);
        expect(nft.elements("inet", "weft", "services", types, 4)).toEqual([]);
      });

      test("of scripts and of calls are the same", async () => {
        await nft.run('add element inet weft pods { "veth7" . fd00::7 . 02:00:00:00:00:07 }');
        const key = [ifname("veth7"), ip("fd00::7"), mac("02:00:00:00:00:07")];
        const types = ["ifname", "ip", "mac"] as const;
        expect(nft.elements("inet", "weft", "pods", types, 6)).toContainEqual({ key });
        await nft.run("add element inet weft services { 10.96.0.2 . udp . 53 . 0x10 : 10.244.0.9 . 5353 }");
        expect(
          nft.elements("inet", "weft", "services", ["ip", "protocol", "port", "mark"], 4, ["ip", "port"]),
        ).toEqual([
          {
            key: [ip("10.96.0.2"), protocol(17), port(53), mark(16)],
            value: [ip("10.244.0.9"), port(5353)],
          },
        ]);
        await nft.run("flush set inet weft pods; flush map inet weft services");
        expect(nft.elements("inet", "weft", "pods", types, 6)).toEqual([]);
      });

      test("may be there already, be absent, and come twice", () => {
        nft.addElements("inet", "weft", "one", many(3));
        nft.addElements("inet", "weft", "one", [...many(5), ...many(5)]);
        expect(addresses()).toHaveLength(5);
        nft.deleteElements("inet", "weft", "one", [...many(1), ...many(7), ...many(7)]);
        expect(addresses()).toEqual([]);
        nft.deleteElements("inet", "weft", "one", many(7));
        nft.addElements("inet", "weft", "one", []);
        nft.addElements("inet", "weft", "one", many(1));
        nft.deleteElements("inet", "weft", "one", []);
        expect(addresses()).toEqual(["10.0.0.0"]);
        nft.deleteElements("inet", "weft", "one", many(1));
      });

      test("of a map get the new value", () => {
        const at = (value: number): SetElement => ({ key: [ifname("weft0")], value: [mark(value)] });
        const other = { key: [ifname("weft1")], value: [mark(9)] };
        const read = (): SetElement[] => nft.elements("inet", "weft", "marks", ["ifname"], 4, ["mark"]);
        nft.addElements("inet", "weft", "marks", [at(1)]);
        nft.addElements("inet", "weft", "marks", [at(1)]);
        nft.addElements("inet", "weft", "marks", [at(2), other]);
        expect(read()).toHaveLength(2);
        expect(read()).toContainEqual(at(2));
        const twice = thrown(() => nft.addElements("inet", "weft", "marks", [at(3), at(4)]));
        expect(isInvalid(twice)).toBe(true);
        expect(read()).toContainEqual(at(2));
        nft.deleteElements("inet", "weft", "marks", [{ key: other.key }, at(77)]);
        expect(read()).toEqual([]);
      });
    });

    describe("ranges", () => {
      const read4 = (): string[] => nft.ranges("inet", "weft", "nets4", 4).map(rangeText);
      const read6 = (): string[] => nft.ranges("inet", "weft", "nets6", 6).map(rangeText);
      const change4 = (remove: string[], add: string[]): void =>
        nft.changeRanges("inet", "weft", "nets4", remove.map(range), add.map(range));
      const change6 = (remove: string[], add: string[]): void =>
        nft.changeRanges("inet", "weft", "nets6", remove.map(range), add.map(range));

      test("of both families, side by side and up to the highest address", () => {
        const four = [
          "0.0.0.0",
          "10.0.0.0-10.0.0.255",
          "10.0.1.0-10.0.1.255",
          "255.255.255.0-255.255.255.255",
        ];
        change4([], [...four].reverse());
        expect(read4()).toEqual(four);
        const six = [
          "fd00::-fd00::ffff",
          "fd00::1:0-fd00::1:ffff",
          "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        change6([], six);
        expect(read6()).toEqual(six);
        change4(four.slice(1, 3), []);
        change6(six.slice(2), []);
        expect(read4()).toEqual([four[0], four[3]] as string[]);
        expect(read6()).toEqual(six.slice(0, 2));
        change4(four, []);
        change6(six, []);
        expect([read4(), read6()]).toEqual([[], []]);
      });

      test("all of the addresses are one range", () => {
        change4([], ["0.0.0.0-255.255.255.255"]);
        expect(read4()).toEqual(["0.0.0.0-255.255.255.255"]);
        expect(isExists(thrown(() => change4([], ["10.0.0.1"])))).toBe(true);
        change4(["0.0.0.0-255.255.255.255"], ["10.0.0.1"]);
        expect(read4()).toEqual(["10.0.0.1"]);
        expect(isExists(thrown(() => change4([], ["0.0.0.0-255.255.255.255"])))).toBe(true);
        change4(["10.0.0.1"], []);
      });

      test("may be there already, be absent, and come twice", () => {
        change4([], ["10.0.0.0-10.0.0.9", "10.0.0.0-10.0.0.9"]);
        change4([], ["10.0.0.0-10.0.0.9", "10.0.0.10-10.0.0.19"]);
        change4(["10.9.0.0-10.9.0.9", "10.0.0.0-10.0.0.19"], []);
        expect(read4()).toEqual(["10.0.0.0-10.0.0.9", "10.0.0.10-10.0.0.19"]);
        // What is removed and added stays.
        change4(["10.0.0.0-10.0.0.9", "10.0.0.10-10.0.0.19"], ["10.0.0.0-10.0.0.9"]);
        expect(read4()).toEqual(["10.0.0.0-10.0.0.9"]);
        change4([], []);
        change4(["10.0.0.0-10.0.0.9"], []);
        nft.changeRanges("inet", "none", "nets4", [range("10.0.0.1")], []);
        nft.changeRanges("inet", "weft", "none", [range("10.0.0.1")], []);
      });

      test("overlaps are refused, unless what is there goes in the same call", () => {
        change4([], ["10.0.0.0-10.0.0.99", "10.0.1.0-10.0.1.99"]);
        const before = read4();
        for (const bad of [
          "10.0.0.0-10.0.0.98",
          "10.0.0.0-10.0.0.100",
          "10.0.0.1-10.0.0.99",
          "9.0.0.0-10.0.0.99",
          "10.0.0.50",
          "9.0.0.0-11.0.0.0",
          "10.0.0.50-10.0.1.50",
          "10.0.0.99-10.0.1.0",
          "10.0.0.0-10.0.1.99",
          "9.0.0.0-10.0.0.0",
          "10.0.1.99-255.255.255.255",
        ]) {
          const error = thrown(() => change4([], ["1.1.1.1", bad]));
          expect([bad, isExists(error)]).toEqual([bad, true]);
          expect(hintOf(error)).toContain("Remove the one");
          expect(read4()).toEqual(before);
        }
        change4(["10.0.0.0-10.0.0.99"], ["10.0.0.0-10.0.0.50", "10.0.0.51-10.0.0.200"]);
        expect(read4()).toEqual(["10.0.0.0-10.0.0.50", "10.0.0.51-10.0.0.200", "10.0.1.0-10.0.1.99"]);
        change4(read4(), ["10.0.0.0-10.0.255.255"]);
        expect(read4()).toEqual(["10.0.0.0-10.0.255.255"]);
        change4(read4(), []);
      });

      test("of scripts and of calls are the same", async () => {
        await nft.run("add element inet weft nets4 { 10.0.0.0/8, 192.0.2.1, 198.18.0.0-198.18.0.9 }");
        expect(read4()).toEqual(["10.0.0.0-10.255.255.255", "192.0.2.1", "198.18.0.0-198.18.0.9"]);
        await nft.run(
          "add element inet weft nets4 { 10.0.0.0/8 }\nadd element inet weft nets6 { fd00::/64, ff00::/8 }",
        );
        expect(isInvalid(await rejected(nft.run("add element inet weft nets4 { 10.1.0.0/16 }")))).toBe(true);
        change4(["10.0.0.0-10.255.255.255"], []);
        await nft.run("delete element inet weft nets4 { 192.0.2.1 }");
        expect(isNotFound(await rejected(nft.run("delete element inet weft nets4 { 192.0.2.1 }")))).toBe(
          true,
        );
        expect(read4()).toEqual(["198.18.0.0-198.18.0.9"]);
        expect(read6()).toEqual([
          "fd00::-fd00::ffff:ffff:ffff:ffff",
          "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ]);
        await nft.run("flush set inet weft nets4; flush set inet weft nets6");
        expect([read4(), read6()]).toEqual([[], []]);
      });

      test("what is no range, or does not fit the set, is refused", () => {
        const invalid = (remove: string[], add: string[]): boolean =>
          isInvalid(thrown(() => change4(remove, add)));
        expect(invalid([], ["10.0.0.9-10.0.0.1"])).toBe(true);
        expect(invalid([], ["10.0.0.9-fd00::1"])).toBe(true);
        expect(invalid([], ["10.0.0.0-10.0.0.9", "10.0.0.9-10.0.0.10"])).toBe(true);
        expect(invalid(["10.0.0.1"], ["fd00::1"])).toBe(true);
        expect(invalid([], ["fd00::1"])).toBe(true);
        expect(isInvalid(thrown(() => nft.ranges("inet", "weft", "nets4", 6)))).toBe(true);
        for (const set of ["one", "pairs", "marks"]) {
          const change = (): void => nft.changeRanges("inet", "weft", set, [], [range("10.0.0.1")]);
          expect(isUnsupported(thrown(change))).toBe(true);
          expect(isUnsupported(thrown(() => nft.ranges("inet", "weft", set, 4)))).toBe(true);
        }
        for (const [table, set] of [
          ["weft", "none"],
          ["none", "nets4"],
        ] as const) {
          const error = thrown(() => nft.changeRanges("inet", table, set, [], [range("10.0.0.1")]));
          expect(isNotFound(error)).toBe(true);
          expect((error as Error).message).toContain(`set inet ${table} ${set}`);
          expect(isNotFound(thrown(() => nft.ranges("inet", table, set, 4)))).toBe(true);
        }
        expect(read4()).toEqual([]);
      });
    });

    describe("errors", () => {
      test("an absent set or table is not-found, and named", () => {
        for (const [table, set] of [
          ["weft", "none"],
          ["none", "one"],
        ] as const) {
          const error = thrown(() => nft.addElements("inet", table, set, many(1)));
          expect(isNotFound(error)).toBe(true);
          expect((error as Error).message).toContain(`set inet ${table} ${set}`);
          expect(hintOf(error)).toContain("Declare the set");
          expect(isNotFound(thrown(() => nft.elements("inet", table, set, ["ip"], 4)))).toBe(true);
          nft.deleteElements("inet", table, set, many(1));
        }
      });

      test("elements that do not fit the set are invalid, and none of them goes in", () => {
        const cases: [string, SetElement[]][] = [
          ["one", [{ key: [ip("fd00::1")] }]],
          ["one", [...many(1), { key: [ip("fd00::1")] }]],
          ["one", [...many(1), { key: [mark(1)] }]],
          ["one", [{ key: [ip("10.0.0.1"), port(1)] }]],
          ["one", [{ key: [ip("10.0.0.1")], value: [mark(1)] }]],
          ["marks", [{ key: [ifname("a")] }]],
          ["marks", [{ key: [ifname("a")], value: [port(1)] }]],
          ["marks", [{ key: [ifname("a")], value: [mark(1)] }, { key: [ifname("b")] }]],
          ["ports", [{ key: [port(65536)] }]],
          ["ports", [{ key: [port(1.5)] }]],
          ["one", [{ key: [] }]],
        ];
        for (const [set, elements] of cases) {
          expect(isInvalid(thrown(() => nft.addElements("inet", "weft", set, elements)))).toBe(true);
        }
        expect(addresses()).toEqual([]);
        expect(nft.elements("inet", "weft", "marks", ["ifname"], 4)).toEqual([]);
        expect(isInvalid(thrown(() => nft.elements("inet", "weft", "one", ["port"], 4)))).toBe(true);
      });

      test("a full set is exhausted, and the transaction has no effect", () => {
        const marks = [1, 2, 3].map((n) => ({ key: [mark(n)] }));
        const error = thrown(() => nft.addElements("inet", "weft", "small", marks));
        expect(hasCode(error, "exhausted")).toBe(true);
        expect(hintOf(error)).toContain("larger size");
        expect(nft.elements("inet", "weft", "small", ["mark"], 4)).toEqual([]);
      });

      test("sets of intervals and maps to verdicts are unsupported", () => {
        expect(isUnsupported(thrown(() => nft.addElements("inet", "weft", "ranges", many(1))))).toBe(true);
        expect(isUnsupported(thrown(() => nft.elements("inet", "weft", "ranges", ["ip"], 4)))).toBe(true);
        const element = { key: [ifname("a")], value: [mark(1)] };
        expect(isUnsupported(thrown(() => nft.addElements("inet", "weft", "dispatch", [element])))).toBe(
          true,
        );
      });
    });

    describe("scripts", () => {
      test("are transactions, whose errors name the line", async () => {
        const bad = "table inet other {\n  set a { type ipv4_addr; }\n}\nfoo inet other\n";
        const error = await rejected(nft.run(bad));
        expect(isInvalid(error)).toBe(true);
        expect((error as Error).message).toContain("line 4");
        expect((error as Error).message).toContain("foo inet other");
        expect(nft.tableExists("inet", "other")).toBe(false);
        const absent = await rejected(nft.run("add table inet other\ndelete set inet other none\n"));
        expect(isNotFound(absent)).toBe(true);
        expect((absent as Error).message).toContain("line 2");
        expect(nft.tableExists("inet", "other")).toBe(false);
        expect(nft.tableExists("inet", "weft")).toBe(true);
        expect(nft.tableExists("ip", "weft")).toBe(false);
        expect(isExists(await rejected(nft.run("create table inet weft")))).toBe(true);
        expect(isNotFound(await rejected(nft.run("delete table inet other")))).toBe(true);
      });

      test("declare again without harm, and keep the elements", async () => {
        nft.addElements("inet", "weft", "one", many(2));
        await nft.run("table inet weft {\n set one { type ipv4_addr; }\n}\nflush table inet weft");
        expect(addresses()).toEqual(["10.0.0.0", "10.0.0.1"]);
        nft.deleteElements("inet", "weft", "one", many(2));
      });

      test("cannot take away what a rule uses, nor use what is not there", async () => {
        await nft.run(`table inet uses {
          set s { type ipv4_addr; }
          chain c { ip saddr @s drop; }
        }`);
        expect(hasCode(await rejected(nft.run("delete set inet uses s")), "busy")).toBe(true);
        await nft.run("flush chain inet uses c; delete set inet uses s; delete chain inet uses c");
        expect(isNotFound(await rejected(nft.run("add rule inet uses c drop")))).toBe(true);
        expect(isNotFound(await rejected(nft.run("add chain inet uses d { ip saddr @s drop; }")))).toBe(true);
        await nft.run("delete table inet uses");
        expect(nft.tableExists("inet", "uses")).toBe(false);
      });
    });

    describe("transactions", () => {
      const key = (n: number) => Uint8Array.of(10, 0, 0, n);
      const value = (n: number) => Uint8Array.of(n, 0, 0, 0);
      const SETS: readonly NftStep[] = [
        { do: "set", set: "values", key: ["ipv4"], value: ["mark"] },
        { do: "set", set: "verdicts", key: ["ipv4"], value: "verdict" },
        { do: "set", set: "nets", key: ["ipv4"], interval: true },
        { do: "set", set: "pairs", key: ["ipv4", "port"], interval: true },
      ];
      const sorted = (elements: readonly RawElement[]) =>
        elements.toSorted((a, b) => Buffer.compare(a.key, b.key) || (a.intervalEnd ? -1 : 1));
      const read = (set: string) => sorted(nft.rawElements("inet", "steps", set));

      test("make a table with all that is in it, and make it anew", () => {
        const steps: NftStep[] = [
          { do: "table" },
          { do: "delete-table" },
          { do: "table", comment: "of the suite" },
          ...SETS,
          { do: "chain", chain: "leaf" },
          { do: "chain", chain: "root", base: { type: "filter", hook: "forward", priority: 7 } },
          { do: "rule", chain: "leaf", expressions: [verdict(DROP)], comment: "a leaf" },
          {
            do: "rule",
            chain: "root",
            expressions: [...isFamily(4), address(4, "source", 0), lookupVerdict("verdicts", 0)],
          },
          { do: "add", set: "values", elements: [{ key: key(1), value: value(1) }] },
          { do: "add", set: "verdicts", elements: [{ key: key(1), value: goTo("leaf") }] },
        ];
        for (let i = 0; i < 2; i++) {
          const before = nft.generation();
          nft.commit("inet", "steps", steps);
          expect(nft.generation()).not.toBe(before);
          const found = nft.contents("inet", "steps");
          expect(found?.comment).toBe("of the suite");
          expect(found?.dormant).toBe(false);
          const sizes = found?.sets.map(({ set, size }) => [set, size ?? "unknown"].join(" ")) ?? [];
          expect(sizes.map((text) => text.replace("unknown", "1")).sort()).toEqual([
            "nets 0",
            "pairs 0",
            "values 1",
            "verdicts 1",
          ]);
          expect(found?.chains.map((c) => `${c.chain} ${c.base?.priority}`).sort()).toEqual([
            "leaf undefined",
            "root 7",
          ]);
          expect(found?.rules).toEqual([
            { chain: "leaf", comment: "a leaf" },
            { chain: "root", comment: undefined },
          ]);
          expect(read("values")).toEqual([{ key: key(1), value: value(1) }]);
          expect(read("verdicts")).toEqual([{ key: key(1), value: goTo("leaf") }]);
        }
        expect(nft.contents("inet", "nothing")).toBeUndefined();
        expect(isNotFound(thrown(() => nft.rawElements("inet", "steps", "none")))).toBe(true);
        expect(nft.foreignDrops("other").map((d) => `${d.table} ${d.chain}`)).toContain("steps root");
        expect(nft.foreignDrops("steps").map((d) => d.table)).not.toContain("steps");
      });

      test("change elements of every kind of set", () => {
        const range: RawElement[] = [{ key: key(8) }, { key: key(16), intervalEnd: true }, { key: key(16) }];
        const pair = {
          key: Uint8Array.of(10, 0, 0, 0, 0, 80, 0, 0),
          keyEnd: Uint8Array.of(10, 0, 0, 7, 0, 80, 0, 0),
        };
        nft.commit("inet", "steps", [
          { do: "delete", set: "values", elements: [{ key: key(1) }] },
          { do: "add", set: "values", elements: [{ key: key(1), value: value(2) }] },
          { do: "add", set: "nets", elements: range },
          { do: "add", set: "pairs", elements: [pair] },
        ]);
        expect(read("values")).toEqual([{ key: key(1), value: value(2) }]);
        expect(read("nets")).toEqual(sorted(range));
        expect(read("pairs")).toEqual([pair]);
        nft.commit("inet", "steps", [
          { do: "delete", set: "nets", elements: range.slice(0, 2) },
          { do: "delete", set: "pairs", elements: [pair] },
        ]);
        expect(read("nets")).toEqual(range.slice(2));
        expect(read("pairs")).toEqual([]);
      });

      test("take effect whole or not at all", () => {
        const good: NftStep = { do: "add", set: "values", elements: [{ key: key(9), value: value(9) }] };
        const cases: [(error: unknown) => boolean, NftStep][] = [
          [isNotFound, { do: "delete", set: "values", elements: [{ key: key(77) }] }],
          [isNotFound, { do: "add", set: "none", elements: [{ key: key(1) }] }],
          [isNotFound, { do: "add", set: "verdicts", elements: [{ key: key(2), value: goTo("none") }] }],
          [isNotFound, { do: "rule", chain: "leaf", expressions: [lookupVerdict("none", 0)] }],
          [isNotFound, { do: "rule", chain: "none", expressions: [verdict(DROP)] }],
          [isExists, { do: "add", set: "values", elements: [{ key: key(1), value: value(3) }] }],
          [(e) => hasCode(e, "busy"), { do: "delete-chain", chain: "leaf" }],
          [isInvalid, { do: "add", set: "values", elements: [{ key: Uint8Array.of(1), value: value(1) }] }],
        ];
        for (const [is, step] of cases) {
          const error = thrown(() => nft.commit("inet", "steps", [good, step]));
          expect({ step, is: is(error) }).toEqual({ step, is: true });
          expect((error as Error).message).toContain("table inet steps");
        }
        expect(read("values")).toEqual([{ key: key(1), value: value(2) }]);
        expect(isNotFound(thrown(() => nft.commit("inet", "none", [good])))).toBe(true);
        nft.commit("inet", "steps", []);
      });

      test("remove a chain with its rules once nothing leads there", () => {
        nft.commit("inet", "steps", [
          { do: "delete", set: "verdicts", elements: [{ key: key(1) }] },
          { do: "delete-chain", chain: "leaf" },
        ]);
        expect(nft.contents("inet", "steps")?.chains.map((c) => c.chain)).toEqual(["root"]);
        nft.commit("inet", "steps", [{ do: "delete-table" }]);
        expect(nft.contents("inet", "steps")).toBeUndefined();
      });
    });

    describe("chains", () => {
      test("that are at a hook", async () => {
        await nft.run(`
          table ip nat {
            chain post { type nat hook postrouting priority srcnat + 1; }
            chain plain { accept; }
          }
          table bridge walls {
            chain pass { type filter hook forward priority filter; policy drop; }
          }`);
        const rows = nft.baseChains().filter((c) => c.table === "nat" || c.table === "walls");
        expect(rows).toHaveLength(2);
        expect(rows).toEqual(
          expect.arrayContaining([
            {
              family: "ip",
              table: "nat",
              name: "post",
              type: "nat",
              hook: "postrouting",
              priority: 101,
              policy: "accept",
            },
            {
              family: "bridge",
              table: "walls",
              name: "pass",
              type: "filter",
              hook: "forward",
              priority: -200,
              policy: "drop",
            },
          ]),
        );
        await nft.run("delete table ip nat; delete table bridge walls");
      });

      test("that drop what is forwarded are found, through jumps and verdict maps", async () => {
        await nft.run(`
          table inet weft {
            chain own { type filter hook forward priority 0; policy drop; }
          }
          table ip bypolicy {
            chain forward { type filter hook forward priority 3; policy drop; }
          }
          table ip direct {
            chain forward { type filter hook forward priority 0; ip saddr 192.0.2.1 counter drop; }
          }
          table ip6 rejecting {
            chain forward { type filter hook forward priority 0; reject; }
          }
          table inet jumping {
            chain deep { tcp dport 7 drop; }
            chain middle { ct state new goto deep; }
            chain unreached { drop; }
            chain forward { type filter hook forward priority -10; jump middle; }
            chain clean { type filter hook forward priority -9; iifname "drop" accept; }
            chain input { type filter hook input priority 0; policy drop; }
          }
          table inet mapping {
            chain deep { drop; }
            map where { type ifname : verdict; elements = { "eth7" : jump deep, "eth8" : accept }; }
            chain named { type filter hook forward priority 1; iifname vmap @where; }
            chain anonymous { type filter hook forward priority 2; meta l4proto vmap { tcp : accept, udp : drop }; }
            chain clean { type filter hook forward priority 4; meta l4proto vmap { tcp : accept, udp : continue }; }
          }
          table inet asleep {
            flags dormant;
            chain forward { type filter hook forward priority 0; policy drop; }
          }
          table netdev entry {
            chain in { type filter hook ingress device lo priority 0; drop; }
          }
          table bridge wall {
            chain forward { type filter hook forward priority 0; policy drop; }
          }`);
        const found = nft
          .foreignDrops("weft")
          .map((d) => [d.family, d.table, d.chain, d.hook, d.priority, d.policy, d.hasDropRules].join(" "))
          .sort();
        expect(found).toEqual(
          [
            "bridge wall forward forward 0 drop false",
            "inet jumping forward forward -10 accept true",
            "inet mapping anonymous forward 2 accept true",
            "inet mapping named forward 1 accept true",
            "ip bypolicy forward forward 3 drop false",
            "ip direct forward forward 0 accept true",
            "ip6 rejecting forward forward 0 accept true",
            "netdev entry in ingress 0 accept true",
          ].sort(),
        );
        await nft.run("flush ruleset");
        expect(nft.foreignDrops("weft")).toEqual([]);
        expect(nft.tableExists("inet", "weft")).toBe(false);
      });
    });
  });
}
