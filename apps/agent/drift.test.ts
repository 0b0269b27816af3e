/**
 * What somebody else changes in the kernel is put right within seconds, on the node and inside of pods; what was
 * never Weft's is never touched.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { TestNode, type TestPod } from "./testing/node.ts";
import { changes, viewOf } from "./testing/view.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);
/** No time is asserted: longer than this means that nobody will. */
const LIMIT_MS = 25_000;

let node: TestNode;
let pod: TestPod;
let other: TestPod;
const times = new Map<string, number>();

beforeAll(async () => {
  node = new TestNode();
  node.writeNode("node2", ["172.30.0.12", "fd00:30::12"], ["10.240.2.0/24", "fd00:240:2::/64"]);
  node.writeNode("node3", ["172.31.0.13"], ["10.240.3.0/24", "fd00:240:3::/64"]);
  await node.start();
  [pod, other] = [await node.add(), await node.add()];
  await node.settled();
});
afterAll(async () => {
  for (const [what, ms] of [...times].sort((a, b) => b[1] - a[1]))
    console.log(`  ${ms.toFixed(0).padStart(6)} ms  ${what}`);
  await node.close();
});

const views = (): string[] =>
  [node.node, pod].flatMap((ns, i) => [
    ...viewOf(ns).map((line) => `${i} ${line}`),
    `${i} forwarding ${ns.self.sysctl("net/ipv4/ip_forward")} ${ns.self.sysctl("net/ipv6/conf/all/forwarding")}`,
  ]);

/** Breaks something, expects that it shows, and waits until everything is as before. */
async function repaired(what: string, spoil: () => unknown): Promise<void> {
  const before = views();
  // Asleep, so that it is not quicker than we look.
  node.agent?.kill("SIGSTOP");
  await spoil();
  expect(changes(before, views())).not.toEqual([]);
  node.agent?.kill("SIGCONT");
  const start = performance.now();
  let left: string[] = [];
  await eventually(
    what,
    () => {
      left = changes(before, views());
      return left.length === 0;
    },
    LIMIT_MS,
    () => left.join("\n"),
  );
  times.set(what, performance.now() - start);
  for (const ip of other.addresses) pod.sh(`ping -c1 -W20 ${ip}`);
}

const onNode = (line: string) => () => node.node.sh(line.replaceAll("POD", pod.hostLink));
const inPod = (line: string) => () => pod.sh(line);
const table = (name: string): readonly (readonly [string, () => unknown])[] =>
  name === "node" ? ON_NODE : IN_POD;

const ON_NODE: readonly (readonly [string, () => unknown])[] = [
  ["route to a pod, IPv4", () => node.node.sh(`ip route del ${pod.addresses[0]}`)],
  ["route to a pod, IPv6", () => node.node.sh(`ip -6 route del ${pod.addresses[1]}`)],
  ["route to a block, direct", onNode("ip route del 10.240.2.0/24")],
  ["route to a block, in the tunnel", onNode("ip route del 10.240.3.0/24")],
  ["unreachable own block", onNode("ip route del unreachable 10.240.1.0/24")],
  ["all routes of ours", onNode("ip route flush proto 87")],
  [
    "a route with another source",
    () => {
      node.node.sh(
        `ip route replace ${pod.addresses[0]} dev ${pod.hostLink} proto 87 metric 87 src 10.240.1.1`,
      );
    },
  ],
  ["a pod's veth", onNode("ip link del POD")],
  ["a pod's neighbour entry", () => node.node.sh(`ip neigh del ${pod.addresses[0]} dev ${pod.hostLink}`)],
  [
    "a pod's neighbour entry with another MAC",
    () => {
      node.node.sh(`ip neigh replace ${pod.addresses[1]} dev ${pod.hostLink} lladdr 02:00:00:00:00:77`);
    },
  ],
  ["all neighbours of a pod's link", onNode("ip neigh flush dev POD nud all")],
  ["the gateway's addresses", onNode("ip address flush dev POD")],
  ["a pod's host link down", onNode("ip link set POD down")],
  [
    "a pod's host link down and up",
    () => {
      node.node.sh(`ip link set ${pod.hostLink} down`);
      node.node.sh(`ip link set ${pod.hostLink} up`);
    },
  ],
  ["a pod's host link: MTU", onNode("ip link set POD mtu 1400")],
  ["a pod's host link: MAC", onNode("ip link set POD address 02:00:00:00:00:78")],
  [
    "forwarding entry",
    () => {
      const [entry] = node.node.self.forwarding("weft-vxlan").filter((e) => e.remote !== undefined);
      node.node.sh(`bridge fdb del ${entry?.mac} dev weft-vxlan dst ${entry?.remote}`);
    },
  ],
  [
    "forwarding entry to another node",
    () => {
      const [entry] = node.node.self.forwarding("weft-vxlan").filter((e) => e.remote !== undefined);
      node.node.sh(`bridge fdb append ${entry?.mac} dev weft-vxlan dst 172.31.0.99`);
      node.node.sh(`bridge fdb del ${entry?.mac} dev weft-vxlan dst ${entry?.remote}`);
    },
  ],
  ["tunnel's addresses", onNode("ip address flush dev weft-vxlan scope global")],
  ["tunnel's neighbour entry", onNode("ip neigh del 10.240.3.1 dev weft-vxlan")],
  ["tunnel down", onNode("ip link set weft-vxlan down")],
  ["tunnel's MTU", onNode("ip link set weft-vxlan mtu 1300")],
  ["tunnel too small for IPv6", onNode("ip link set weft-vxlan mtu 1000")],
  ["tunnel device", onNode("ip link del weft-vxlan")],
  [
    "tunnel device of another VNI",
    () => {
      node.node.sh("ip link del weft-vxlan");
      node.node.sh("ip link add weft-vxlan type vxlan id 5 dstport 4789 local 172.30.0.11 dev eth0");
    },
  ],
  [
    "uplink down and up",
    () => {
      node.node.sh("ip link set eth0 down");
      node.node.sh("ip link set eth0 up");
      // The administrator's own, which the kernel takes as well.
      node.node.sh("ip address replace fd00:30::11/64 dev eth0 nodad");
      node.node.sh("ip route replace default via 172.30.0.1 dev eth0");
    },
  ],
  ["nftables: everything flushed", onNode("nft flush ruleset")],
  ["nftables: a table", onNode("nft delete table arp weft")],
  [
    "nftables: elements gone, and one added",
    () => {
      const isMine = (line: string): boolean =>
        line.startsWith("nft element arp weft") && line.includes(pod.hostLink);
      const [element = ""] = viewOf(node.node).filter(isMine);
      const { concat } = JSON.parse(element.replace(/^[^{]*/, "")) as { concat: string[] };
      node.node.run("nft", `delete element arp weft sources4 { ${concat.join(" . ")} }`);
      node.node.run("nft", "flush set inet weft sources6");
      node.node.run("nft", 'add element inet weft sources4 { "weft0" . 02:00:00:00:00:01 . 10.9.9.9 }');
    },
  ],
  ["nftables: a chain", onNode("nft flush chain inet weft from_pod")],
  ["sysctl, IPv4 forwarding", () => node.node.self.setSysctl("net/ipv4/ip_forward", "0")],
  ["sysctl, IPv6 forwarding", () => node.node.self.setSysctl("net/ipv6/conf/all/forwarding", "0")],
  [
    "rules",
    () => {
      node.node.sh("ip rule del table 8700");
      node.node.sh("ip -6 rule del table 8700");
    },
  ],
  [
    "a leftover of ours: route, neighbour, rule",
    () => {
      node.node.sh("ip route add 10.240.99.0/24 dev eth0 proto 87");
      node.node.sh("ip neigh add 10.240.99.1 dev weft-vxlan lladdr 02:00:00:00:00:79");
      node.node.sh("ip rule add from 10.240.99.0/24 table 8700 priority 8700 protocol 87");
    },
  ],
];

const IN_POD: readonly (readonly [string, () => unknown])[] = [
  ["address, IPv4", () => pod.sh(`ip address del ${pod.addresses[0]}/32 dev eth0`)],
  ["address, IPv6", () => pod.sh(`ip address del ${pod.addresses[1]}/128 dev eth0`)],
  ["all addresses", inPod("ip address flush dev eth0")],
  ["default route, IPv4", inPod("ip route del default")],
  ["default route, IPv6", inPod("ip -6 route del default")],
  ["gateway's neighbour entry", inPod("ip neigh del 169.254.1.1 dev eth0")],
  ["gateway's neighbour entry, IPv6", inPod("ip neigh del fe80::1 dev eth0")],
  ["all neighbours", inPod("ip neigh flush dev eth0 nud all")],
  ["interface down", inPod("ip link set eth0 down")],
  [
    "interface down and up",
    () => {
      pod.sh("ip link set eth0 down");
      pod.sh("ip link set eth0 up");
    },
  ],
  ["MTU", inPod("ip link set eth0 mtu 1400")],
  ["MTU too small for IPv6", inPod("ip link set eth0 mtu 1000")],
  ["MAC", inPod("ip link set eth0 address 02:00:00:00:00:7a")],
  [
    "interface renamed",
    () => {
      pod.sh("ip link set eth0 down");
      pod.sh("ip link set eth0 name renamed0");
    },
  ],
  ["interface deleted", inPod("ip link del eth0")],
];

describe.each(["node", "pod"])("repaired, %s", (where) => {
  test.each(table(where))("%s", async (what, spoil) => {
    await repaired(`${where}: ${what}`, spoil);
  });
});

describe("what is not ours", () => {
  test("is never touched: links, addresses, routes, rules, neighbours, tables, also of our names' neighbours", async () => {
    const before = viewOf(node.node);
    node.node.sh("ip link add foreign0 type veth peer name foreign1");
    node.node.sh("ip link set foreign0 up");
    node.node.sh("ip link add wef type bridge");
    node.node.sh("ip link add vxlan7 type vxlan id 7 dstport 4790 local 172.30.0.11 dev eth0");
    node.node.sh("bridge fdb append 00:00:00:00:00:00 dev vxlan7 dst 172.31.0.50");
    node.node.sh("ip address add 198.51.100.1/24 dev foreign0");
    node.node.sh("ip route add 203.0.113.0/24 via 172.30.0.1 proto static");
    node.node.sh("ip route add 203.0.114.0/24 via 172.30.0.1 proto bird table 8700");
    node.node.sh("ip -6 route add 2001:db8:99::/48 via fd00:30::1");
    node.node.sh("ip rule add from 198.51.100.0/24 table 99 priority 99");
    node.node.sh("ip neigh add 172.30.0.77 dev eth0 lladdr 02:00:00:00:00:7b");
    node.node.sh("ip neigh add 10.240.2.9 dev eth0 lladdr 02:00:00:00:00:7c");
    node.node.run(
      "nft",
      "table inet foreign { set weft { type ipv4_addr; elements = { 10.0.0.1 } }; chain forward { type filter hook forward priority 10; policy accept; ip saddr 192.0.2.1 drop; }; }",
    );
    node.node.run("nft", "add table ip weft");
    const foreign = changes(before, viewOf(node.node));
    expect(foreign.length).toBeGreaterThan(15);
    await repaired("everything of ours, beside foreign things", () => {
      node.node.sh("ip link del weft-vxlan");
      node.node.sh(`ip link del ${pod.hostLink}`);
      node.node.sh("ip route flush proto 87");
      node.node.sh("nft delete table inet weft");
    });
    await node.stop();
    await node.start();
    await node.settled();
    expect(changes(before, viewOf(node.node))).toEqual(foreign);
    const { foreignChains } = await node.status();
    expect(foreignChains).toMatchObject([
      { family: "inet", table: "foreign", chain: "forward", hasDropRules: true },
    ]);
  });
});

describe("pause", () => {
  const broken = (): boolean => pod.try("ip", "route", "get", "8.8.8.8").code !== 0;

  test("leaves drift alone, says so, still serves ADD, and ends by itself", async () => {
    await node.pause(10_000);
    const { pausedUntil } = await node.status();
    expect(pausedUntil).toBeGreaterThan(Date.now());
    pod.sh("ip route del default");
    node.node.sh("ip rule del table 8700");
    const extra = await node.add();
    extra.sh(`ping -c1 -W20 ${other.addresses[0]}`);
    await Bun.sleep(700);
    expect((await node.drift()).map((d) => d.kind).sort()).toEqual(["attachment", "rule"]);
    expect(broken()).toBe(true);
    await eventually("the pause is over", async () => (await node.status()).pausedUntil === undefined);
    await node.del(extra);
    await node.settled();
    expect(broken()).toBe(false);
  });

  test("can be ended", async () => {
    await node.pause(60_000);
    pod.sh("ip route del default");
    await Bun.sleep(700);
    expect(broken()).toBe(true);
    await node.pause(0);
    expect((await node.status()).pausedUntil).toBeUndefined();
    await eventually("the route is back", () => !broken());
  });

  test("looking for drift while paused writes nothing", async () => {
    await node.pause(60_000);
    node.node.sh("nft delete table inet weft");
    expect((await node.drift()).length).toBeGreaterThan(0);
    expect(node.node.sh("nft list tables")).not.toMatch(/inet weft$/m);
    pod.sh(`ping -c1 -W20 ${other.addresses[0]}`);
    await node.pause(0);
    await node.settled();
  });
});

test("status counts what was repaired", async () => {
  const { plan } = await node.status();
  pod.sh("ip route del default");
  await node.settled();
  await eventually("it is counted", async () => {
    const now = (await node.status()).plan.find((t) => t.kind === "attachment")?.repaired ?? 0;
    return now > (plan.find((t) => t.kind === "attachment")?.repaired ?? 0);
  });
});
