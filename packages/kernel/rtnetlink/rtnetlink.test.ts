/** Against a second implementation: what ip(8) and bridge(8) make and read. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { type IpAddress, type IpWithLength, type Mac, type Prefix, WeftError } from "@weft/base";
import { createAnonymous, spawnSyncIn } from "../netns/index.ts";
import { ROUTE_PROTOCOL } from "../port.ts";
import { LinkRemover, RealNamespace } from "./index.ts";

const MAC_A = "02:00:00:00:00:0a" as Mac;
const MAC_B = "02:00:00:00:00:0b" as Mac;

/** What the other programs print, as far as it is looked at. */
interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly link_type: string;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly master?: string;
  readonly ifalias?: string;
  readonly link?: string;
  readonly inet6_addr_gen_mode?: string;
  readonly linkinfo?: {
    readonly info_kind: string;
    readonly info_data?: Readonly<Record<"id" | "port" | "local" | "local6" | "link" | "learning", unknown>>;
  };
}
interface IpAddresses {
  readonly ifname: string;
  readonly addr_info: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
    readonly tentative?: boolean;
    readonly dynamic?: boolean;
  }[];
}
interface FdbEntry {
  readonly mac: string;
  readonly dst: string;
  readonly state: string;
}

let a: RealNamespace;
let b: RealNamespace;
beforeEach(() => {
  const remover = new LinkRemover();
  a = new RealNamespace(createAnonymous(), remover);
  b = new RealNamespace(createAnonymous(), remover);
});
afterEach(() => {
  a.close();
  b.close();
});

function run(namespace: RealNamespace, command: string): string {
  const { exitCode, stdout, stderr } = spawnSyncIn(namespace, command.split(" "));
  expect(`${command}: ${exitCode} ${stderr}`).toBe(`${command}: 0 `);
  return stdout.toString();
}
const json = <T>(namespace: RealNamespace, command: string): T[] => JSON.parse(run(namespace, command));

function veth(): void {
  a.createVeth({
    name: "weft-a",
    mac: MAC_A,
    mtu: 1400,
    alias: "pod default/web",
    addressGeneration: "none",
    peer: { name: "weft-b", mac: MAC_B, mtu: 1390, namespace: b },
  });
  a.changeLink("weft-a", { up: true });
  b.changeLink("weft-b", { up: true });
}

test("links that ip made are read as ip reads them", () => {
  run(a, "ip link add weft-br type bridge");
  run(a, "ip link add weft-v type vxlan id 7 dstport 4789 local 10.0.0.1 dev weft-br udpcsum nolearning");
  run(a, "ip link add weft-6 type vxlan id 8 dstport 8472 local fd00::1 udp6zerocsumtx learning");
  run(a, "ip link add weft-a type veth peer name weft-b");
  run(a, "ip link set weft-a master weft-br up alias other");
  run(a, "ip link set weft-b up mtu 1280 addrgenmode random");
  run(a, "ip link set lo up");
  const theirs = json<IpLink>(a, "ip -j -d link show").map((l) => ({
    index: l.ifindex,
    name: l.ifname,
    kind: l.linkinfo?.info_kind ?? "other",
    mac: l.link_type === "ether" ? l.address : undefined,
    mtu: l.mtu,
    up: l.flags.includes("UP"),
    carrier: l.flags.includes("LOWER_UP"),
    loopback: l.flags.includes("LOOPBACK"),
    master: l.master,
    alias: l.ifalias,
    addressGeneration: { eui64: "eui64", none: "none" }[l.inet6_addr_gen_mode as string] ?? "other",
    vni: l.linkinfo?.info_data?.id,
    port: l.linkinfo?.info_data?.port,
    local: l.linkinfo?.info_data?.local ?? l.linkinfo?.info_data?.local6,
    underlay: l.linkinfo?.info_kind === "vxlan" ? (l.link ?? l.linkinfo.info_data?.link) : undefined,
    learning: l.linkinfo?.info_data?.learning,
  }));
  const ours: unknown[] = a.links().map(({ vxlan, peerIndex, peerNsid, ...link }) => ({
    ...link,
    vni: vxlan?.vni,
    port: vxlan?.port,
    local: vxlan?.local,
    underlay: vxlan?.underlay,
    learning: vxlan?.learning,
  }));
  expect(ours).toEqual(theirs);
  expect(a.link("weft-v")?.vxlan?.udpChecksum).toBe(true);
  expect(a.link("weft-6")?.vxlan?.udpChecksum).toBe(false);
  expect(a.link("weft-a")?.peerIndex).toBe(a.link("weft-b")?.index);
});

test("links that we made are what ip says", () => {
  veth();
  a.createVxlan("weft-v", MAC_A, 1300, {
    vni: 0xabcdef,
    port: 4790,
    local: "fd00::1" as IpAddress,
    underlay: "weft-a",
    learning: false,
    udpChecksum: true,
  });
  a.createBridge("weft-br", MAC_B, 1500);
  a.changeLink("weft-v", { master: "weft-br" });
  const [ours] = json(a, "ip -j -d link show dev weft-a");
  expect(ours).toMatchObject({
    address: MAC_A,
    mtu: 1400,
    ifalias: "pod default/web",
    inet6_addr_gen_mode: "none",
    link_index: b.link("weft-b")?.index,
    link_netnsid: a.nsidOf(b),
  });
  const [vxlan] = json<IpLink>(a, "ip -j -d link show dev weft-v");
  expect(vxlan?.master).toBe("weft-br");
  expect(vxlan?.linkinfo?.info_data).toMatchObject({
    id: 0xabcdef,
    port: 4790,
    local6: "fd00::1",
    link: "weft-a",
    learning: false,
    udp_zero_csum6_tx: false,
    udp_zero_csum6_rx: false,
  });
});

test("addresses", () => {
  veth();
  a.replaceAddress({ link: "weft-a", address: "10.0.0.1/24" as IpWithLength });
  a.replaceAddress({ link: "weft-a", address: "169.254.1.1/32" as IpWithLength, scope: "link" });
  a.replaceAddress({ link: "weft-a", address: "fd00::1/64" as IpWithLength, noPrefixRoute: true });
  run(a, "ip addr add 10.9.0.1 peer 10.9.0.2/30 dev weft-a");
  run(a, "ip addr add fd09::1/64 dev weft-a valid_lft 100 preferred_lft 50");
  run(a, "ip link set lo up");
  const theirs = json<IpAddresses>(a, "ip -j addr show").flatMap((l) =>
    l.addr_info.map((i) => ({
      link: l.ifname,
      address: `${i.local}/${i.prefixlen}`,
      scope: i.scope,
      tentative: i.tentative === true,
      permanent: i.dynamic !== true,
    })),
  );
  const order = (x: { address: string }, y: { address: string }): number =>
    x.address.localeCompare(y.address);
  const ours: { address: string }[] = a.addresses();
  expect(ours.sort(order)).toEqual(theirs.sort(order));
  const [link] = json<IpAddresses>(a, "ip -j addr show dev weft-a");
  expect(link?.addr_info).toContainEqual(
    expect.objectContaining({ local: "fd00::1", nodad: true, noprefixroute: true }),
  );
});

describe("routes", () => {
  beforeEach(() => {
    veth();
    a.replaceAddress({ link: "weft-a", address: "10.0.0.1/24" as IpWithLength });
    a.replaceAddress({ link: "weft-a", address: "fd00::1/64" as IpWithLength });
  });

  test("that ip made are read as they are", () => {
    for (const command of [
      "ip route add 10.1.0.0/16 via 10.0.0.2 dev weft-a proto 87 src 10.0.0.1 metric 5 mtu 1300",
      "ip route add 10.2.0.0/16 via inet6 fe80::1 dev weft-a proto 87",
      "ip route add 10.3.0.0/16 proto 87 nexthop via 10.0.0.2 nexthop via 10.0.0.3",
      "ip route add default via 169.254.1.1 dev weft-a onlink proto 87 table 5000",
      "ip route add blackhole 10.4.0.0/16 proto 87",
      "ip route add throw 10.5.0.0/16 proto 87",
      "ip -6 route add prohibit fd04::/48 proto 87",
      "ip -6 route add fd01::/48 via fe80::1 dev weft-a proto 87 mtu 1290",
    ]) {
      run(a, command);
    }
    const rows = a
      .routes({ protocol: ROUTE_PROTOCOL })
      .map((r) => [
        r.destination,
        r.type,
        r.table,
        r.scope,
        r.link,
        r.gateway,
        r.onlink,
        r.source,
        r.metric,
        r.mtu,
      ]);
    const no = undefined;
    expect(rows.sort()).toEqual([
      ["0.0.0.0/0", "unicast", 5000, "global", "weft-a", "169.254.1.1", true, no, 0, no],
      ["10.1.0.0/16", "unicast", 254, "global", "weft-a", "10.0.0.2", false, "10.0.0.1", 5, 1300],
      ["10.2.0.0/16", "unicast", 254, "global", "weft-a", "fe80::1", false, no, 0, no],
      ["10.3.0.0/16", "unicast", 254, "global", "weft-a", "10.0.0.2", false, no, 0, no],
      ["10.4.0.0/16", "blackhole", 254, "global", no, no, false, no, 0, no],
      ["10.5.0.0/16", "other", 254, "global", no, no, false, no, 0, no],
      ["fd01::/48", "unicast", 254, "global", "weft-a", "fe80::1", false, no, 1024, 1290],
      ["fd04::/48", "prohibit", 254, "global", no, no, false, no, 1024, no],
    ] as never);
  });

  test("that we made are what ip says", () => {
    const main = { protocol: ROUTE_PROTOCOL, link: "weft-a" };
    a.replaceRoute({
      destination: "10.2.0.0/16" as Prefix,
      ...main,
      gateway: "fe80::1" as IpAddress,
      onlink: true,
    });
    a.replaceRoute({ destination: "10.9.9.9/32" as Prefix, ...main, scope: "link", mtu: 1200 });
    a.replaceRoute({ destination: "10.8.0.0/16" as Prefix, type: "unreachable", table: 300, metric: 9 });
    expect(json(a, "ip -j -d route show proto 87 table all")).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          dst: "10.2.0.0/16",
          via: { family: "inet6", host: "fe80::1" },
          dev: "weft-a",
          flags: ["onlink"],
        }),
        expect.objectContaining({ dst: "10.9.9.9", scope: "link", metrics: [{ mtu: 1200 }] }),
        expect.objectContaining({ dst: "10.8.0.0/16", type: "unreachable", table: "300", metric: 9 }),
      ]),
    );
  });

  test("a thousand come back in one dump, and only those asked for", () => {
    const destination = (i: number): Prefix => `10.${100 + (i >> 8)}.${i & 255}.0/24` as Prefix;
    for (let i = 0; i < 1000; i++) a.replaceRoute({ destination: destination(i), link: "weft-a" });
    const rows = a.routes({ protocol: ROUTE_PROTOCOL });
    expect(new Set(rows.map((r) => r.destination)).size).toBe(1000);
    expect(rows.every((r) => r.link === "weft-a" && r.protocol === ROUTE_PROTOCOL)).toBe(true);
    for (let i = 0; i < 1000; i++) a.deleteRoute({ destination: destination(i) });
    expect(a.routes({ protocol: ROUTE_PROTOCOL })).toEqual([]);
  });

  test("deleting with IPv6 does not take an unreachable route for another, or another for it", () => {
    const destination = "fd01::/48" as Prefix;
    a.replaceRoute({ destination, type: "unreachable" });
    a.deleteRoute({ destination, link: "weft-a" });
    expect(a.routes({ protocol: ROUTE_PROTOCOL })).toHaveLength(1);
    a.deleteRoute({ destination, type: "unreachable" });
    expect(a.routes({ protocol: ROUTE_PROTOCOL })).toEqual([]);
  });
});

test("neighbours and forwarding entries", () => {
  veth();
  a.replaceNeighbour("weft-a", "10.0.0.2" as IpAddress, MAC_B);
  run(a, "ip -6 neigh add fe80::7 lladdr 02:00:00:00:00:07 dev weft-a nud reachable");
  expect(json(a, "ip -j neigh show")).toMatchObject(
    [{ dst: "fe80::7" }, { dst: "10.0.0.2", lladdr: MAC_B, state: ["PERMANENT"] }].sort((x) =>
      x.dst === "10.0.0.2" ? -1 : 1,
    ),
  );
  expect(a.neighbours().map((n) => [n.ip, n.state])).toEqual(
    expect.arrayContaining([
      ["fe80::7", "reachable"],
      ["10.0.0.2", "permanent"],
    ]) as never,
  );
  run(a, "ip link add weft-v type vxlan id 7 dstport 4789 local 10.0.0.1");
  run(a, "bridge fdb append 02:00:00:00:00:07 dev weft-v dst 10.0.0.7 self dynamic");
  a.replaceForwarding("weft-v", MAC_B, "10.0.0.2" as IpAddress);
  const theirs = json<FdbEntry>(a, "bridge -j fdb show dev weft-v").map((f) => [f.mac, f.dst, f.state]);
  const ours = a
    .forwarding("weft-v")
    .map((f) => [f.mac, f.remote, f.permanent ? "permanent" : ""] as unknown[]);
  expect(ours.sort()).toEqual(theirs.sort());
  expect(ours).toHaveLength(2);
});

test("offload and rules", () => {
  veth();
  a.setTransmitChecksumOffload("weft-a", false);
  const rule = { from: "10.0.0.0/24" as Prefix, table: 1000, priority: 90, protocol: ROUTE_PROTOCOL };
  a.replaceRule(rule);
  run(a, "ip rule add from 10.1.0.0/24 fwmark 7 table 9");
  run(a, "ip rule add not from 10.2.0.0/24 table 9");
  run(a, "ip rule add from 10.3.0.0/24 prohibit");
  run(a, "ip -6 rule add from fd00::/64 table 9 priority 5 protocol 4");
  expect(a.rules()).toEqual([rule, { from: "fd00::/64" as Prefix, table: 9, priority: 5, protocol: 4 }]);
  expect(json(a, "ip -j rule show")).toContainEqual(
    expect.objectContaining({ priority: 90, src: "10.0.0.0", srclen: 24, table: "1000" }),
  );
});

test("two hundred and fifty handles, two descriptors each, none left", async () => {
  const before = readdirSync("/proc/self/fd").length;
  const handles = Array.from({ length: 250 }, () => new RealNamespace(createAnonymous()));
  expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 510);
  handles.forEach((handle, i) => {
    a.createVeth({
      name: `weft${i}`,
      mac: MAC_A,
      mtu: 1500,
      peer: { name: "eth0", mac: MAC_B, mtu: 1500, namespace: handle },
    });
  });
  expect(handles.every((handle) => handle.link("eth0")?.kind === "veth")).toBe(true);
  await Promise.all(handles.map((_, i) => a.deleteLink(`weft${i}`)));
  expect(handles.map((handle) => handle.link("eth0")).filter((l) => l !== undefined)).toEqual([]);
  for (const handle of handles) handle.close();
  expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 10);
});

test("one link that cannot be deleted spoils no other's deletion", async () => {
  a.createBridge("weft-0", MAC_A, 1500);
  a.createBridge("weft-1", MAC_B, 1500);
  const results = await Promise.allSettled(["weft-0", "lo", "weft-1"].map((name) => a.deleteLink(name)));
  expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(a.links().map((l) => l.name)).toEqual(["lo"]);
  expect(json(a, "ip -j link show dev lo")).toMatchObject([{ group: "default" }]);
});

test("a pair whose alias is refused is not left half made", () => {
  const make = (): void =>
    a.createVeth({
      name: "weft-a",
      mac: MAC_A,
      mtu: 1500,
      alias: "x".repeat(300),
      peer: { name: "weft-b", mac: MAC_B, mtu: 1500, namespace: b },
    });
  expect(make).toThrow(WeftError);
  expect([a.link("weft-a"), b.link("weft-b")]).toEqual([undefined, undefined]);
});

test("a namespace that nothing holds is gone, and the other end of its links too", async () => {
  const passing = new RealNamespace(createAnonymous());
  a.createVeth({
    name: "weft-a",
    mac: MAC_A,
    mtu: 1500,
    peer: { name: "eth0", mac: MAC_B, mtu: 1500, namespace: passing },
  });
  passing.close();
  // One kernel thread ends all namespaces of the machine.
  for (let i = 0; i < 12_000 && a.link("weft-a") !== undefined; i++) await Bun.sleep(5);
  expect(a.link("weft-a")).toBeUndefined();
});
