/**
 * Capability arguments: what the runtime knows of one container and the plugin asked for under `capabilities`,
 * passed in `runtimeConfig`. Names and shapes are those of CONVENTIONS.md, "Well-known Capabilities".
 */
import { type IpAddress, type Mac, parseIp, parseMac } from "@weft/base";
import { CODE } from "../errors.ts";
import { compact, JsonFields, type JsonObject } from "./json.ts";

export interface PortMapping {
  /** 0 or absent in Kubernetes means that the port is not published. */
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly hostIP?: IpAddress;
}

/** Rates in bits per second, bursts in bits; ingress is towards the container. */
export interface Bandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

/** As in host-local: a range of a subnet. */
export interface IpRange {
  readonly subnet: string;
  readonly rangeStart?: string;
  readonly rangeEnd?: string;
  readonly gateway?: string;
}

export interface CapabilityDns {
  readonly servers?: readonly string[];
  readonly searches?: readonly string[];
  readonly options?: readonly string[];
}

export interface CapabilityArguments {
  readonly portMappings?: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** One address is taken from each of the outer list; the inner ones are alternatives. */
  readonly ipRanges?: readonly (readonly IpRange[])[];
  readonly dns?: CapabilityDns;
  readonly mac?: Mac;
  /** Addresses asked for, with or without the length of a prefix. */
  readonly ips?: readonly string[];
  readonly infinibandGUID?: string;
  readonly deviceID?: string;
  readonly aliases?: readonly string[];
  readonly cgroupPath?: string;
  readonly [capability: string]: unknown;
}

const MOST_BITS = Number.MAX_SAFE_INTEGER;

/** Reads `runtimeConfig`; absent is empty, unknown capabilities are kept. Throws CniError 7. */
export function parseCapabilityArguments(runtimeConfig: JsonObject | undefined): CapabilityArguments {
  const o = new JsonFields(runtimeConfig ?? {}, "runtimeConfig", CODE.invalidConfiguration);
  const strings = (key: string): string[] | undefined => (o.has(key) ? o.strings(key) : undefined);
  const bandwidth = o.optionalFields("bandwidth");
  const dns = o.optionalFields("dns");
  return compact({
    ...o.object,
    portMappings: o.has("portMappings") ? o.list("portMappings", parsePortMapping) : undefined,
    bandwidth: bandwidth === undefined ? undefined : parseBandwidth(bandwidth),
    ipRanges: o.has("ipRanges") ? o.lists("ipRanges", parseRange) : undefined,
    dns: dns === undefined ? undefined : parseCapabilityDns(dns),
    mac: o.optionalParsed("mac", parseMac),
    ips: strings("ips"),
    infinibandGUID: o.optionalString("infinibandGUID"),
    deviceID: o.optionalString("deviceID"),
    aliases: strings("aliases"),
    cgroupPath: o.optionalString("cgroupPath"),
  });
}

/** containerd writes HostPort, ContainerPort, Protocol and HostIP. */
function parsePortMapping(written: JsonFields): PortMapping {
  const o = written.spelled("hostPort", "containerPort", "protocol", "hostIP");
  const hostIP = o.optionalParsed("hostIP", parseIp);
  return {
    hostPort: o.optionalInteger("hostPort", 65535) ?? 0,
    containerPort: o.integer("containerPort", 65535),
    protocol: parseProtocol(o),
    ...(hostIP === undefined ? {} : { hostIP }),
  };
}

function parseProtocol(o: JsonFields): PortMapping["protocol"] {
  const protocol = (o.optionalString("protocol") ?? "tcp").toLowerCase();
  if (protocol === "tcp" || protocol === "udp" || protocol === "sctp") return protocol;
  return o.fail("protocol", `"${protocol.slice(0, 16)}" is not tcp, udp or sctp`);
}

function parseBandwidth(written: JsonFields): Bandwidth {
  const o = written.spelled("ingressRate", "ingressBurst", "egressRate", "egressBurst");
  return compact({
    ingressRate: o.optionalInteger("ingressRate", MOST_BITS),
    ingressBurst: o.optionalInteger("ingressBurst", MOST_BITS),
    egressRate: o.optionalInteger("egressRate", MOST_BITS),
    egressBurst: o.optionalInteger("egressBurst", MOST_BITS),
  });
}

function parseRange(written: JsonFields): IpRange {
  const o = written.spelled("subnet", "rangeStart", "rangeEnd", "gateway");
  return compact({
    subnet: o.string("subnet"),
    rangeStart: o.optionalString("rangeStart"),
    rangeEnd: o.optionalString("rangeEnd"),
    gateway: o.optionalString("gateway"),
  });
}

function parseCapabilityDns(written: JsonFields): CapabilityDns {
  const o = written.spelled("servers", "searches", "options");
  return { servers: o.strings("servers"), searches: o.strings("searches"), options: o.strings("options") };
}
