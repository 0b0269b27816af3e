import { describe, expect, test } from "bun:test";
import { WeftError } from "@weft/base";
import fc from "fast-check";
import { DEFAULT_SETTINGS, parseSettings } from "./settings.ts";

const faultsOf = (document: unknown): string => {
  try {
    parseSettings(document);
  } catch (error) {
    expect(error).toBeInstanceOf(WeftError);
    expect((error as WeftError).code).toBe("invalid");
    return (error as WeftError).message;
  }
  return "";
};

describe("settings", () => {
  test("nothing means the defaults", () => {
    for (const nothing of [
      undefined,
      null,
      {},
      { vxlan: {} },
      { vxlan: null, clusterCIDRs: null, masquerade: null },
      { masquerade: { ranges: null } },
    ]) {
      expect(parseSettings(nothing)).toEqual(DEFAULT_SETTINGS);
    }
  });

  test("every field is taken over", () => {
    const settings = {
      backend: "direct",
      vxlan: { port: 8472, vni: 1, underlay: "ipv6", checksum: "on", offload: "off" },
      mtu: 1280,
      clusterCIDRs: ["10.0.0.0/8", "fd00::/48"],
      masquerade: {
        enabled: false,
        ranges: [{ range: "10.244.0.0/16", enabled: true }],
        exclude: ["192.168.0.0/16", "fd99::/64"],
      },
      serviceCIDRs: ["10.96.0.0/16", "fd00:96::/112"],
      services: {
        enabled: "off",
        balance: "maglev",
        nodePortAddresses: ["192.0.2.0/24"],
        healthzPort: 0,
        resetConnections: true,
      },
      ipam: { leakGrace: 600 },
      metrics: { listen: "node", port: 9100 },
    } as const;
    expect(parseSettings(settings) as unknown).toEqual(settings);
    const written = { ipam: { leakGrace: "10m" }, metrics: { listen: false } };
    expect(parseSettings(written)).toMatchObject({
      ipam: { leakGrace: 600 },
      metrics: { listen: "off", port: 10247 },
    });
  });

  test("what was parsed is parsed again to the same", () => {
    const choice = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
    const document = fc.record({
      backend: choice("auto", "direct", "vxlan"),
      mtu: fc.option(fc.oneof(fc.constant("auto"), fc.integer({ min: 1280, max: 65535 })), {
        nil: undefined,
      }),
      vxlan: fc.record({
        port: fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }),
        vni: fc.option(fc.integer({ min: 1, max: 0xffffff }), { nil: undefined }),
        underlay: choice("auto", "ipv4", "ipv6"),
        checksum: choice<string | boolean>("auto", "on", "off", true, false),
        offload: choice<string | boolean>("auto", "on", "off", true, false),
      }),
      services: fc.record({
        enabled: choice<string | boolean>("auto", "on", "off", true, false),
        balance: choice("random", "maglev"),
        nodePortAddresses: choice<unknown>("primary", "all", [], ["10.0.0.0/8", "fd00::/64"]),
        resetConnections: choice(true, false),
        healthzPort: fc.option(fc.integer({ min: 0, max: 65535 }), { nil: undefined }),
      }),
      ipam: fc.record({ leakGrace: choice<unknown>(10, 86_400, "90s", "24h") }),
      metrics: fc.record({ listen: choice<unknown>("off", false, "loopback", "node", "all") }),
    });
    fc.assert(
      fc.property(document, (d) => {
        const once = parseSettings(d);
        expect(parseSettings(JSON.parse(JSON.stringify(once)))).toEqual(once);
      }),
    );
  });

  test("YAML's booleans are on and off", () => {
    expect(parseSettings({ vxlan: { checksum: true, offload: false } }).vxlan).toMatchObject({
      checksum: "on",
      offload: "off",
    });
  });

  const wrong: readonly [unknown, ...string[]][] = [
    [7, "settings: must be a mapping"],
    [[], "must be a mapping"],
    [{ backend: "ipip" }, 'backend: "ipip" must be one of auto, direct, vxlan'],
    [
      { bakend: "auto" },
      "bakend: unknown field (known: backend, vxlan, mtu, clusterCIDRs, masquerade, serviceCIDRs, services, ipam, metrics)",
    ],
    [{ vxlan: [] }, "vxlan: must be a mapping"],
    [{ vxlan: { vni: 0 } }, "vxlan.vni", "from 1 to 16777215"],
    [{ vxlan: { vni: 2 ** 24 } }, "vxlan.vni"],
    [{ vxlan: { port: 1.5 } }, "vxlan.port"],
    [{ vxlan: { port: "4789" } }, "vxlan.port"],
    [{ vxlan: { checksum: "yes" } }, 'vxlan.checksum: "yes" must be one of auto, on, off'],
    [{ mtu: 1279 }, "mtu", "from 1280 to 65535"],
    [{ mtu: "big" }, 'mtu: "big"'],
    [{ clusterCIDRs: "10.0.0.0/8" }, "clusterCIDRs: must be a list"],
    [{ clusterCIDRs: ["10.0.0.0/8", "x"] }, "clusterCIDRs[1]"],
    [{ serviceCIDRs: ["10.96.0.1/16"] }, "serviceCIDRs[0]"],
    [{ services: [] }, "services: must be a mapping"],
    [{ services: { enabled: "maybe" } }, "services.enabled", "auto, on, off"],
    [{ services: { balance: "ipvs" } }, 'services.balance: "ipvs" must be one of random, maglev'],
    [
      { services: { nodePortAddresses: "eth0" } },
      "services.nodePortAddresses: must be primary, all, or a list",
    ],
    [{ services: { nodePortAddresses: ["192.0.2.1"] } }, "services.nodePortAddresses[0]"],
    [{ services: { healthzPort: 65536 } }, "services.healthzPort"],
    [{ ipam: { leakGrace: "9s" } }, "ipam.leakGrace"],
    [{ ipam: { leakGrace: "25h" } }, "ipam.leakGrace"],
    [{ ipam: { leakGrace: "1d" } }, "ipam.leakGrace"],
    [{ ipam: { leakGrace: 60.5 } }, "ipam.leakGrace"],
    [{ ipam: { grace: 60 } }, "ipam.grace"],
    [{ metrics: { listen: "eth0" } }, "metrics.listen"],
    [{ metrics: { port: 0 } }, "metrics.port"],
    [{ services: { resetConnections: "sometimes" } }, "services.resetConnections"],
    [{ services: { proxy: 1 } }, "services.proxy: unknown field"],
    [{ backend: true }, "backend"],
    [{ masquerade: false }, "masquerade: must be a mapping"],
    [{ masquerade: { enable: false } }, "masquerade.enable: unknown field (known: enabled, ranges, exclude)"],
    [{ masquerade: { enabled: "no" } }, 'masquerade.enabled: "no" must be true or false'],
    [{ masquerade: { exclude: "10.0.0.0/8" } }, "masquerade.exclude: must be a list of prefixes"],
    [{ masquerade: { exclude: ["10.0.0.1/8"] } }, "masquerade.exclude[0]", "bits set"],
    [{ masquerade: { exclude: ["10.0.0.0/8", null] } }, "masquerade.exclude[1]"],
    [{ masquerade: { ranges: {} } }, "masquerade.ranges: must be a list of ranges"],
    [{ masquerade: { ranges: ["10.0.0.0/8"] } }, "masquerade.ranges[0]: must be a mapping"],
    [{ masquerade: { ranges: [{ range: "10.0.0.0/8" }] } }, "masquerade.ranges[0].enabled: is missing"],
    [{ masquerade: { ranges: [{ enabled: true }] } }, "masquerade.ranges[0].range: is missing"],
    [{ masquerade: { ranges: [{ range: "x", enabled: true }] } }, "masquerade.ranges[0].range"],
    [
      {
        masquerade: {
          ranges: [
            { range: "10.0.0.0/8", enabled: true },
            { range: "10.0.0.0/8", enabled: false },
          ],
        },
      },
      "masquerade.ranges[1]: 10.0.0.0/8 is in masquerade.ranges[0] too, otherwise",
    ],
  ];
  test.each(wrong)("%j", (document, ...words) => {
    for (const word of words) expect(faultsOf(document)).toContain(word);
  });

  test("all faults are told at once", () => {
    const text = faultsOf({ backend: 1, vxlan: { vni: -1, colour: "red" }, mtu: 1, clusterCIDRs: [2] });
    for (const field of ["backend", "vxlan.vni", "vxlan.colour", "mtu", "clusterCIDRs[0]"])
      expect(text).toContain(field);
  });

  test("anything at all is either settings or an error that says so", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          expect(parseSettings(value).vxlan.vni).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(WeftError);
        }
      }),
    );
  });
});
