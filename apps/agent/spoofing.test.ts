/** A pod sends from its own addresses only: what it forges is dropped at its own link, and counted. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { spawnIn } from "@weft/kernel/netns";
import { TestNode, type TestPod } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let pod: TestPod;
let other: TestPod;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
  [pod, other] = [await node.add(), await node.add()];
  // Replies to forged packets have a way back: only Weft stands in between.
  node.outside.sh("ip route replace 10.240.1.0/24 via 172.30.0.11");
  node.outside.sh("ip -6 route replace fd00:240:1::/64 via fd00:30::11");
  await node.settled();
});
afterAll(() => node.close());
// Or the agent would put the pod right in the middle of its forgery.
beforeEach(() => node.pause(600_000));
afterEach(async () => {
  await node.pause(0);
  await node.settled();
  for (const ip of [...other.addresses, "172.30.0.1", "fd00:30::1"]) pod.sh(`ping -c1 -W20 ${ip}`);
});

/** Packets dropped so far, by family of table. */
function dropped(): { inet: number; arp: number } {
  const of = (family: string): number => {
    const text = node.node.sh(`nft list counter ${family} weft spoofed`);
    return Number(/packets (\d+)/.exec(text)?.[1]);
  };
  return { inet: of("inet"), arp: of("arp") };
}

/** Expects that nothing comes back, and that these packets were dropped, besides what a pod says by itself. */
async function expectDropped(packets: number, ...argv: string[]): Promise<void> {
  const before = dropped().inet;
  expect(pod.try(...argv).code).not.toBe(0);
  await eventually(`${argv.join(" ")} is dropped`, () => dropped().inet - before >= packets);
}
// By itself ping would wait for seconds for answers that must not come.
const ping = (count: number, ...more: string[]): string[] => [
  ..."ping -i 0.01 -W 0.25 -c".split(" "),
  `${count}`,
  ...more,
];

describe("IP source", () => {
  test.each([
    ["an address of the block that nobody has", "10.240.1.200"],
    ["an address outside of every block", "192.0.2.7"],
    ["the node's own address", "172.30.0.11"],
    ["the gateway's address", "169.254.1.1"],
  ])("%s", async (_, address) => {
    pod.sh(`ip address add ${address}/32 dev eth0`);
    await expectDropped(3, ...ping(3, "-I", address, "172.30.0.1"));
    pod.sh(`ip address del ${address}/32 dev eth0`);
  });

  test("another pod's address", async () => {
    const [four, six] = other.addresses as [string, string];
    pod.sh(`ip address add ${four}/32 dev eth0`);
    pod.sh(`ip -6 address add ${six}/128 dev eth0 nodad`);
    await expectDropped(3, ...ping(3, "-I", four, "172.30.0.1"));
    await expectDropped(3, ...ping(3, "-I", six, "fd00:30::1"));
    pod.sh(`ip address del ${four}/32 dev eth0`);
    pod.sh(`ip -6 address del ${six}/128 dev eth0`);
  });

  test.each(["fd00:240:1::200", "2001:db8::7", "fd00:30::11"])("IPv6: %s", async (address) => {
    pod.sh(`ip -6 address add ${address}/128 dev eth0 nodad`);
    await expectDropped(3, ...ping(3, "-I", address, "fd00:30::1"));
    pod.sh(`ip -6 address del ${address}/128 dev eth0`);
  });

  test("what is forged never comes as far as connection tracking", async () => {
    // Between our hook (raw, -300) and that of connection tracking (-200).
    const chain = "chain c { type filter hook prerouting priority -250; policy accept;";
    node.node.run(
      "nft",
      `table inet seen { ${chain} ip saddr 192.0.2.8 counter; ip saddr ${pod.addresses[0]} counter; }; }`,
    );
    pod.sh("ip address add 192.0.2.8/32 dev eth0");
    await expectDropped(1, ...ping(1, "-I", "192.0.2.8", "172.30.0.1"));
    pod.sh(`ping -c1 -W20 -I ${pod.addresses[0]} 172.30.0.1`);
    const counters = node.node.sh("nft list table inet seen").match(/counter packets \d+/g);
    expect(counters).toEqual(["counter packets 0", "counter packets 1"]);
    pod.sh("ip address del 192.0.2.8/32 dev eth0");
    node.node.sh("nft delete table inet seen");
  });
});

describe("Ethernet source", () => {
  test("another address than the pod's, in both families", async () => {
    const mac = pod.self.link("eth0")?.mac;
    pod.sh("ip link set eth0 address 02:00:00:00:66:66");
    // The change of address has cost the pod its gateway's entry.
    for (const ip of ["169.254.1.1", "fe80::1"])
      pod.sh(`ip neigh replace ${ip} dev eth0 lladdr 02:77:65:66:74:01 nud permanent`);
    await expectDropped(2, ...ping(2, "172.30.0.1"));
    await expectDropped(2, ...ping(2, "fd00:30::1"));
    pod.sh(`ip link set eth0 address ${mac}`);
  });
});

describe("answers for others", () => {
  test("ARP: a pod that says it has another's address is not believed, and is counted", async () => {
    const [four] = other.addresses as [string];
    pod.sh(`ip address add ${four}/32 dev eth0`);
    // It has to ask for the gateway, and tells its address by that.
    pod.sh("ip neigh del 169.254.1.1 dev eth0");
    const before = dropped();
    expect(pod.try(...ping(1, "-I", four, "172.30.0.1")).code).not.toBe(0);
    await eventually("it is counted", () => dropped().arp > before.arp);
    expect(node.node.sh(`ip neigh show ${four} dev ${pod.hostLink}`)).toBe("");
    pod.sh(`ip address del ${four}/32 dev eth0`);
  });

  test("NDP: an advertisement for another's address is dropped and counted", async () => {
    const [, six] = other.addresses as [string, string];
    pod.sh(`ip -6 address add ${six}/128 dev eth0 nodad`);
    // The node asks on the wrong link, and only there.
    node.node.sh(`ip -6 route add ${six}/128 dev ${pod.hostLink} metric 5`);
    const before = dropped().inet;
    expect(node.node.try(...ping(1, "-I", pod.hostLink, six)).code).not.toBe(0);
    await eventually("it is counted", () => dropped().inet > before);
    expect(node.node.sh(`ip -6 neigh show ${six} dev ${pod.hostLink}`)).not.toContain("lladdr");
    node.node.sh(`ip -6 route del ${six}/128 dev ${pod.hostLink} metric 5`);
    pod.sh(`ip -6 address del ${six}/128 dev eth0`);
  });
});

test("what a pod may send passes at full rate, and nothing of it is counted", async () => {
  const before = dropped();
  node.companions.push(spawnIn(other.self, ["iperf3", "-s", "-1"], { stdout: "ignore" }));
  const [four] = other.addresses as [string];
  await eventually("the server listens", () => other.sh("ss -Hltn sport = :5201") !== "");
  const { error, end } = JSON.parse(pod.sh(`iperf3 -J -t 1 -c ${four}`)) as {
    error?: string;
    end: { sum_received: { bits_per_second: number; bytes: number } };
  };
  expect(error).toBeUndefined();
  console.log(`pod to pod: ${(end.sum_received.bits_per_second / 1e9).toFixed(1)} Gbit/s`);
  expect(end.sum_received.bytes).toBeGreaterThan(1_000_000);
  for (const ip of [...other.addresses, "172.30.0.1", "fd00:30::1"]) pod.sh(`ping -q -c20 -i0.005 ${ip}`);
  expect(dropped()).toEqual(before);
});
