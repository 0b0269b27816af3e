import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { hasCode, hintOf, type IpAddress, isInvalid, isNotFound, isUnsupported, type Mac } from "@weft/base";
import type { SetElement } from "../port.ts";
import { createNftables, type NftablesHandle } from "./nftables.ts";

const PREFIX = "weft-t-nft-";
const NAME = `${PREFIX}${process.pid}`;

function ip(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...args]);
  if (exitCode !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.toString()}`);
}

interface NftJson {
  readonly nftables: readonly Record<string, { elem?: readonly unknown[]; name?: string }>[];
}

function nftJson(...args: string[]): NftJson {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["ip", "netns", "exec", NAME, "nft", "-j", ...args]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as NftJson;
}

/** Elements as the program nft lists them. */
function listed(kind: "set" | "map", set: string): unknown[] {
  const found = nftJson("list", kind, "inet", "weft", set).nftables.find((x) => kind in x);
  return [...(found?.[kind]?.elem ?? [])];
}

/** For comparing what has no order. */
const sorted = (rows: readonly unknown[]): unknown[] =>
  [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

const address = (text: string) => ({ type: "ip", value: text as IpAddress }) as const;
const port = (value: number) => ({ type: "port", value }) as const;
const protocol = (value: number) => ({ type: "protocol", value }) as const;
const mark = (value: number) => ({ type: "mark", value }) as const;
const ifname = (value: string) => ({ type: "ifname", value }) as const;
const mac = (text: string) => ({ type: "mac", value: text as Mac }) as const;

const SCRIPT = `
table inet weft {
  set pods { type ifname . ipv4_addr . ether_addr; }
  set pods6 { type ifname . ipv6_addr; }
  set one { type ipv4_addr; }
  set ports { type inet_service; }
  set protocols { type inet_proto; }
  set macs { type ether_addr; }
  set small { type mark; size 2; }
  set ranges { type ipv4_addr; flags interval; }
  map services { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }
  map marks { type ifname : mark; }
  map dispatch { type ifname : verdict; }
}`;

let fd: number;
let nft: NftablesHandle;

const many = (n: number): SetElement[] =>
  Array.from({ length: n }, (_, i) => ({ key: [address(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)] }));

beforeAll(async () => {
  const { stdout } = Bun.spawnSync(["ip", "netns", "list"]);
  for (const stale of stdout.toString().match(/^weft-t-nft-\d+/gm) ?? []) ip("netns", "del", stale);
  ip("netns", "add", NAME);
  fd = openSync(`/run/netns/${NAME}`, "r");
  nft = createNftables({ fd });
  await nft.run(SCRIPT);
});

afterAll(() => {
  nft.close();
  closeSync(fd);
  ip("netns", "del", NAME);
});

describe("elements", () => {
  test("of one field and of many are what nft lists", () => {
    nft.addElements("inet", "weft", "pods", [
      { key: [ifname("weft0"), address("10.0.0.1"), mac("02:00:00:00:00:01")] },
      { key: [ifname("a-name-of-15-by"), address("10.0.0.2"), mac("02:00:00:00:00:02")] },
    ]);
    expect(sorted(listed("set", "pods"))).toEqual([
      { concat: ["a-name-of-15-by", "10.0.0.2", "02:00:00:00:00:02"] },
      { concat: ["weft0", "10.0.0.1", "02:00:00:00:00:01"] },
    ]);
    nft.addElements("inet", "weft", "pods6", [{ key: [ifname("weft0"), address("fd00::1")] }]);
    expect(listed("set", "pods6")).toEqual([{ concat: ["weft0", "fd00::1"] }]);
    nft.addElements("inet", "weft", "ports", [{ key: [port(80)] }, { key: [port(65535)] }]);
    expect(listed("set", "ports").sort()).toEqual([65535, 80]);
    nft.addElements("inet", "weft", "protocols", [{ key: [protocol(6)] }, { key: [protocol(253)] }]);
    expect(listed("set", "protocols").map(String).sort()).toEqual(["253", "tcp"]);
    nft.addElements("inet", "weft", "macs", [{ key: [mac("02:00:00:00:00:09")] }]);
    expect(listed("set", "macs")).toEqual(["02:00:00:00:00:09"]);
  });

  test("of maps have values", () => {
    const element = {
      key: [address("10.96.0.1"), protocol(6), port(443), mark(1)],
      value: [address("10.244.0.7"), port(6443)],
    };
    nft.addElements("inet", "weft", "services", [element]);
    expect(listed("map", "services")).toEqual([
      [{ concat: ["10.96.0.1", "tcp", 443, 1] }, { concat: ["10.244.0.7", 6443] }],
    ]);
    const types = ["ip", "protocol", "port", "mark"] as const;
    expect(nft.elements("inet", "weft", "services", types, 4, ["ip", "port"])).toEqual([element]);
    expect(nft.elements("inet", "weft", "services", types, 4)).toEqual([{ key: element.key }]);
    nft.deleteElements("inet", "weft", "services", [element]);
    expect(listed("map", "services")).toEqual([]);
  });

  test("that nft has added are read", async () => {
    await nft.run("add element inet weft pods6 { veth7 . fd00::7 }");
    const read = nft.elements("inet", "weft", "pods6", ["ifname", "ip"], 6);
    expect(read).toContainEqual({ key: [ifname("veth7"), address("fd00::7")] });
    await nft.run("flush set inet weft pods6");
    expect(nft.elements("inet", "weft", "pods6", ["ifname", "ip"], 6)).toEqual([]);
  });

  test("may be there already, be absent, and come twice", () => {
    nft.addElements("inet", "weft", "one", many(3));
    nft.addElements("inet", "weft", "one", [...many(5), ...many(5)]);
    expect(nft.elements("inet", "weft", "one", ["ip"], 4)).toHaveLength(5);
    nft.deleteElements("inet", "weft", "one", [...many(1), ...many(7), ...many(7)]);
    expect(listed("set", "one")).toEqual([]);
    nft.deleteElements("inet", "weft", "one", many(7));
    nft.addElements("inet", "weft", "one", []);
    nft.addElements("inet", "weft", "one", many(1));
    nft.deleteElements("inet", "weft", "one", []);
    expect(listed("set", "one")).toEqual(["10.0.0.0"]);
    nft.deleteElements("inet", "weft", "one", many(1));
  });

  test("of a map get the new value", () => {
    const at = (value: number) => [{ key: [ifname("weft0")], value: [mark(value)] }];
    for (const handle of [nft, createNftables({ fd }, { destroy: false })]) {
      handle.addElements("inet", "weft", "marks", at(1));
      handle.addElements("inet", "weft", "marks", at(1));
      handle.addElements("inet", "weft", "marks", [...at(2), { key: [ifname("weft1")], value: [mark(9)] }]);
      expect(handle.elements("inet", "weft", "marks", ["ifname"], 4, ["mark"])).toContainEqual(at(2)[0]!);
      expect(() => handle.addElements("inet", "weft", "marks", [...at(3), ...at(4)])).toThrow("comes twice");
      handle.deleteElements("inet", "weft", "marks", [{ key: [ifname("weft1")] }, ...at(77)]);
      expect(listed("map", "marks")).toEqual([]);
      if (handle !== nft) (handle as NftablesHandle).close();
    }
  });

  test("60,000 of them go in and out; small transactions come to the same", () => {
    const all = many(60_000);
    nft.addElements("inet", "weft", "one", all);
    expect(new Set(nft.elements("inet", "weft", "one", ["ip"], 4).map((e) => e.key[0]!.value)).size).toBe(
      60_000,
    );
    nft.deleteElements("inet", "weft", "one", all.slice(1));
    expect(listed("set", "one")).toEqual(["10.0.0.0"]);

    const small = createNftables({ fd }, { maxTransaction: 200_000, destroy: false });
    small.addElements("inet", "weft", "one", many(20_000));
    expect(nft.elements("inet", "weft", "one", ["ip"], 4)).toHaveLength(20_000);
    small.deleteElements("inet", "weft", "one", many(21_000));
    expect(listed("set", "one")).toEqual([]);
    small.close();
  });
});

describe("errors", () => {
  const caught = (fn: () => void): unknown => {
    try {
      fn();
    } catch (error) {
      return error;
    }
    throw new Error("it did not throw");
  };

  test("an absent set or table is not-found, and named", () => {
    for (const [table, set] of [
      ["weft", "none"],
      ["none", "one"],
    ] as const) {
      const error = caught(() => nft.addElements("inet", table, set, many(1)));
      expect(isNotFound(error)).toBeTrue();
      expect((error as Error).message).toContain(`set inet ${table} ${set}`);
      expect(hintOf(error)).toContain("Declare the set");
      expect(isNotFound(caught(() => nft.elements("inet", table, set, ["ip"], 4)))).toBeTrue();
      nft.deleteElements("inet", table, set, many(1));
    }
  });

  test("elements that do not fit the set are refused before the kernel sees them", () => {
    const cases: [string, SetElement[]][] = [
      ["one", [{ key: [address("fd00::1")] }]],
      ["one", [...many(1), { key: [address("fd00::1")] }]],
      ["one", [...many(1), { key: [mark(1)] }]],
      ["one", [{ key: [address("10.0.0.1"), port(1)] }]],
      ["one", [{ key: [address("10.0.0.1")], value: [mark(1)] }]],
      ["marks", [{ key: [ifname("a")] }]],
      ["marks", [{ key: [ifname("a")], value: [port(1)] }]],
      ["marks", [{ key: [ifname("a")], value: [mark(1)] }, { key: [ifname("b")] }]],
      ["ports", [{ key: [port(65536)] }]],
      ["ports", [{ key: [port(1.5)] }]],
      ["one", [{ key: [] }]],
    ];
    for (const [set, elements] of cases) {
      expect(isInvalid(caught(() => nft.addElements("inet", "weft", set, elements)))).toBeTrue();
    }
    expect(listed("set", "one")).toEqual([]);
    expect(listed("map", "marks")).toEqual([]);
  });

  test("a full set is exhausted, and the transaction has no effect", () => {
    const marks = [1, 2, 3].map((n) => ({ key: [mark(n)] }));
    const error = caught(() => nft.addElements("inet", "weft", "small", marks));
    expect(hasCode(error, "exhausted")).toBeTrue();
    expect(hintOf(error)).toContain("larger size");
    expect(listed("set", "small")).toEqual([]);
  });

  test("sets of intervals and maps to verdicts are unsupported", () => {
    expect(isUnsupported(caught(() => nft.addElements("inet", "weft", "ranges", many(1))))).toBeTrue();
    expect(isUnsupported(caught(() => nft.elements("inet", "weft", "ranges", ["ip"], 4)))).toBeTrue();
    const element = { key: [ifname("a")], value: [mark(1)] };
    expect(isUnsupported(caught(() => nft.addElements("inet", "weft", "dispatch", [element])))).toBeTrue();
    nft.deleteElements("inet", "weft", "dispatch", [element]);
  });
});

describe("scripts", () => {
  test("are transactions; the error names the line", async () => {
    const bad = "table inet other {\n  set a { type ipv4_addr; }\n  sot b { }\n}\n";
    const error = await nft.run(bad).catch((e: unknown) => e);
    expect(isInvalid(error)).toBeTrue();
    expect((error as Error).message).toContain("line 3");
    expect((error as Error).message).toContain("sot b { }");
    expect(nft.tableExists("inet", "other")).toBeFalse();
    const absent = await nft
      .run("add table inet other\ndelete set inet other none\n")
      .catch((e: unknown) => e);
    expect(isNotFound(absent)).toBeTrue();
    expect((absent as Error).message).toContain("line 2");
    expect(nft.tableExists("inet", "other")).toBeFalse();
    expect(nft.tableExists("inet", "weft")).toBeTrue();
    expect(nft.tableExists("ip", "weft")).toBeFalse();
  });
});

describe("other tables", () => {
  test("base chains are those of nft", async () => {
    await nft.run(`
      table ip a {
        chain post { type nat hook postrouting priority srcnat; }
      }
      table ip6 a {
        chain out { type route hook output priority -150; policy drop; }
      }
      table arp a {
        chain in { type filter hook input priority 0; }
        chain out { type filter hook output priority 5; }
      }
      table bridge a {
        chain pass { type filter hook forward priority 0; }
        chain plain { accept; }
      }
      table netdev a {
        chain in { type filter hook ingress device lo priority -5; }
      }
      table inet a {
        chain in { type filter hook ingress device lo priority 1; }
      }`);
    const expected = nftJson("list", "chains").nftables.flatMap(({ chain }) => {
      const { family, table, name, type, hook, prio, policy } = { ...chain } as Record<string, unknown>;
      return hook === undefined ? [] : [{ family, table, name, type, hook, priority: prio, policy }];
    });
    expect(expected).toHaveLength(7);
    expect(sorted(nft.baseChains())).toEqual(sorted(expected));
    expect(nft.foreignDrops("weft")).toEqual([]);
    await nft.run("delete table ip a; delete table ip6 a; delete table arp a; delete table bridge a");
    await nft.run("delete table netdev a; delete table inet a");
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
        chain clean { type filter hook forward priority -9; accept; }
        chain input { type filter hook input priority 0; policy drop; }
      }
      table inet mapping {
        chain deep { drop; }
        map where { type ifname : verdict; elements = { "eth7" : jump deep, "eth8" : accept }; }
        chain named { type filter hook forward priority 1; iifname vmap @where; }
        chain anonymous { type filter hook forward priority 2; meta l4proto vmap { tcp : accept, udp : drop }
      }
        chain clean { type filter hook forward priority 4; meta l4proto vmap { tcp : accept, udp : continue }; }
      }
      table inet asleep { flags dormant; chain forward { type filter hook forward priority 0; policy drop; }
      }
      table netdev entry {
        chain in { type filter hook ingress device lo priority 0; drop; }
      }
      table bridge wall {
        chain forward { type filter hook forward priority 0; policy drop; }
      }`);
    const found = nft
      .foreignDrops("weft")
      .map((d) => `${d.family} ${d.table} ${d.chain} ${d.hook} ${d.priority} ${d.policy} ${d.hasDropRules}`)
      .sort();
    expect(found).toEqual(
      [
        "bridge wall forward forward 0 drop false",
        "inet jumping forward forward -10 accept true",
        "inet mapping anonymous forward 2 accept true",
        "inet mapping named forward 1 accept true",
        "ip direct forward forward 0 accept true",
        "ip bypolicy forward forward 3 drop false",
        "ip6 rejecting forward forward 0 accept true",
        "netdev entry in ingress 0 accept true",
      ].sort(),
    );
  });
});
