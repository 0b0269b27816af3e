import { describe, expect, test } from "bun:test";
import {
  type IpAddress,
  type IpWithLength,
  ipFromBytes,
  isInvalid,
  makePrefix,
  type Prefix,
} from "@weft/base";
import fc from "fast-check";
import { CniError } from "../errors.ts";
import { convertResult, formatResult } from "./format-result.ts";
import { compact } from "./json.ts";
import { parseResult } from "./parse-result.ts";
import type { Result } from "./result.ts";
import { CNI_VERSIONS, type CniVersion, versionAtLeast } from "./version.ts";

const full: Result = {
  interfaces: [
    { name: "weft1", mac: "02:00:00:00:00:01", mtu: 1450 },
    { name: "eth0", mac: "02:00:00:00:00:02", mtu: 1450, sandbox: "/run/netns/a", pciID: "0000:00:1f.6" },
  ],
  ips: [
    { address: "10.1.0.5/16" as IpWithLength, gateway: "10.1.0.1" as IpAddress, interface: 1 },
    { address: "10.1.0.6/16" as IpWithLength, interface: 1 },
    { address: "fd00::5/64" as IpWithLength, gateway: "fd00::1" as IpAddress, interface: 1 },
  ],
  routes: [
    {
      dst: "0.0.0.0/0" as Prefix,
      gw: "10.1.0.1" as IpAddress,
      mtu: 1400,
      priority: 10,
      table: 254,
      scope: 0,
    },
    { dst: "::/0" as Prefix },
  ],
  dns: { nameservers: ["10.96.0.10"], search: ["cluster.local"] },
};

describe("forms", () => {
  test("1.1.0 has everything", () => {
    expect(formatResult(full, "1.1.0")).toEqual({ cniVersion: "1.1.0", ...full });
  });

  test("1.0.0 drops what 1.1.0 brought", () => {
    const { interfaces = [], routes = [], ips } = formatResult(full, "1.0.0");
    expect(interfaces[1]).toEqual({ name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/a" });
    expect(routes[0] as object).toEqual({ dst: "0.0.0.0/0", gw: "10.1.0.1" });
    expect(ips).toEqual([...full.ips]);
  });

  test.each(["0.3.0", "0.3.1", "0.4.0"] as const)("%s has the version of addresses", (version) => {
    const { ips = [] } = formatResult(full, version);
    expect(ips.map((ip) => ip.version)).toEqual(["4", "4", "6"]);
  });

  test.each(["0.1.0", "0.2.0"] as const)("%s has one address of each family", (version) => {
    expect(formatResult(full, version)).toEqual({
      cniVersion: version,
      ip4: { ip: "10.1.0.5/16", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }] },
      ip6: { ip: "fd00::5/64", gateway: "fd00::1", routes: [{ dst: "::/0" }] },
      dns: full.dns,
    } as never);
  });

  test("a result without addresses goes down to 0.2.0 as well", () => {
    expect(convertResult({ cniVersion: "1.0.0", interfaces: [{ name: "lo" }] }, "0.2.0")).toEqual({
      cniVersion: "0.2.0",
    });
  });
});

describe("reading", () => {
  test("null is absent, as Go prints empty lists", () => {
    const { result } = parseResult(
      '{"cniVersion":"1.0.0","interfaces":null,"ips":null,"routes":null,"dns":{}}',
    );
    expect(result).toEqual({ interfaces: [], ips: [], routes: [], dns: {} });
  });

  test("the reference loopback plugin prints the later form at every version", () => {
    const json = {
      cniVersion: "0.1.0",
      interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: "/run/netns/x" }],
      ips: [{ interface: 0, address: "127.0.0.1/8" }],
      dns: {},
    };
    expect(parseResult(json).result.ips).toEqual([{ interface: 0, address: "127.0.0.1/8" as IpWithLength }]);
    expect(parseResult({ ...json, cniVersion: "0.4.0" }).result.ips[0]?.address as string).toBe(
      "127.0.0.1/8",
    );
  });

  test("without cniVersion it has the version given, or 0.1.0", () => {
    expect(parseResult({ ips: [] }, "0.4.0").version).toBe("0.4.0");
    expect(parseResult({}).version).toBe("0.1.0");
  });

  test("a destination loses its host bits", () => {
    const { routes } = parseResult({ cniVersion: "1.0.0", routes: [{ dst: "10.1.2.3/16" }] }).result;
    expect(routes[0]?.dst as string).toBe("10.1.0.0/16");
  });

  const bad: [string, unknown, string][] = [
    ["no object", 3, "result"],
    ["a list", [], "result"],
    ["interfaces", { cniVersion: "1.0.0", interfaces: {} }, "interfaces"],
    ["name", { cniVersion: "1.0.0", interfaces: [{ name: "" }] }, "interfaces[0].name"],
    ["no name", { cniVersion: "1.0.0", interfaces: [{}] }, "interfaces[0].name"],
    ["mtu", { cniVersion: "1.1.0", interfaces: [{ name: "a", mtu: -1 }] }, "interfaces[0].mtu"],
    ["address", { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1" }] }, "ips[0].address"],
    ["index", { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/8", interface: 0 }] }, "ips[0].interface"],
    ["version", { cniVersion: "0.4.0", ips: [{ address: "10.0.0.1/8", version: "6" }] }, "ips[0].version"],
    ["gateway", { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/8", gateway: "x" }] }, "ips[0].gateway"],
    ["route", { cniVersion: "1.0.0", routes: [{ gw: "10.0.0.1" }] }, "routes[0].dst"],
    ["scope", { cniVersion: "1.1.0", routes: [{ dst: "0.0.0.0/0", scope: 256 }] }, "routes[0].scope"],
    ["dns", { cniVersion: "1.0.0", dns: { nameservers: [1] } }, "dns.nameservers[0]"],
    ["family", { cniVersion: "0.2.0", ip4: { ip: "fd00::1/64" } }, "ip4.ip"],
    [
      "route family",
      { cniVersion: "0.2.0", ip4: { ip: "10.0.0.1/8", routes: [{ dst: "::/0" }] } },
      "ip4.routes",
    ],
  ];
  test.each(bad)("malformed: %s", (_, json, where) => {
    try {
      parseResult(json);
    } catch (error) {
      expect(error).toBeInstanceOf(CniError);
      expect(isInvalid(error)).toBe(true);
      expect((error as CniError).cniCode).toBe(6);
      expect((error as CniError).message).toContain(where);
      return;
    }
    throw new Error("was accepted");
  });

  test("bytes that are no UTF-8 and text that is no JSON", () => {
    for (const input of [new Uint8Array([0xff, 0xfe]), "{", ""]) {
      expect(() => parseResult(input)).toThrow(CniError);
    }
  });
});

const address4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes);
const address6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((b) => ipFromBytes(Uint8Array.from([0xfd, ...b.subarray(1)])));
const address = fc.oneof(
  fc.tuple(address4, fc.integer({ min: 0, max: 32 })),
  fc.tuple(address6, fc.integer({ min: 0, max: 128 })),
);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const word = fc.stringMatching(/^[a-z0-9:./]{1,12}$/);
const uint = fc.integer({ min: 0, max: 0xffff_ffff });

const results: fc.Arbitrary<Result> = fc
  .record({
    interfaces: fc.array(
      fc.record({ name: word, mac: maybe(word), mtu: maybe(uint), sandbox: maybe(word), pciID: maybe(word) }),
      { maxLength: 3 },
    ),
    ips: fc.array(
      fc.record({ at: address, gateway: maybe(fc.oneof(address4, address6)), interface: fc.nat() }),
    ),
    routes: fc.array(
      fc.record({
        at: address,
        gw: maybe(address4),
        mtu: maybe(uint),
        table: maybe(uint),
        scope: maybe(fc.nat(255)),
      }),
    ),
    dns: fc.record({ domain: maybe(word), search: maybe(fc.array(word, { minLength: 1 })) }),
  })
  .map(({ interfaces, ips, routes, dns }) => ({
    interfaces: interfaces.map(compact),
    ips: ips.map(({ at: [ip, length], gateway, interface: i }) =>
      compact({
        address: `${ip}/${length}` as IpWithLength,
        gateway,
        interface: interfaces.length === 0 ? undefined : i % interfaces.length,
      }),
    ),
    routes: routes.map(({ at: [ip, length], ...rest }) => compact({ dst: makePrefix(ip, length), ...rest })),
    dns: compact(dns),
  }));

const versions = fc.constantFrom(...CNI_VERSIONS);
const older = (a: CniVersion, b: CniVersion): CniVersion => (versionAtLeast(a, b) ? b : a);

describe("conversion", () => {
  test("1.1.0 round-trips", () => {
    fc.assert(
      fc.property(results, (result) => {
        const text = JSON.stringify(formatResult(result, "1.1.0"));
        expect(parseResult(text)).toEqual({ version: "1.1.0", result });
      }),
    );
  });

  test("each form round-trips: writing what was read changes nothing", () => {
    fc.assert(
      fc.property(results, versions, (result, version) => {
        const json = formatResult(result, version);
        expect(convertResult(JSON.stringify(json), version)).toEqual(json);
      }),
    );
  });

  test("a way over several versions loses what the oldest of them loses, and nothing else", () => {
    fc.assert(
      fc.property(results, versions, versions, (result, a, b) => {
        const there = convertResult(formatResult(result, a), b);
        const least = older(a, b);
        expect(convertResult(there, least)).toEqual(formatResult(result, least));
      }),
    );
  });

  test("no JSON value makes the parser throw anything but a CniError", () => {
    const soup = fc.object({
      key: fc.constantFrom(
        "cniVersion",
        "ips",
        "interfaces",
        "routes",
        "dns",
        "ip4",
        "ip",
        "address",
        "name",
      ),
      values: [fc.constantFrom(...CNI_VERSIONS, "10.0.0.1/8", null), fc.jsonValue()],
    });
    fc.assert(
      fc.property(soup, (json) => {
        try {
          formatResult(parseResult(json).result, "0.1.0");
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
        }
      }),
    );
  });
});
