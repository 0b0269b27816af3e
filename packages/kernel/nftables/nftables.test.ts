import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, openSync } from "node:fs";
import { type IpAddress, isInvalid, type Mac } from "@weft/base";
import { createAnonymous } from "../netns/index.ts";
import type { IpRange, SetElement } from "../port.ts";
import { nftablesConformance } from "./conformance.ts";
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
  map services { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }
  map marks { type ifname : mark; }
  set nets4 { type ipv4_addr; flags interval; }
  set nets6 { type ipv6_addr; flags interval; }
}`;

let fd: number;
let nft: NftablesHandle;

const many = (n: number): SetElement[] =>
  Array.from({ length: n }, (_, i) => ({ key: [address(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)] }));

beforeAll(async () => {
  const { stdout } = Bun.spawnSync(["ip", "netns", "list"]);
  for (const [stale, pid] of stdout.toString().matchAll(/^weft-t-nft-(\d+)/gm))
    if (!existsSync(`/proc/${pid}`)) ip("netns", "del", stale);
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

  test("ranges are what nft lists", () => {
    const range = (first: string, last: string): IpRange => ({
      first: first as IpAddress,
      last: last as IpAddress,
    });
    const four = [
      range("10.0.0.0", "10.0.0.255"),
      range("10.0.1.0", "10.0.1.2"),
      range("224.0.0.0", "255.255.255.255"),
    ];
    nft.changeRanges("inet", "weft", "nets4", [], four);
    expect(listed("set", "nets4")).toEqual([
      { prefix: { addr: "10.0.0.0", len: 24 } },
      { range: ["10.0.1.0", "10.0.1.2"] },
      { prefix: { addr: "224.0.0.0", len: 3 } },
    ]);
    nft.changeRanges(
      "inet",
      "weft",
      "nets6",
      [],
      [range("fd00::", "fd00::ffff"), range("fd01::1", "fd01::1")],
    );
    expect(listed("set", "nets6")).toEqual([{ prefix: { addr: "fd00::", len: 112 } }, "fd01::1"]);
    nft.changeRanges("inet", "weft", "nets4", four.slice(0, 2), [range("10.0.0.0", "10.0.0.7")]);
    expect(listed("set", "nets4")).toEqual([
      { prefix: { addr: "10.0.0.0", len: 29 } },
      { prefix: { addr: "224.0.0.0", len: 3 } },
    ]);
    nft.changeRanges("inet", "weft", "nets4", [range("10.0.0.0", "10.0.0.7"), ...four], []);
    expect(listed("set", "nets4")).toEqual([]);
  });

  test("thousands of ranges in one call, and one more", () => {
    const ranges = Array.from({ length: 5000 }, (_, i): IpRange => {
      const text = `10.${i >> 8}.${i & 255}`;
      return { first: `${text}.0` as IpAddress, last: `${text}.255` as IpAddress };
    });
    nft.changeRanges("inet", "weft", "nets4", [], ranges);
    expect(nft.ranges("inet", "weft", "nets4", 4)).toEqual(ranges);
    const more = { first: "172.16.0.0", last: "172.16.0.255" } as IpRange;
    nft.changeRanges("inet", "weft", "nets4", [], [more]);
    nft.changeRanges("inet", "weft", "nets4", ranges, []);
    expect(nft.ranges("inet", "weft", "nets4", 4)).toEqual([more]);
    nft.changeRanges("inet", "weft", "nets4", [more], []);
  });

  test("that nft has added are read", async () => {
    await nft.run("add element inet weft pods6 { veth7 . fd00::7 }");
    const read = nft.elements("inet", "weft", "pods6", ["ifname", "ip"], 6);
    expect(read).toContainEqual({ key: [ifname("veth7"), address("fd00::7")] });
    await nft.run("flush set inet weft pods6");
    expect(nft.elements("inet", "weft", "pods6", ["ifname", "ip"], 6)).toEqual([]);
  });

  test("of a map get the new value where the kernel cannot destroy", () => {
    const old = createNftables({ fd }, { destroy: false });
    const at = (value: number): SetElement => ({ key: [ifname("weft0")], value: [mark(value)] });
    old.addElements("inet", "weft", "marks", [at(1)]);
    old.addElements("inet", "weft", "marks", [at(2), { key: [ifname("weft1")], value: [mark(9)] }]);
    expect(sorted(listed("map", "marks"))).toEqual([
      ["weft0", 2],
      ["weft1", 9],
    ]);
    old.deleteElements("inet", "weft", "marks", [{ key: [ifname("weft1")] }, at(77), at(77)]);
    expect(listed("map", "marks")).toEqual([]);
    old.close();
  });

  test("60,000 of them go in and out; small transactions come to the same", () => {
    const all = many(60_000);
    nft.addElements("inet", "weft", "one", all);
    expect(new Set(nft.elements("inet", "weft", "one", ["ip"], 4).map((e) => e.key[0]!.value)).size).toBe(
      60_000,
    );
    nft.deleteElements("inet", "weft", "one", all.slice(1));
    // nft may show it twice while the set shrinks.
    expect(new Set(listed("set", "one"))).toEqual(new Set(["10.0.0.0"]));

    const small = createNftables({ fd }, { maxTransaction: 200_000, destroy: false });
    small.addElements("inet", "weft", "one", many(20_000));
    expect(nft.elements("inet", "weft", "one", ["ip"], 4)).toHaveLength(20_000);
    small.deleteElements("inet", "weft", "one", many(21_000));
    expect(listed("set", "one")).toEqual([]);
    small.close();
  });
});

test("an error of nft's grammar names the line", async () => {
  const error = await nft.run("table inet other {\n  sot b { }\n}\n").catch((e: unknown) => e);
  expect(isInvalid(error)).toBeTrue();
  expect((error as Error).message).toContain("line 2");
  expect((error as Error).message).toContain("sot b { }");
});

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
  await nft.run("delete table ip a; delete table ip6 a; delete table arp a; delete table bridge a");
  await nft.run("delete table netdev a; delete table inet a");
});

nftablesConformance("Linux", () => {
  const namespace = createAnonymous();
  const handle = createNftables(namespace);
  return {
    nft: handle,
    cleanup() {
      handle.close();
      namespace.close();
    },
  };
});
