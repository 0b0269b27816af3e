/**
 * What every Kernel does, as one suite: the real one and the in-memory one both pass it. Nothing here depends on
 * what a kernel adds by itself (link-local addresses, routes of other tables than main).
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  type IpAddress,
  type IpWithLength,
  isExists,
  isInvalid,
  isNotFound,
  type Mac,
  type Prefix,
} from "@weft/base";
import {
  type Kernel,
  type KernelEvent,
  type LinkChange,
  type NetworkNamespace,
  ROUTE_PROTOCOL,
  type Route,
  type RouteSpec,
  type VxlanOptions,
} from "./port.ts";

export interface ConformanceKernel {
  readonly kernel: Kernel;
  /** A namespace with nothing but a loopback that is down. The suite closes it. */
  newNamespace(): NetworkNamespace;
  cleanup(): void | Promise<void>;
}

const MAC_A = "02:00:00:00:00:0a" as Mac;
const MAC_B = "02:00:00:00:00:0b" as Mac;
const MAC_C = "02:00:00:00:00:0c" as Mac;
const ANY_MAC = "00:00:00:00:00:00" as Mac;
const ip = (text: string): IpAddress => text as IpAddress;
const prefix = (text: string): Prefix => text as Prefix;
const address = (text: string): IpWithLength => text as IpWithLength;
const FAMILIES = [
  { family: 4, host: "10.1.0.1/24", net: "10.1.0.0/24", next: "10.1.0.2", far: "10.2.0.0/16", metric: 0 },
  { family: 6, host: "fd01::1/64", net: "fd01::/64", next: "fd01::2", far: "fd02::/48", metric: 1024 },
] as const;

/** The error that `fn` throws. */
function thrown(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return expect.unreachable("nothing was thrown");
}

async function eventually(check: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !check(); i++) await Bun.sleep(5);
  expect(check()).toBe(true);
}

export function kernelConformance(name: string, makeKernel: () => ConformanceKernel): void {
  describe(`${name} as a kernel`, () => {
    let made: ConformanceKernel;
    let a: NetworkNamespace;
    let b: NetworkNamespace;

    beforeAll(() => {
      made = makeKernel();
    });
    afterAll(() => made.cleanup());
    beforeEach(() => {
      a = made.newNamespace();
      b = made.newNamespace();
    });
    afterEach(() => {
      a.close();
      b.close();
    });

    /** veth "weft-a" in a, its peer "weft-b" in b, or in a too. */
    function pair(peerIn: NetworkNamespace = b, change: LinkChange = {}): void {
      a.createVeth({
        name: "weft-a",
        mac: MAC_A,
        mtu: 1400,
        addressGeneration: "none",
        peer: { name: "weft-b", mac: MAC_B, mtu: 1390, namespace: peerIn },
      });
      peerIn.changeLink("weft-b", { addressGeneration: "none", ...change });
      a.changeLink("weft-a", change);
    }
    const upPair = (): void => pair(b, { up: true });
    const mainRoutes = (n: NetworkNamespace): Route[] => n.routes({ table: 254, protocol: ROUTE_PROTOCOL });
    const destinations = (n: NetworkNamespace): string[] => mainRoutes(n).map((r) => r.destination);

    describe("namespaces", () => {
      test("a new one holds a loopback that is down", () => {
        expect(a.links().map((l) => [l.name, l.loopback, l.up, l.carrier, l.mac])).toEqual([
          ["lo", true, false, false, undefined],
        ]);
      });
      test("have an identity", () => {
        expect(a.identity).not.toBe(b.identity);
        const again = made.kernel.open(a.path);
        expect(again.identity).toBe(a.identity);
        again.close();
      });
      test("opening what is none is not-found", () => {
        expect(isNotFound(thrown(() => made.kernel.open("/run/netns/weft-t-there-is-none")))).toBe(true);
      });
      test("know each other by an id that stays", () => {
        const id = a.nsidOf(b);
        expect(id).toBeGreaterThanOrEqual(0);
        expect(a.nsidOf(b)).toBe(id);
      });
    });

    describe("links", () => {
      test("a veth pair spans two namespaces", () => {
        pair();
        const here = a.link("weft-a");
        const there = b.link("weft-b");
        expect(here).toMatchObject({ name: "weft-a", kind: "veth", mac: MAC_A, mtu: 1400, up: false });
        expect(there).toMatchObject({ name: "weft-b", kind: "veth", mac: MAC_B, mtu: 1390, up: false });
        expect(here?.peerIndex).toBe(there?.index);
        expect(there?.peerIndex).toBe(here?.index);
        expect(here?.peerNsid).toBe(a.nsidOf(b));
        expect(a.link("weft-b")).toBeUndefined();
        expect(here?.addressGeneration).toBe("none");
        expect(here?.vxlan).toBeUndefined();
        expect(a.links().find((l) => l.name === "weft-a")).toEqual(here);
      });
      test("a veth pair in one namespace", () => {
        pair(a);
        expect(a.link("weft-a")?.peerIndex).toBe(a.link("weft-b")?.index);
        expect(a.link("weft-a")?.peerNsid).toBeUndefined();
      });
      test("a veth has carrier when both ends are up", () => {
        pair();
        a.changeLink("weft-a", { up: true });
        expect(a.link("weft-a")).toMatchObject({ up: true, carrier: false });
        b.changeLink("weft-b", { up: true });
        expect(a.link("weft-a")).toMatchObject({ up: true, carrier: true });
        b.changeLink("weft-b", { up: false });
        expect(a.link("weft-a")).toMatchObject({ up: true, carrier: false });
      });
      test("a name is taken once", () => {
        a.createBridge("weft-a", MAC_A, 1500);
        expect(isExists(thrown(() => a.createBridge("weft-a", MAC_B, 1500)))).toBe(true);
        expect(isExists(thrown(() => pair()))).toBe(true);
        expect(b.link("weft-b")).toBeUndefined();
      });
      test("a peer's name that is taken takes the whole pair", () => {
        b.createBridge("weft-b", MAC_A, 1500);
        expect(isExists(thrown(() => pair()))).toBe(true);
        expect(a.link("weft-a")).toBeUndefined();
      });
      test("a name has at most 15 bytes", () => {
        expect(isInvalid(thrown(() => a.createBridge("weft567890123456", MAC_A, 1500)))).toBe(true);
        expect(a.link("weft567890123456")).toBeUndefined();
      });
      test("either end takes the pair with it", async () => {
        pair();
        await b.deleteLink("weft-b");
        expect(a.link("weft-a")).toBeUndefined();
        pair();
        await a.deleteLink("weft-a");
        expect(b.link("weft-b")).toBeUndefined();
      });
      test("many deletions at once, with absent ones and both ends of a pair", async () => {
        pair(a);
        a.createBridge("weft-c", MAC_C, 1500);
        await Promise.all(["weft-a", "weft-b", "weft-c", "weft-none"].map((n) => a.deleteLink(n)));
        expect(a.links().map((l) => l.name)).toEqual(["lo"]);
      });
      test("deleting what is absent succeeds", async () => {
        await a.deleteLink("weft-none");
      });
      test("change everything that can be changed", () => {
        pair();
        a.createBridge("weft-br", MAC_C, 1500);
        a.changeLink("weft-a", { mtu: 1300, mac: MAC_C, alias: "pod x", master: "weft-br", up: true });
        expect(a.link("weft-a")).toMatchObject({
          mtu: 1300,
          mac: MAC_C,
          alias: "pod x",
          master: "weft-br",
          up: true,
        });
        a.changeLink("weft-a", { master: null, addressGeneration: "eui64", rename: "weft-x" });
        expect(a.link("weft-a")).toBeUndefined();
        expect(a.link("weft-x")).toMatchObject({
          mtu: 1300,
          alias: "pod x",
          master: undefined,
          up: true,
          addressGeneration: "eui64",
        });
        a.changeLink("weft-x", {});
      });
      test("changing what is absent is not-found", () => {
        expect(isNotFound(thrown(() => a.changeLink("weft-none", { up: true })))).toBe(true);
        pair();
        expect(isNotFound(thrown(() => a.changeLink("weft-a", { master: "weft-none" })))).toBe(true);
        expect(isNotFound(thrown(() => a.moveLink("weft-none", b)))).toBe(true);
      });
      test("a rename to a name that is taken fails", () => {
        pair(a);
        expect(isExists(thrown(() => a.changeLink("weft-a", { rename: "weft-b" })))).toBe(true);
      });
      test("a moved link is down, has its new name and stays a pair", () => {
        pair(a, { up: true });
        a.replaceAddress({ link: "weft-b", address: address("10.1.0.1/24") });
        a.moveLink("weft-b", b, "eth0");
        expect(a.link("weft-b")).toBeUndefined();
        expect(b.link("eth0")).toMatchObject({ kind: "veth", mac: MAC_B, up: false });
        expect(a.link("weft-a")?.peerIndex).toBe(b.link("eth0")?.index);
        expect(a.link("weft-a")?.peerNsid).toBe(a.nsidOf(b));
        expect(b.addresses("eth0")).toEqual([]);
      });
      test("a bridge that goes releases its ports", async () => {
        pair();
        a.createBridge("weft-br", MAC_C, 1500);
        expect(a.link("weft-br")).toMatchObject({ kind: "bridge", mac: MAC_C, mtu: 1500 });
        a.changeLink("weft-a", { master: "weft-br" });
        await a.deleteLink("weft-br");
        expect(a.link("weft-a")).toMatchObject({ master: undefined });
      });
      test("transmit checksum offload can be switched", () => {
        pair();
        expect(a.transmitChecksumOffload("weft-a")).toBe(true);
        a.setTransmitChecksumOffload("weft-a", false);
        expect(a.transmitChecksumOffload("weft-a")).toBe(false);
        expect(b.transmitChecksumOffload("weft-b")).toBe(true);
        expect(isNotFound(thrown(() => a.transmitChecksumOffload("weft-none")))).toBe(true);
        expect(isNotFound(thrown(() => a.setTransmitChecksumOffload("weft-none", true)))).toBe(true);
      });
    });

    describe("vxlan", () => {
      const options: VxlanOptions = {
        vni: 42,
        port: 4789,
        local: ip("10.0.0.1"),
        learning: false,
        udpChecksum: true,
      };
      test("reads back what it was made with", () => {
        pair();
        const six = { ...options, port: 8472, local: ip("fd00::9"), udpChecksum: false, learning: true };
        a.createVxlan("weft-v4", MAC_A, 1300, { ...options, underlay: "weft-a" });
        a.createVxlan("weft-v6", MAC_B, 1300, six);
        expect(a.link("weft-v4")).toMatchObject({ kind: "vxlan", mac: MAC_A, mtu: 1300, up: false });
        expect(a.link("weft-v4")?.vxlan).toEqual({ ...options, underlay: "weft-a" });
        expect(a.link("weft-v6")?.vxlan).toEqual(six);
      });
      test("an underlay that is absent is not-found", () => {
        const bad = { ...options, underlay: "weft-none" };
        expect(isNotFound(thrown(() => a.createVxlan("weft-v", MAC_A, 1300, bad)))).toBe(true);
      });
      test("an address has one remote end, the all-zero one has many", () => {
        a.createVxlan("weft-v", MAC_A, 1300, options);
        expect(a.forwarding("weft-v")).toEqual([]);
        for (const remote of ["10.0.0.2", "10.0.0.3", "10.0.0.3"].map(ip)) {
          a.replaceForwarding("weft-v", MAC_B, remote);
          a.replaceForwarding("weft-v", ANY_MAC, remote);
        }
        const entry = (mac: Mac, remote: string) => ({
          link: "weft-v",
          mac,
          remote: ip(remote),
          permanent: true,
        });
        const all = [entry(ANY_MAC, "10.0.0.2"), entry(ANY_MAC, "10.0.0.3"), entry(MAC_B, "10.0.0.3")];
        expect(a.forwarding("weft-v")).toHaveLength(3);
        expect(a.forwarding("weft-v")).toEqual(expect.arrayContaining(all));
        a.deleteForwarding("weft-v", MAC_B, ip("10.0.0.2"));
        a.deleteForwarding("weft-v", MAC_C, ip("10.0.0.2"));
        a.deleteForwarding("weft-none", MAC_C, ip("10.0.0.2"));
        expect(a.forwarding("weft-v")).toHaveLength(3);
        a.deleteForwarding("weft-v", MAC_B, ip("10.0.0.3"));
        a.deleteForwarding("weft-v", ANY_MAC, ip("10.0.0.3"));
        expect(a.forwarding("weft-v")).toEqual([entry(ANY_MAC, "10.0.0.2")]);
        expect(isNotFound(thrown(() => a.forwarding("weft-none")))).toBe(true);
        const replace = (): void => a.replaceForwarding("weft-none", MAC_B, ip("10.0.0.2"));
        expect(isNotFound(thrown(replace))).toBe(true);
      });
    });

    describe.each(FAMILIES)("addresses of IPv$family", ({ host, net, family }) => {
      test("are usable at once, and replaced without a trace", () => {
        upPair();
        a.replaceAddress({ link: "weft-a", address: address(host) });
        a.replaceAddress({ link: "weft-a", address: address(host) });
        const row = {
          link: "weft-a",
          address: address(host),
          scope: "global" as const,
          tentative: false,
          permanent: true,
        };
        expect(a.addresses("weft-a")).toEqual([row]);
        expect(a.addresses().filter((x) => x.link === "weft-a")).toEqual([row]);
        expect(b.addresses("weft-b")).toEqual([]);
      });
      test("bring the route of their network, unless told not to", () => {
        upPair();
        const kernelRoutes = () =>
          a.routes({ table: 254, protocol: 2, family, link: "weft-a" }).map((r) => r.destination);
        a.replaceAddress({ link: "weft-a", address: address(host), noPrefixRoute: true });
        expect(kernelRoutes()).toEqual([]);
        a.deleteAddress("weft-a", address(host));
        a.replaceAddress({ link: "weft-a", address: address(host) });
        expect(kernelRoutes()).toEqual([prefix(net)]);
        a.deleteAddress("weft-a", address(host));
        expect(kernelRoutes()).toEqual([]);
      });
      test("deleting absent ones succeeds; an absent link is not-found elsewhere", () => {
        a.deleteAddress("weft-none", address(host));
        pair();
        a.deleteAddress("weft-a", address(host));
        expect(isNotFound(thrown(() => a.addresses("weft-none")))).toBe(true);
        const replace = (): void => a.replaceAddress({ link: "weft-none", address: address(host) });
        expect(isNotFound(thrown(replace))).toBe(true);
      });
      test("have a scope: IPv4 the one given, IPv6 that of the address", () => {
        upPair();
        a.replaceAddress({ link: "weft-a", address: address(host), scope: "link" });
        expect(a.addresses("weft-a").map((x) => x.scope)).toEqual([family === 4 ? "link" : "global"]);
        b.replaceAddress({ link: "weft-b", address: address("fe80::1/64") });
        expect(b.addresses("weft-b").map((x) => x.scope)).toEqual(["link"]);
      });
    });

    describe.each(FAMILIES)("routes of IPv$family", ({ host, next, far, family, metric }) => {
      const route = (spec: Partial<RouteSpec> = {}): RouteSpec => ({ destination: prefix(far), ...spec });
      beforeEach(() => {
        upPair();
        a.replaceAddress({ link: "weft-a", address: address(host) });
      });

      test("read back as they were made", () => {
        a.replaceRoute(
          route({ gateway: ip(next), link: "weft-a", source: ip(host.split("/")[0] ?? ""), mtu: 1300 }),
        );
        expect(mainRoutes(a)).toEqual([
          {
            destination: prefix(far),
            type: "unicast",
            table: 254,
            protocol: ROUTE_PROTOCOL,
            scope: "global",
            link: "weft-a",
            gateway: ip(next),
            onlink: false,
            source: ip(host.split("/")[0] ?? ""),
            metric,
            mtu: 1300,
          },
        ]);
      });
      test("a row that was read can be written and deleted as it is", () => {
        a.replaceRoute(route({ gateway: ip(next) }));
        const rows = mainRoutes(a);
        expect(rows.map((r) => r.link)).toEqual(["weft-a"]);
        for (const row of rows) a.replaceRoute(row);
        expect(mainRoutes(a)).toEqual(rows);
        for (const row of rows) a.deleteRoute(row);
        expect(mainRoutes(a)).toEqual([]);
      });
      test("replace the one of the same destination, table and metric", () => {
        a.replaceRoute(route({ link: "weft-a" }));
        a.replaceRoute(route({ type: "unreachable" }));
        expect(mainRoutes(a)).toMatchObject([{ type: "unreachable", link: undefined, metric }]);
        a.replaceRoute(route({ link: "weft-a" }));
        expect(mainRoutes(a)).toMatchObject([{ type: "unicast", link: "weft-a", gateway: undefined }]);
        a.replaceRoute(route({ link: "weft-a", metric: 7 }));
        a.replaceRoute(route({ link: "weft-a", table: 1000 }));
        expect(mainRoutes(a).map((r) => r.metric)).toEqual(expect.arrayContaining([metric, 7]));
        expect(a.routes({ table: 1000 })).toMatchObject([{ destination: far, table: 1000 }]);
      });
      test("a delete takes the exact metric and no other", () => {
        a.replaceRoute(route({ link: "weft-a", metric: 7 }));
        a.deleteRoute(route());
        a.deleteRoute(route({ metric: 8 }));
        a.deleteRoute(route({ metric: 7, table: 1000 }));
        expect(mainRoutes(a).map((r) => r.metric)).toEqual([7]);
        a.deleteRoute(route({ metric: 7 }));
        expect(mainRoutes(a)).toEqual([]);
      });
      test("a delete spares a route with another protocol, type or link", () => {
        a.replaceRoute(route({ link: "weft-a" }));
        a.deleteRoute(route({ protocol: 4 }));
        a.deleteRoute(route({ link: "lo" }));
        a.deleteRoute(route({ link: "weft-none" }));
        a.deleteRoute(route({ type: "unreachable" }));
        expect(destinations(a)).toEqual([far]);
        a.deleteRoute(route({ protocol: ROUTE_PROTOCOL, link: "weft-a", type: "unicast" }));
        expect(destinations(a)).toEqual([]);
      });
      test("a gateway that no network holds needs onlink", () => {
        const gateway = ip(family === 4 ? "169.254.9.9" : "fd77::9");
        expect(() => a.replaceRoute(route({ gateway, link: "weft-a" }))).toThrow();
        a.replaceRoute(route({ gateway, link: "weft-a", onlink: true }));
        expect(mainRoutes(a)).toMatchObject([{ gateway, link: "weft-a", onlink: true }]);
      });
      test("a route over a link that is down or absent fails", () => {
        a.changeLink("weft-a", { up: false });
        expect(() => a.replaceRoute(route({ link: "weft-a" }))).toThrow();
        expect(isNotFound(thrown(() => a.replaceRoute(route({ link: "weft-none" }))))).toBe(true);
      });
      test("go when their link goes down, and stay away when it comes up", () => {
        a.replaceRoute(route({ link: "weft-a" }));
        a.replaceRoute({
          destination: prefix(family === 4 ? "10.3.0.0/16" : "fd03::/48"),
          type: "unreachable",
        });
        a.changeLink("weft-a", { up: false });
        a.changeLink("weft-a", { up: true });
        expect(mainRoutes(a).map((r) => r.type)).toEqual(["unreachable"]);
      });
      test("are filtered", () => {
        a.replaceRoute(route({ link: "weft-a" }));
        a.replaceRoute(route({ link: "weft-a", protocol: 4, metric: 9 }));
        expect(a.routes({ protocol: 4 }).map((r) => r.metric)).toEqual([9]);
        expect(a.routes({ protocol: 4, family: family === 4 ? 6 : 4 })).toEqual([]);
        expect(a.routes({ protocol: 4, link: "weft-a" })).toHaveLength(1);
        expect(a.routes({ protocol: 4, link: "lo" })).toEqual([]);
        expect(a.routes({ table: 4321 })).toEqual([]);
        expect(isNotFound(thrown(() => a.routes({ link: "weft-none" })))).toBe(true);
      });
    });

    test("rules by source", () => {
      const four = { from: prefix("10.1.0.0/24"), table: 1000, priority: 100, protocol: ROUTE_PROTOCOL };
      const six = { ...four, from: prefix("fd01::/64") };
      for (const rule of [four, four, six]) a.replaceRule(rule);
      expect(a.rules()).toEqual([four, six]);
      a.deleteRule({ ...four, table: 7 });
      a.deleteRule(four);
      a.deleteRule(four);
      expect(a.rules()).toEqual([six]);
    });

    test("neighbours", () => {
      upPair();
      for (const at of ["169.254.1.1", "fe80::1"].map(ip)) {
        a.replaceNeighbour("weft-a", at, MAC_B);
        a.replaceNeighbour("weft-a", at, MAC_C);
        expect(a.neighbours("weft-a")).toEqual([{ link: "weft-a", ip: at, mac: MAC_C, state: "permanent" }]);
        expect(a.neighbours()).toEqual(a.neighbours("weft-a"));
        a.deleteNeighbour("weft-a", at);
        a.deleteNeighbour("weft-a", at);
        expect(a.neighbours("weft-a")).toEqual([]);
      }
      a.deleteNeighbour("weft-none", ip("10.1.0.2"));
      expect(isNotFound(thrown(() => a.neighbours("weft-none")))).toBe(true);
      expect(isNotFound(thrown(() => a.replaceNeighbour("weft-none", ip("10.1.0.2"), MAC_B)))).toBe(true);
    });

    test("a link takes its addresses, routes and neighbours with it", async () => {
      upPair();
      for (const { host, next, far } of FAMILIES) {
        a.replaceAddress({ link: "weft-a", address: address(host) });
        a.replaceRoute({ destination: prefix(far), gateway: ip(next) });
        a.replaceNeighbour("weft-a", ip(next), MAC_B);
      }
      expect(destinations(a)).toHaveLength(2);
      await a.deleteLink("weft-a");
      expect(mainRoutes(a)).toEqual([]);
      expect(a.addresses().filter((x) => x.link !== "lo")).toEqual([]);
      expect(a.neighbours()).toEqual([]);
    });

    test("sysctls are the namespace's own", () => {
      expect(a.sysctl("net/ipv4/ip_forward")).toBe("0");
      a.setSysctl("net/ipv4/ip_forward", "1");
      expect(a.sysctl("net/ipv4/ip_forward")).toBe("1");
      expect(b.sysctl("net/ipv4/ip_forward")).toBe("0");
      pair();
      a.setSysctl("net/ipv4/conf/weft-a/rp_filter", "2");
      expect(a.sysctl("net/ipv4/conf/weft-a/rp_filter")).toBe("2");
      expect(a.sysctl("net/ipv4/conf/weft-none/rp_filter")).toBeUndefined();
      expect(isNotFound(thrown(() => a.setSysctl("net/ipv4/conf/weft-none/rp_filter", "2")))).toBe(true);
      for (const key of ["kernel/hostname", "net/../kernel/hostname", "net.ipv4.ip_forward", "net/"]) {
        expect(isInvalid(thrown(() => a.sysctl(key)))).toBe(true);
      }
    });

    test("a watch hears of namespaces that have an id, and stops", async () => {
      made.kernel.self.nsidOf(a);
      const nsid = made.kernel.self.nsidOf(a);
      const events: KernelEvent[] = [];
      const own: KernelEvent[] = [];
      const stop = made.kernel.watch((event) => events.push(event), { allNamespaces: true });
      const stopOwn = made.kernel.watch((event) => own.push(event));
      const heard = (kind: string, change: string, link?: string): boolean =>
        events.some(
          (e) =>
            e.kind === kind &&
            e.kind !== "overflow" &&
            e.kind !== "nftables" &&
            e.change === change &&
            e.nsid === nsid &&
            (link === undefined || e.link === link),
        );
      try {
        upPair();
        a.replaceAddress({ link: "weft-a", address: address("10.1.0.1/24") });
        a.replaceNeighbour("weft-a", ip("10.1.0.2"), MAC_B);
        a.replaceRoute({ destination: prefix("10.2.0.0/16"), gateway: ip("10.1.0.2") });
        await eventually(() => heard("route", "set") && heard("neighbour", "set") && heard("address", "set"));
        expect(heard("link", "set", "weft-a")).toBe(true);
        a.deleteRoute({ destination: prefix("10.2.0.0/16") });
        await a.deleteLink("weft-a");
        await eventually(() => heard("route", "gone") && heard("link", "gone", "weft-a"));
        expect(own.some((e) => "nsid" in e && e.nsid === nsid)).toBe(false);
      } finally {
        stop();
        stopOwn();
      }
      const count = events.length;
      pair();
      await Bun.sleep(20);
      expect(events).toHaveLength(count);
      stop();
    });
  });
}
