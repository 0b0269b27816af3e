import { describe, expect, test } from "bun:test";
import {
  hasCode,
  type IpAddress,
  type IpWithLength,
  isInvalid,
  isNotFound,
  type Mac,
  type Prefix,
  WeftError,
} from "@weft/base";
import { kernelConformance } from "../conformance.ts";
import { nftablesConformance } from "../nftables/conformance.ts";
import type { KernelEvent, NetworkNamespace } from "../port.ts";
import { createFakeKernel, type FakeKernel } from "./kernel.ts";

kernelConformance("the fake", () => {
  const fake = createFakeKernel();
  return { kernel: fake.kernel, newNamespace: () => fake.newNamespace(), cleanup() {} };
});

nftablesConformance("the fake", () => {
  const fake = createFakeKernel();
  return { nft: fake.kernel.nftables, cleanup() {} };
});

const MAC_A = "02:00:00:00:00:0a" as Mac;
const MAC_B = "02:00:00:00:00:0b" as Mac;
const LINK_LOCAL_A = "fe80::ff:fe00:a/64";
const ip = (text: string): IpAddress => text as IpAddress;
const address = (text: string): IpWithLength => text as IpWithLength;
const prefix = (text: string): Prefix => text as Prefix;

function pair(near: NetworkNamespace, far: NetworkNamespace): void {
  near.createVeth({
    name: "weft-a",
    mac: MAC_A,
    mtu: 1500,
    peer: { name: "eth0", mac: MAC_B, mtu: 1500, namespace: far },
  });
  near.changeLink("weft-a", { up: true });
  far.changeLink("eth0", { up: true });
}

function setUp(): { fake: FakeKernel; self: NetworkNamespace; pod: NetworkNamespace; events: KernelEvent[] } {
  const fake = createFakeKernel();
  const { self } = fake.kernel;
  const pod = fake.newNamespace("/run/netns/pod");
  pair(self, pod);
  const events: KernelEvent[] = [];
  fake.kernel.watch((event) => events.push(event), { allNamespaces: true });
  return { fake, self, pod, events };
}

const told = (events: readonly KernelEvent[]): string[] =>
  events.map((e) => ("nsid" in e ? `${e.kind} ${e.change} ${e.link} ${e.nsid}` : e.kind));

test("a watch that asks for no rulesets hears of none, but of all else", async () => {
  const { fake, self, events } = setUp();
  const without: KernelEvent[] = [];
  fake.kernel.watch((event) => without.push(event), { rulesets: false });
  await fake.kernel.nftables.run("add table inet one");
  self.changeLink("weft-a", { mtu: 1400 });
  await Bun.sleep(0);
  expect(told(events)).toContain("nftables");
  expect(new Set(without.map((e) => e.kind))).toEqual(new Set(["link"]));
});

describe("what the kernel does by itself", () => {
  test("a link with a carrier gets a link-local address and its route", () => {
    const { self } = setUp();
    expect(self.addresses("weft-a")).toEqual([
      { link: "weft-a", address: address(LINK_LOCAL_A), scope: "link", tentative: false, permanent: true },
    ]);
    expect(self.routes({ link: "weft-a" }).map((r) => [r.destination, r.metric, r.protocol])).toEqual([
      [prefix("fe80::/64"), 256, 2],
    ]);
    self.changeLink("weft-a", { up: false, addressGeneration: "none" });
    self.changeLink("weft-a", { up: true });
    expect(self.addresses("weft-a")).toEqual([]);
  });

  test("a loopback that comes up has its addresses", () => {
    const { pod } = setUp();
    pod.changeLink("lo", { up: true });
    expect(pod.addresses("lo").map((a) => a.address)).toEqual([address("127.0.0.1/8"), address("::1/128")]);
    expect(pod.routes({ link: "lo" })).toEqual([]);
  });

  test("a link that goes down loses routes, IPv6 addresses and neighbours; IPv4 routes go in silence", async () => {
    const { self, events } = setUp();
    self.replaceAddress({ link: "weft-a", address: address("10.0.0.1/24") });
    self.replaceAddress({ link: "weft-a", address: address("fd00::1/64") });
    self.replaceRoute({ destination: prefix("10.9.0.0/16"), gateway: ip("10.0.0.9") });
    self.replaceRoute({ destination: prefix("fd09::/64"), gateway: ip("fd00::9") });
    self.replaceNeighbour("weft-a", ip("10.0.0.9"), MAC_B);
    await Promise.resolve();
    events.length = 0;
    self.changeLink("weft-a", { up: false });
    await Promise.resolve();
    expect(self.routes({ link: "weft-a" })).toEqual([]);
    expect(self.addresses("weft-a").map((a) => a.address)).toEqual([address("10.0.0.1/24")]);
    expect(self.neighbours()).toEqual([]);
    const counts = new Map<string, number>();
    for (const line of told(events)) counts.set(line, (counts.get(line) ?? 0) + 1);
    expect([...counts]).toEqual([
      ["neighbour gone weft-a undefined", 1],
      // fd00::/64, fd09::/64 and fe80::/64
      ["route gone weft-a undefined", 3],
      ["address gone weft-a undefined", 2],
      ["link set weft-a undefined", 1],
      // The peer has lost its carrier.
      ["link set eth0 0", 1],
    ]);
    self.changeLink("weft-a", { up: true });
    expect(self.routes({ family: 4 }).map((r) => r.destination)).toEqual([prefix("10.0.0.0/24")]);
  });

  test("an address takes IPv4 routes from it away, and is forgotten by IPv6 routes", () => {
    const { self } = setUp();
    self.replaceAddress({ link: "weft-a", address: address("10.0.0.1/24") });
    self.replaceAddress({ link: "weft-a", address: address("fd00::1/64") });
    self.replaceRoute({ destination: prefix("10.9.0.0/16"), link: "weft-a", source: ip("10.0.0.1") });
    self.replaceRoute({ destination: prefix("fd09::/64"), link: "weft-a", source: ip("fd00::1") });
    self.deleteAddress("weft-a", address("10.0.0.1/24"));
    self.deleteAddress("weft-a", address("fd00::1/64"));
    expect(self.routes({ protocol: 87 }).map((r) => [r.destination, r.source])).toEqual([
      [prefix("fd09::/64"), undefined],
    ]);
    expect(() =>
      self.replaceRoute({ destination: prefix("10.9.0.0/16"), link: "weft-a", source: ip("10.0.0.1") }),
    ).toThrow("Invalid prefsrc address");
  });

  test("a link below 1280 bytes, or with disable_ipv6, has no IPv6", () => {
    const { self } = setUp();
    self.changeLink("weft-a", { mtu: 1200 });
    expect(self.addresses("weft-a")).toEqual([]);
    expect(() => self.replaceAddress({ link: "weft-a", address: address("fd00::1/64") })).toThrow(
      "IPv6 is disabled",
    );
    self.changeLink("weft-a", { mtu: 1500 });
    self.setSysctl("net/ipv6/conf/all/disable_ipv6", "1");
    expect(self.sysctl("net/ipv6/conf/weft-a/disable_ipv6")).toBe("1");
    expect(
      hasCode(
        caught(() => self.replaceAddress({ link: "weft-a", address: address("fd00::1/64") })),
        "permission",
      ),
    ).toBe(true);
    self.setSysctl("net/ipv6/conf/weft-a/disable_ipv6", "0");
    expect(self.addresses("weft-a").map((a) => a.address)).toEqual([address(LINK_LOCAL_A)]);
  });

  test("a new address replaces nothing of a change of Ethernet address but the neighbours", () => {
    const { self } = setUp();
    self.replaceNeighbour("weft-a", ip("10.0.0.9"), MAC_B);
    self.changeLink("weft-a", { mac: "02:00:00:00:00:77" as Mac });
    expect(self.neighbours()).toEqual([]);
    expect(self.addresses("weft-a")).toHaveLength(1);
  });

  test("an underlay takes its VXLAN links with it", async () => {
    const { self } = setUp();
    const options = { vni: 7, port: 4789, local: ip("10.0.0.1"), learning: false, udpChecksum: true };
    self.createVxlan("weft-v", MAC_A, 9000, { ...options, underlay: "weft-a" });
    expect(self.link("weft-v")?.mtu).toBe(1450);
    expect(
      hasCode(
        caught(() => self.createVxlan("weft-w", MAC_A, 1450, options)),
        "exists",
      ),
    ).toBe(true);
    await self.deleteLink("weft-a");
    expect(self.links().map((l) => l.name)).toEqual(["lo"]);
  });

  test("a bridge has the carrier of its ports", () => {
    const { self } = setUp();
    self.createBridge("weft-br", MAC_A, 1500);
    self.changeLink("weft-br", { up: true });
    expect(self.link("weft-br")?.carrier).toBe(false);
    self.changeLink("weft-a", { master: "weft-br" });
    expect(self.link("weft-br")?.carrier).toBe(true);
    self.changeLink("weft-a", { up: false });
    expect(self.link("weft-br")?.carrier).toBe(false);
    self.changeLink("weft-a", { up: true, master: null });
    expect(self.link("weft-br")?.carrier).toBe(false);
    expect(isInvalid(caught(() => self.changeLink("weft-br", { master: "weft-br" })))).toBe(true);
  });
});

function caught(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return expect.unreachable("nothing was thrown");
}

describe("what a test does to it", () => {
  test("calls are counted, and told to fail", async () => {
    const { fake, self, pod } = setUp();
    fake.writes.length = 0;
    fake.failNext("setSysctl", new WeftError("busy", "not now"));
    fake.failNext("deleteLink", new WeftError("busy", "not now"));
    fake.failNext("run", new WeftError("busy", "not now"));
    expect(() => self.setSysctl("net/ipv4/ip_forward", "1")).toThrow("not now");
    expect(self.sysctl("net/ipv4/ip_forward")).toBe("0");
    self.setSysctl("net/ipv4/ip_forward", "1");
    expect(self.sysctl("net/ipv4/conf/weft-a/forwarding")).toBe("1");
    await expect(pod.deleteLink("eth0")).rejects.toThrow("not now");
    await expect(fake.kernel.nftables.run("add table inet weft")).rejects.toThrow("not now");
    expect(self.link("weft-a")).toBeDefined();
    self.links();
    await fake.kernel.nftables.run("add table inet weft");
    expect(fake.writes.map((w) => `${w.namespace} ${w.op}`)).toEqual([
      "self setSysctl",
      "self setSysctl",
      "/run/netns/pod deleteLink",
      "self run",
      "self run",
    ]);
    expect(fake.scripts).toEqual(["add table inet weft"]);
  });

  test("outsiders are heard of but not counted", async () => {
    const { fake, self, pod, events } = setUp();
    self.nsidOf(pod);
    await Promise.resolve();
    events.length = 0;
    fake.writes.length = 0;
    await fake.outsider(pod).deleteLink("eth0");
    await fake.outsiderNftables(self).run("add table inet foreign");
    expect(fake.kernel.nftables.tableExists("inet", "foreign")).toBe(true);
    expect(fake.writes).toEqual([]);
    expect(told(events)).toContain("link gone weft-a undefined");
    expect(told(events)).toContain("link gone eth0 0");
    fake.overflow();
    await Promise.resolve();
    expect(told(events).at(-1)).toBe("overflow");
  });

  test("a namespace ends with its last holder, and its links with it", () => {
    const { fake, self, pod } = setUp();
    const again = fake.kernel.open("/run/netns/pod");
    fake.removeNamespace("/run/netns/pod");
    expect(isNotFound(caught(() => fake.kernel.open("/run/netns/pod")))).toBe(true);
    pod.close();
    pod.close();
    expect(isInvalid(caught(() => pod.links()))).toBe(true);
    expect(self.link("weft-a")).toBeDefined();
    again.close();
    expect(self.link("weft-a")).toBeUndefined();
  });

  test("every namespace has a ruleset of its own, and handles of other kernels are refused", async () => {
    const { fake, self, pod } = setUp();
    await fake.nftablesOf(pod).run("add table inet weft");
    expect(fake.nftablesOf(self).tableExists("inet", "weft")).toBe(false);
    expect(fake.nftablesOf(fake.kernel.open("/run/netns/pod")).tableExists("inet", "weft")).toBe(true);
    expect(isInvalid(caught(() => self.nsidOf(createFakeKernel().kernel.self)))).toBe(true);
  });
});
