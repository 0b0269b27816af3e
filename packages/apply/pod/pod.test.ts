/** A container's interface on the real kernel, seen by ip(8), sysctl(8) and ping(8) from inside. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { familyOf, hostPrefix, linkLocalOf, parseIp } from "@weft/base";
import { spawnSyncIn } from "@weft/kernel/netns";
import type { NetworkNamespace } from "@weft/kernel/port";
import type { PlanRow, PlanRowOf } from "@weft/model";
import { attachmentCase } from "../testing/attachment-case.ts";
import { UPLINK } from "../testing/cases.ts";
import { TestNode } from "../testing/node.ts";
import { type Container, realWorld, type World } from "../testing/worlds.ts";

let world: World;
let container: Container;
let node: TestNode;
beforeEach(() => {
  world = realWorld();
  world.setUplink(1500, UPLINK);
  container = world.newContainer();
  node = new TestNode(world);
});
afterEach(async () => {
  await node.stop();
  world.close();
});

function run(where: NetworkNamespace, command: string): { code: number; text: string } {
  const { exitCode, stdout, stderr } = spawnSyncIn(where, command.split(" "));
  return { code: exitCode, text: stdout.toString() + stderr.toString() };
}
const json = <T>(command: string): T => JSON.parse(run(container.inside, command).text) as T;
const pings = (where: NetworkNamespace, to: string): string =>
  `${to} ${run(where, `ping -n -c 1 -W 20 ${to}`).code}`;
const reached = (to: string): string => `${to} 0`;

/** Everything under net/, by key. */
function sysctls(): Map<string, string> {
  const lines = run(container.inside, "sysctl -a --pattern ^net\\.").text.split("\n");
  return new Map(lines.filter((l) => l.includes(" = ")).map((l) => l.split(" = ", 2) as [string, string]));
}
/** These change by themselves. */
const VOLATILE = /nf_conntrack_count|\.rt6_stats|random|\.stable_secret/;
const changed = (before: Map<string, string>, after: Map<string, string>): string[] =>
  [...after]
    .filter(([key, value]) => !VOLATILE.test(key) && !/\beth0\b/.test(key) && before.get(key) !== value)
    .map(([key, value]) => `${key} = ${value}, was ${before.get(key)}`);
/** Settings of the interface that are not what the container has for new interfaces. */
const special = (all: Map<string, string>): string[] =>
  [...all]
    .filter(([key]) => /\.conf\.eth0\./.test(key) && !/\.mtu$/.test(key))
    .filter(([key, value]) => all.get(key.replace(".eth0.", ".default.")) !== value)
    .map(([key, value]) => `${key} = ${value}`);

/** The attachment and what else the node has for it. */
function rows(family: "IPv4" | "IPv6" | "dual"): PlanRow[] {
  const row = attachmentCase(container, family).row as PlanRowOf<"attachment">;
  const { origin, hostLink, mac, addresses } = row;
  const sources = addresses.some((a) => familyOf(a) === 6) ? [...addresses, linkLocalOf(mac)] : addresses;
  return [
    row,
    ...sources.map((ip): PlanRow => ({ kind: "allowed-source", link: hostLink, mac, ip, origin })),
    ...addresses.flatMap((ip): PlanRow[] => [
      { kind: "neighbour", link: hostLink, ip, mac, origin },
      {
        kind: "route",
        destination: hostPrefix(ip),
        table: 254,
        type: "unicast",
        link: hostLink,
        gateway: undefined,
        onlink: false,
        source: parseIp(familyOf(ip) === 4 ? "198.18.1.11" : "fd57:eff7:0:1::11"),
        metric: 87,
        origin,
      },
    ]),
  ];
}

async function attach(family: "IPv4" | "IPv6" | "dual"): Promise<void> {
  await node.go(rows(family));
  expect(node.errors()).toEqual([]);
  expect(await node.drift()).toEqual([]);
}

interface IpLink {
  readonly mtu: number;
  readonly address: string;
  readonly operstate: string;
  readonly addr_info: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly tentative?: boolean;
  }[];
}

describe("dual stack", () => {
  test("inside there is what is documented, at once", async () => {
    await attach("dual");
    const [eth0] = json<IpLink[]>("ip -j addr show dev eth0");
    expect(eth0).toMatchObject({ mtu: 1450, address: "02:00:00:00:00:a2", operstate: "UP" });
    expect(eth0?.addr_info.map((a) => `${a.local}/${a.prefixlen} ${a.tentative ?? false}`).sort()).toEqual([
      "10.244.1.5/32 false",
      "fd00:10:244:1::5/128 false",
      "fe80::ff:fe00:a2/64 false",
    ]);
    const routes = (family: 4 | 6) =>
      json<{ dst: string; gateway?: string; dev: string }[]>(`ip -j -${family} route show`).map(
        (r) => `${r.dst} ${r.gateway ?? ""} ${r.dev}`,
      );
    expect(routes(4).sort()).toEqual(["169.254.1.1  eth0", "default 169.254.1.1 eth0"]);
    expect(routes(6).sort()).toEqual(["default fe80::1 eth0", "fd00:10:244:1::5  eth0", "fe80::/64  eth0"]);
    const neighbours = json<{ dst: string; lladdr: string; state: string[] }[]>("ip -j neigh show");
    expect(neighbours.map((n) => `${n.dst} ${n.lladdr} ${n.state}`).sort()).toEqual([
      "169.254.1.1 02:00:00:00:00:a1 PERMANENT",
      "fe80::1 02:00:00:00:00:a1 PERMANENT",
    ]);
    expect(world.self.link("weft0000000000a")).toMatchObject({
      mac: "02:00:00:00:00:a1",
      mtu: 1450,
      up: true,
      carrier: true,
      alias: "pod default/a",
    });
  });

  test("the kernel takes packets to the addresses by the time that they are said to be there", async () => {
    for (let i = 0; i < 20; i++) {
      await attach("dual");
      const local = run(container.inside, "ip -6 route show table local").text;
      for (const ip of ["fd00:10:244:1::5", "fe80::ff:fe00:a2"])
        expect(local).toContain(`local ${ip} dev eth0`);
      await node.go([]);
    }
  });

  test("the container's sysctls stay, but for two of the interface", async () => {
    const before = sysctls();
    expect(before.size).toBeGreaterThan(300);
    await attach("dual");
    const after = sysctls();
    expect(changed(before, after)).toEqual([]);
    expect(special(after)).toEqual([
      "net.ipv6.conf.eth0.accept_ra = 0",
      // The kernel's word for "addresses are left to us".
      "net.ipv6.conf.eth0.addr_gen_mode = 1",
    ]);
    expect(after.get("net.ipv6.conf.eth0.disable_ipv6")).toBe("0");
  });

  test("both ends reach each other, and the container its gateway, whatever is flushed", async () => {
    await attach("dual");
    const all = ["198.18.1.11", "fd57:eff7:0:1::11", "169.254.1.1", "fe80::1%eth0"];
    for (const to of all) expect(pings(container.inside, to)).toBe(reached(to));
    for (const to of ["10.244.1.5", "fd00:10:244:1::5"]) expect(pings(world.self, to)).toBe(reached(to));
    run(container.inside, "ip neigh flush all");
    expect(run(container.inside, "ip neigh show nud permanent").text).toContain("169.254.1.1");
    run(container.inside, "ip neigh flush dev eth0 nud all");
    run(container.inside, "ip -6 neigh flush dev eth0 nud all");
    expect(run(container.inside, "ip neigh show nud permanent").text).toBe("");
    // Now the gateway has to answer ARP and NDP.
    for (const to of all) expect(pings(container.inside, to)).toBe(reached(to));
    const arp = run(container.inside, "arping -C 1 -w 20 -I eth0 169.254.1.1");
    expect(arp.text).toContain("02:00:00:00:00:a1");
  });

  test("another's address is not sent from", async () => {
    await attach("dual");
    run(container.inside, "ip addr add 10.244.1.77/32 dev eth0");
    run(container.inside, "ip addr add fd00:10:244:1::77/128 dev eth0 nodad");
    const from = (source: string, to: string, seconds: number): string =>
      `${source} ${run(container.inside, `ping -n -c 1 -W ${seconds} -I ${source} ${to}`).code}`;
    expect(from("10.244.1.77", "198.18.1.11", 0.3)).toBe("10.244.1.77 1");
    expect(from("fd00:10:244:1::77", "fd57:eff7:0:1::11", 0.3)).toBe("fd00:10:244:1::77 1");
    expect(from("10.244.1.5", "198.18.1.11", 20)).toBe("10.244.1.5 0");
    const counter = run(world.self, "nft list counter inet weft spoofed").text;
    expect(Number(/packets (\d+)/.exec(counter)?.[1])).toBeGreaterThanOrEqual(2);
  });
});

test("with IPv4 alone, IPv6 in the container is left as it is", async () => {
  const before = sysctls();
  await attach("IPv4");
  const after = sysctls();
  expect(changed(before, after)).toEqual([]);
  expect(special(after)).toEqual([]);
  expect(pings(container.inside, "198.18.1.11")).toBe(reached("198.18.1.11"));
  expect(run(container.inside, "ip -6 route show default").text).toBe("");
});

test("with IPv6 alone there is nothing of IPv4", async () => {
  await attach("IPv6");
  expect(run(container.inside, "ip -4 addr show dev eth0").text).toBe("");
  expect(run(container.inside, "ip -4 route show").text).toBe("");
  expect(pings(container.inside, "fd57:eff7:0:1::11")).toBe(reached("fd57:eff7:0:1::11"));
});

for (const [who, where] of [
  ["container", () => container.inside],
  ["node", () => world.self],
] as const) {
  test(`a ${who} whose new interfaces have no IPv6 still gets it where it is asked for`, async () => {
    where().setSysctl("net/ipv6/conf/default/disable_ipv6", "1");
    const before = sysctls();
    await attach("dual");
    expect(changed(before, sysctls())).toEqual([]);
    expect(pings(container.inside, "fe80::1%eth0")).toBe(reached("fe80::1%eth0"));
    expect(pings(container.inside, "fd57:eff7:0:1::11")).toBe(reached("fd57:eff7:0:1::11"));
  });
}

test("without IPv6 asked for, a container that has none keeps having none", async () => {
  container.inside.setSysctl("net/ipv6/conf/all/disable_ipv6", "1");
  await attach("IPv4");
  expect(container.inside.sysctl("net/ipv6/conf/eth0/disable_ipv6")).toBe("1");
  expect(run(container.inside, "ip -6 addr show").text).toBe("");
});
