/** Settings of the network, with defaults and the checks that name the field. */
import { type Prefix, parsePrefix, shownValue, WeftError } from "@weft/base";
import {
  DEFAULT_IPAM_SETTINGS,
  DEFAULT_METRICS_SETTINGS,
  type IpamSettings,
  LEAK_GRACE,
  type MetricsSettings,
} from "./operation-settings.ts";
import { DEFAULT_SERVICE_SETTINGS, type ServiceSettings } from "./service-settings.ts";

export type BackendName = "auto" | "direct" | "vxlan";

export interface VxlanSettings {
  /** UDP port; 4789 by default (RFC 7348 section 5). */
  readonly port: number;
  /** VXLAN network identifier, 1 to 2^24-1. */
  readonly vni: number;
  /** Family of the outer packets; auto takes IPv4 where the node has an IPv4 address. */
  readonly underlay: "auto" | "ipv4" | "ipv6";
  /** Outer UDP checksum; auto: none over IPv4, always over IPv6 (RFC 6936 allows zero, few fabrics like it). */
  readonly checksum: "auto" | "on" | "off";
  /** Transmit checksum offload of the tunnel device; auto turns it off on kernels that are known to spoil it. */
  readonly offload: "auto" | "on" | "off";
}

/** Whether packets of pods get their node's address when they leave the cluster. */
export interface MasqueradeSettings {
  /** For all pods that no range speaks of. */
  readonly enabled: boolean;
  /** For pods of these ranges; of several that hold an address, the longest prefix speaks. */
  readonly ranges: readonly { readonly range: Prefix; readonly enabled: boolean }[];
  /** Destinations outside of the cluster that pods reach under their own address. */
  readonly exclude: readonly Prefix[];
}

export interface Settings {
  readonly backend: BackendName;
  readonly vxlan: VxlanSettings;
  /** MTU of pod interfaces; "auto" derives it from the underlay. */
  readonly mtu: number | "auto";
  /** Ranges that all node blocks lie in. */
  readonly clusterCIDRs: readonly Prefix[];
  readonly masquerade: MasqueradeSettings;
  /** Ranges that cluster addresses of services come from, beside those of ServiceCIDR objects. */
  readonly serviceCIDRs: readonly Prefix[];
  readonly services: ServiceSettings;
  readonly ipam: IpamSettings;
  readonly metrics: MetricsSettings;
}

export const DEFAULT_SETTINGS: Settings = {
  backend: "auto",
  vxlan: { port: 4789, vni: 4096, underlay: "auto", checksum: "auto", offload: "auto" },
  mtu: "auto",
  clusterCIDRs: [],
  masquerade: { enabled: true, ranges: [], exclude: [] },
  serviceCIDRs: [],
  services: DEFAULT_SERVICE_SETTINGS,
  ipam: DEFAULT_IPAM_SETTINGS,
  metrics: DEFAULT_METRICS_SETTINGS,
};

/** Settings from a parsed YAML or JSON document; every fault is listed, not only the first. Throws "invalid". */
export function parseSettings(document: unknown): Settings {
  const faults: string[] = [];
  const root = object(document ?? {}, "settings", faults);
  unknownKeys(
    root,
    ["backend", "vxlan", "mtu", "clusterCIDRs", "masquerade", "serviceCIDRs", "services", "ipam", "metrics"],
    "",
    faults,
  );
  const vx = object(root["vxlan"] ?? {}, "vxlan", faults);
  unknownKeys(vx, ["port", "vni", "underlay", "checksum", "offload"], "vxlan.", faults);
  const d = DEFAULT_SETTINGS;
  const mtu = root["mtu"] ?? d.mtu;
  const settings: Settings = {
    backend: oneOf(root["backend"] ?? d.backend, ["auto", "direct", "vxlan"], "backend", faults),
    vxlan: {
      port: integer(vx["port"] ?? d.vxlan.port, 1, 65535, "vxlan.port", faults),
      vni: integer(vx["vni"] ?? d.vxlan.vni, 1, 0xffffff, "vxlan.vni", faults),
      underlay: oneOf(vx["underlay"] ?? d.vxlan.underlay, ["auto", "ipv4", "ipv6"], "vxlan.underlay", faults),
      checksum: oneOf(vx["checksum"] ?? d.vxlan.checksum, ["auto", "on", "off"], "vxlan.checksum", faults),
      offload: oneOf(vx["offload"] ?? d.vxlan.offload, ["auto", "on", "off"], "vxlan.offload", faults),
    },
    mtu: mtu === "auto" ? "auto" : integer(mtu, 1280, 65535, "mtu", faults),
    clusterCIDRs: prefixes(root["clusterCIDRs"], "clusterCIDRs", faults),
    masquerade: masquerade(root["masquerade"], faults),
    serviceCIDRs: prefixes(root["serviceCIDRs"], "serviceCIDRs", faults),
    services: services(root["services"] ?? {}, faults),
    ipam: ipam(root["ipam"] ?? {}, faults),
    metrics: metrics(root["metrics"] ?? {}, faults),
  };
  if (faults.length > 0) {
    throw new WeftError("invalid", `settings: ${faults.join("; ")}`, { hint: "Correct the fields named." });
  }
  return settings;
}

function masquerade(value: unknown, faults: string[]): MasqueradeSettings {
  const fields = object(value ?? {}, "masquerade", faults);
  unknownKeys(fields, ["enabled", "ranges", "exclude"], "masquerade.", faults);
  const ranges = list(fields["ranges"], "masquerade.ranges", "ranges", faults).map((item, i) => {
    const field = `masquerade.ranges[${i}]`;
    const range = object(item, field, faults);
    unknownKeys(range, ["range", "enabled"], `${field}.`, faults);
    if (!("enabled" in range)) faults.push(`${field}.enabled: is missing`);
    return {
      range: prefix(range["range"], `${field}.range`, faults),
      enabled: boolean(range["enabled"] ?? true, `${field}.enabled`, faults),
    };
  });
  ranges.forEach(({ range, enabled }, i) => {
    const first = ranges.findIndex((r) => r.range === range);
    if (range !== "" && ranges[first]?.enabled !== enabled)
      faults.push(`masquerade.ranges[${i}]: ${range} is in masquerade.ranges[${first}] too, otherwise`);
  });
  return {
    enabled: boolean(fields["enabled"] ?? DEFAULT_SETTINGS.masquerade.enabled, "masquerade.enabled", faults),
    ranges,
    exclude: prefixes(fields["exclude"], "masquerade.exclude", faults),
  };
}

function noAddresses(faults: string[]): Prefix[] {
  faults.push("services.nodePortAddresses: must be primary, all, or a list of prefixes");
  return [];
}

function services(value: unknown, faults: string[]): ServiceSettings {
  const d = DEFAULT_SERVICE_SETTINGS;
  const fields = object(value, "services", faults);
  unknownKeys(
    fields,
    ["enabled", "balance", "nodePortAddresses", "healthzPort", "resetConnections"],
    "services.",
    faults,
  );
  const addresses = fields["nodePortAddresses"] ?? d.nodePortAddresses;
  return {
    enabled: oneOf(fields["enabled"] ?? d.enabled, ["auto", "on", "off"], "services.enabled", faults),
    balance: oneOf(fields["balance"] ?? d.balance, ["random", "maglev"], "services.balance", faults),
    nodePortAddresses:
      addresses === "primary" || addresses === "all"
        ? addresses
        : Array.isArray(addresses)
          ? prefixes(addresses, "services.nodePortAddresses", faults)
          : noAddresses(faults),
    healthzPort: integer(fields["healthzPort"] ?? d.healthzPort, 0, 65535, "services.healthzPort", faults),
    resetConnections: boolean(
      fields["resetConnections"] ?? d.resetConnections,
      "services.resetConnections",
      faults,
    ),
  };
}

function ipam(value: unknown, faults: string[]): IpamSettings {
  const fields = object(value, "ipam", faults);
  unknownKeys(fields, ["leakGrace"], "ipam.", faults);
  const grace = fields["leakGrace"] ?? DEFAULT_IPAM_SETTINGS.leakGrace;
  return { leakGrace: seconds(grace, LEAK_GRACE.least, LEAK_GRACE.most, "ipam.leakGrace", faults) };
}

function metrics(value: unknown, faults: string[]): MetricsSettings {
  const d = DEFAULT_METRICS_SETTINGS;
  const fields = object(value, "metrics", faults);
  unknownKeys(fields, ["listen", "port"], "metrics.", faults);
  const places = ["off", "loopback", "node", "all"] as const;
  return {
    listen: oneOf(fields["listen"] ?? d.listen, places, "metrics.listen", faults),
    port: integer(fields["port"] ?? d.port, 1, 65535, "metrics.port", faults),
  };
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** A number of seconds, or a time like "90s"; in seconds. */
function seconds(value: unknown, least: number, most: number, field: string, faults: string[]): number {
  const [, digits = "", unit = ""] =
    typeof value === "string" ? (/^([0-9]{1,6})([smh])$/.exec(value) ?? []) : [];
  const given =
    typeof value === "number" ? value : unit === "" ? Number.NaN : Number(digits) * (UNITS[unit] ?? 0);
  if (Number.isInteger(given) && given >= least && given <= most) return given;
  faults.push(
    `${field}: "${shownValue(value)}" must be a time from ${least}s to ${most / 3600}h, like 90s or 5m`,
  );
  return least;
}

type Fields = Readonly<Record<string, unknown>>;

function object(value: unknown, field: string, faults: string[]): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  faults.push(`${field}: must be a mapping`);
  return {};
}

function unknownKeys(value: Fields, known: readonly string[], prefix: string, faults: string[]): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) faults.push(`${prefix}${key}: unknown field (known: ${known.join(", ")})`);
  }
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], field: string, faults: string[]): T {
  // YAML 1.1 writers quote neither on nor off, and some parsers then deliver booleans.
  const text = value === true ? "on" : value === false ? "off" : value;
  if (allowed.includes(text as T)) return text as T;
  faults.push(`${field}: "${shownValue(value)}" must be one of ${allowed.join(", ")}`);
  return allowed[0] as T;
}

function boolean(value: unknown, field: string, faults: string[]): boolean {
  if (typeof value === "boolean") return value;
  faults.push(`${field}: "${shownValue(value)}" must be true or false`);
  return true;
}

function list(value: unknown, field: string, what: string, faults: string[]): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (value !== undefined && value !== null) faults.push(`${field}: must be a list of ${what}`);
  return [];
}

const prefixes = (value: unknown, field: string, faults: string[]): Prefix[] =>
  list(value, field, "prefixes", faults).map((item, i) => prefix(item, `${field}[${i}]`, faults));

function prefix(value: unknown, field: string, faults: string[]): Prefix {
  try {
    if (value === undefined) throw new WeftError("invalid", "is missing");
    return parsePrefix(shownValue(value));
  } catch (error) {
    faults.push(`${field}: ${(error as Error).message}`);
    return "" as Prefix;
  }
}

function integer(value: unknown, least: number, most: number, field: string, faults: string[]): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  faults.push(`${field}: "${shownValue(value)}" must be a whole number from ${least} to ${most}`);
  return least;
}
