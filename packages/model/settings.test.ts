import { describe, expect, test } from "bun:test";
import { hintOf, isInvalid, parsePrefix } from "@weft/base";
import { DEFAULT_SETTINGS, parseSettings } from "./settings.ts";

/** What the error says, one fault each; empty when there is none. */
function faults(document: unknown): string[] {
  try {
    parseSettings(document);
    return [];
  } catch (error) {
    expect(isInvalid(error)).toBe(true);
    expect(hintOf(error)).toBe("Correct the fields named.");
    return (error as Error).message.replace(/^settings: /, "").split("; ");
  }
}

test("nothing said means the defaults", () => {
  for (const document of [
    undefined,
    null,
    {},
    { vxlan: {} },
    { vxlan: null, mtu: null, clusterCIDRs: null },
  ]) {
    expect(parseSettings(document)).toEqual(DEFAULT_SETTINGS);
  }
  expect(parseSettings(DEFAULT_SETTINGS)).toEqual(DEFAULT_SETTINGS);
});

test("every field is taken over", () => {
  const document = {
    backend: "vxlan",
    vxlan: { port: 8472, vni: 77, underlay: "ipv6", checksum: "on", offload: "off" },
    mtu: 1400,
    clusterCIDRs: ["10.244.0.0/16", "FD00:10:244::/48"],
  };
  expect(parseSettings(document)).toEqual({
    ...document,
    backend: "vxlan",
    vxlan: { port: 8472, vni: 77, underlay: "ipv6", checksum: "on", offload: "off" },
    clusterCIDRs: [parsePrefix("10.244.0.0/16"), parsePrefix("fd00:10:244::/48")],
  });
});

describe("values", () => {
  const port = (value: unknown) => ({ vxlan: { port: value } });
  const vni = (value: unknown) => ({ vxlan: { vni: value } });
  const cidrs = (...values: unknown[]) => ({ clusterCIDRs: values });
  test.each([
    [{ backend: "auto" }],
    [{ backend: "direct" }],
    [port(1)],
    [port(65535)],
    [vni(1)],
    [vni(2 ** 24 - 1)],
    [{ mtu: 1280 }],
    [{ mtu: 65535 }],
    [{ mtu: "auto" }],
    // YAML 1.1: on and off are true and false.
    [{ vxlan: { checksum: true, offload: false } }],
    [cidrs("10.0.0.0/8")],
  ])("%j is taken", (document) => expect(faults(document)).toEqual([]));

  test.each([
    [{ backend: "ipip" }, 'backend: "ipip" must be one of auto, direct, vxlan'],
    [{ backend: 1 }, 'backend: "1" must be one of'],
    [{ backend: ["vxlan"] }, "backend: "],
    [{ backend: {} }, "backend: "],
    [port(0), 'vxlan.port: "0" must be a whole number from 1 to 65535'],
    [port(65536), "vxlan.port: "],
    [port(4789.5), "vxlan.port: "],
    [port("4789"), "vxlan.port: "],
    [port(Number.NaN), "vxlan.port: "],
    [vni(0), 'vxlan.vni: "0" must be a whole number from 1 to 16777215'],
    [vni(2 ** 24), "vxlan.vni: "],
    [{ vxlan: { underlay: "ipv5" } }, 'vxlan.underlay: "ipv5" must be one of auto, ipv4, ipv6'],
    [{ vxlan: { underlay: 4 } }, "vxlan.underlay: "],
    [{ vxlan: { checksum: "maybe" } }, 'vxlan.checksum: "maybe" must be one of auto, on, off'],
    [{ vxlan: { offload: 1 } }, "vxlan.offload: "],
    [{ mtu: 1279 }, 'mtu: "1279" must be a whole number from 1280 to 65535'],
    [{ mtu: 65536 }, "mtu: "],
    [{ mtu: "1400" }, "mtu: "],
    [cidrs("10.0.0.1/8"), 'clusterCIDRs[0]: "10.0.0.1/8" has bits set'],
    [cidrs("10.0.0.0/8", "x"), "clusterCIDRs[1]: "],
    [cidrs(7), 'clusterCIDRs[0]: "7" is not an IP address'],
    [{ clusterCIDRs: "10.0.0.0/8" }, "clusterCIDRs: must be a list of prefixes"],
    [{ vxlan: "on" }, "vxlan: must be a mapping"],
    [{ vxlan: [] }, "vxlan: must be a mapping"],
    [[], "settings: must be a mapping"],
    ["vxlan", "settings: must be a mapping"],
    [{ backends: "auto" }, "backends: unknown field (known: backend, vxlan, mtu, clusterCIDRs)"],
    [{ vxlan: { id: 1 } }, "vxlan.id: unknown field (known: port, vni, underlay, checksum, offload)"],
  ])("%j is refused: %s", (document, fault) => {
    const found = faults(document);
    expect(found).toHaveLength(1);
    expect(`settings: ${found[0]}`).toContain(fault);
  });
});

test("all faults are told at once", () => {
  const document = {
    backend: "x",
    vxlan: { port: 0, vni: -1, underlay: "x", checksum: "x", offload: "x", color: "red" },
    mtu: 1,
    clusterCIDRs: ["x", "10.0.0.0/8", "y"],
    more: true,
  };
  expect(faults(document).map((fault) => fault.slice(0, fault.indexOf(":")))).toEqual([
    "more",
    "vxlan.color",
    "clusterCIDRs[0]",
    "clusterCIDRs[2]",
    "backend",
    "vxlan.port",
    "vxlan.vni",
    "vxlan.underlay",
    "vxlan.checksum",
    "vxlan.offload",
    "mtu",
  ]);
});
