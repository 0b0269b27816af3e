/** Reading a result of any version into the latest form. What no version knows is left out. */
import { familyOf, makePrefix, parseIp, parseIpWithLength, prefixIp, prefixLength } from "@weft/base";
import { CODE } from "../errors.ts";
import { compact, JsonFields, parseJson } from "./json.ts";
import type { Result, ResultDns, ResultInterface, ResultIp, ResultRoute } from "./result.ts";
import { type CniVersion, DEFAULT_VERSION, parseVersion, versionAtLeast } from "./version.ts";

const UINT32 = 0xffff_ffff;

export interface ParsedResult {
  /** The version that it was written in. */
  readonly version: CniVersion;
  readonly result: Result;
}

/**
 * Reads a result: JSON text, bytes, or the parsed value. `fallback` is the version of one without `cniVersion`.
 * Throws CniError 6 for malformed results, 1 for a version that is not known.
 */
export function parseResult(
  input: unknown,
  fallback: CniVersion = DEFAULT_VERSION,
  path = "result",
): ParsedResult {
  const json = typeof input === "string" || input instanceof Uint8Array ? parseJson(input, path) : input;
  const o = new JsonFields(json, path, CODE.decoding);
  const version = parseVersion(o.optionalString("cniVersion") ?? fallback);
  const dns = parseDns(o.optionalFields("dns"));
  // The reference loopback plugin up to 1.1 prints the form of 1.0.0 whatever the version, so the form decides.
  const old = !versionAtLeast(version, "0.3.0") && !o.has("ips") && !o.has("interfaces");
  if (old) return { version, result: { interfaces: [], ...parseFamilies(o), dns } };

  const rich = versionAtLeast(version, "1.1.0");
  const interfaces = o.list("interfaces", (f) => parseInterface(f, rich));
  const ips = o.list("ips", (f) => parseIpConfiguration(f, interfaces.length));
  const routes = o.list("routes", (f) => parseRoute(f, rich));
  return { version, result: { interfaces, ips, routes, dns } };
}

function parseInterface(o: JsonFields, rich: boolean): ResultInterface {
  const name = o.string("name");
  if (name === "") o.fail("name", "must not be empty");
  return compact({
    name,
    mac: o.optionalString("mac"),
    mtu: rich ? o.optionalInteger("mtu", UINT32) : undefined,
    sandbox: o.optionalString("sandbox"),
    socketPath: rich ? o.optionalString("socketPath") : undefined,
    pciID: rich ? o.optionalString("pciID") : undefined,
  });
}

function parseIpConfiguration(o: JsonFields, interfaces: number): ResultIp {
  const address = o.parsed("address", parseIpWithLength);
  const version = o.optionalString("version");
  if (version !== undefined && version !== String(familyOf(address))) {
    o.fail("version", `"${version.slice(0, 8)}" is not the version of ${address}`);
  }
  const index = o.optionalInteger("interface", UINT32);
  if (index !== undefined && index >= interfaces) {
    o.fail("interface", `there is no interface number ${index}, only ${interfaces} in the list`);
  }
  return compact({ address, gateway: o.optionalParsed("gateway", parseIp), interface: index });
}

function parseRoute(o: JsonFields, rich: boolean): ResultRoute {
  const dst = o.parsed("dst", parseIpWithLength);
  const number = (key: string, most: number): number | undefined =>
    rich ? o.optionalInteger(key, most) : undefined;
  return compact({
    // Host bits in a destination are allowed here, as everywhere in CNI, and mean nothing.
    dst: makePrefix(prefixIp(dst), prefixLength(dst)),
    gw: o.optionalParsed("gw", parseIp),
    mtu: number("mtu", UINT32),
    advmss: number("advmss", UINT32),
    priority: number("priority", UINT32),
    table: number("table", UINT32),
    scope: number("scope", 255),
  });
}

function parseFamilies(o: JsonFields): Pick<Result, "ips" | "routes"> {
  const ips: ResultIp[] = [];
  const routes: ResultRoute[] = [];
  for (const family of [4, 6] as const) {
    const ip = o.optionalFields(`ip${family}`);
    if (ip === undefined) continue;
    const address = ip.parsed("ip", parseIpWithLength);
    if (familyOf(address) !== family) ip.fail("ip", `${address} is not IPv${family}`);
    ips.push(compact({ address, gateway: ip.optionalParsed("gateway", parseIp) }));
    for (const route of ip.list("routes", (f) => parseRoute(f, false))) {
      if (familyOf(route.dst) !== family) ip.fail("routes", `${route.dst} is not IPv${family}`);
      routes.push(route);
    }
  }
  return { ips, routes };
}

/** The `dns` of a result or configuration; empty lists are left out. */
export function parseDns(o: JsonFields | undefined): ResultDns {
  if (o === undefined) return {};
  const strings = (key: string): string[] | undefined => {
    const list = o.strings(key);
    return list.length === 0 ? undefined : list;
  };
  return compact({
    nameservers: strings("nameservers"),
    domain: o.optionalString("domain"),
    search: strings("search"),
    options: strings("options"),
  });
}
