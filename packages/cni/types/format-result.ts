/**
 * Writing a result in the form of a version. Going down loses what the older form cannot say:
 *
 * - below 1.1.0: mtu, socketPath, pciID of interfaces; mtu, advmss, priority, table, scope of routes.
 * - below 0.3.0: all interfaces and the indices into them; every address after the first of a family, so put
 *   the one that matters first; routes of a family that has no address. A result without addresses has no
 *   ip4 and no ip6, though 0.2.0 wants one: failing here would undo an attachment that works.
 *
 * Going up loses nothing, and adds only what follows: the `version` of an address.
 */
import { familyOf } from "@weft/base";
import { compact } from "./json.ts";
import { parseResult } from "./parse-result.ts";
import type { Result, Result020Ip, ResultInterface, ResultOfVersion, ResultRoute } from "./result.ts";
import { type CniVersion, versionAtLeast } from "./version.ts";

/** The JSON value of a result in the form of `version`. Empty lists and empty dns are left out. */
export function formatResult<V extends CniVersion>(result: Result, version: V): ResultOfVersion[V] {
  const dns = Object.keys(result.dns).length === 0 ? undefined : result.dns;
  const body = versionAtLeast(version, "0.3.0") ? listForm(result, version) : familyForm(result);
  return compact({ cniVersion: version, ...body, dns }) as unknown as ResultOfVersion[V];
}

/** A result of any version, as JSON text, bytes or value, in the form of `version`. Throws as parseResult does. */
export function convertResult<V extends CniVersion>(
  input: unknown,
  version: V,
  fallback?: CniVersion,
): ResultOfVersion[V] {
  return formatResult(parseResult(input, fallback).result, version);
}

const nonEmpty = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list);

function listForm(result: Result, version: CniVersion): object {
  const rich = versionAtLeast(version, "1.1.0");
  const withFamily = !versionAtLeast(version, "1.0.0");
  return {
    interfaces: nonEmpty(rich ? result.interfaces : result.interfaces.map(plainInterface)),
    ips: nonEmpty(
      withFamily ? result.ips.map((ip) => ({ version: String(familyOf(ip.address)), ...ip })) : result.ips,
    ),
    routes: nonEmpty(rich ? result.routes : result.routes.map(plainRoute)),
  };
}

function familyForm(result: Result): { ip4: Result020Ip | undefined; ip6: Result020Ip | undefined } {
  const of = (family: 4 | 6): Result020Ip | undefined => {
    const ip = result.ips.find((i) => familyOf(i.address) === family);
    if (ip === undefined) return undefined;
    const routes = nonEmpty(result.routes.filter((r) => familyOf(r.dst) === family).map(plainRoute));
    return compact({ ip: ip.address, gateway: ip.gateway, routes });
  };
  return { ip4: of(4), ip6: of(6) };
}

const plainInterface = (i: ResultInterface): ResultInterface =>
  compact({ name: i.name, mac: i.mac, sandbox: i.sandbox });

const plainRoute = (r: ResultRoute): ResultRoute => compact({ dst: r.dst, gw: r.gw });
