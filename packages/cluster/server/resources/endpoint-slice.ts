/** EndpointSlices (API reference, discovery.k8s.io/v1; their limits are those of Kubernetes' own validation). */
import { contains, hostPrefix, isIp } from "@weft/base";
import { labelFault, subdomainFault } from "../../names.ts";
import type { Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { AGE } from "../table/cells.ts";
import { at, items, type Mapping, mappings, setDefault, text } from "../values.ts";

const FAMILIES: Readonly<Record<string, (address: string) => boolean>> = {
  IPv4: (address) => isIp(address) && !address.includes(":"),
  IPv6: (address) => isIp(address) && address.includes(":"),
  FQDN: (address) => subdomainFault(address) === undefined,
};

/** What no endpoint may have: it would be another one on each node. */
const UNUSABLE: readonly (readonly [prefix: string, why: string])[] = [
  ["0.0.0.0/32", "unspecified (0.0.0.0 or ::)"],
  ["::/128", "unspecified (0.0.0.0 or ::)"],
  ["127.0.0.0/8", "in the loopback range (127.0.0.0/8, ::1/128)"],
  ["::1/128", "in the loopback range (127.0.0.0/8, ::1/128)"],
  ["169.254.0.0/16", "in the link-local range (169.254.0.0/16, fe80::/10)"],
  ["fe80::/10", "in the link-local range (169.254.0.0/16, fe80::/10)"],
  ["224.0.0.0/24", "in the link-local multicast range (224.0.0.0/24, ff02::/10)"],
  ["ff02::/16", "in the link-local multicast range (224.0.0.0/24, ff02::/10)"],
];

/** How all of those begin: hardly an address needs a closer look. */
const MAYBE_UNUSABLE = /^(0|127\.|169\.254\.|224\.|:|fe|ff)/i;

const MOST_ENDPOINTS = 1000;
const MOST_ADDRESSES = 100;
const MOST_PORTS = 100;

export const ENDPOINT_SLICES = builtIn({
  group: "discovery.k8s.io",
  kind: "EndpointSlice",
  plural: "endpointslices",
  namespaced: true,
  columns: [
    column.name,
    column.text("AddressType", (o) => o["addressType"]),
    column.text("Ports", (o) =>
      some(
        mappings(o["ports"]).map((p) => p["port"] ?? "*"),
        "<unset>",
      ),
    ),
    column.text("Endpoints", (o) =>
      some(
        mappings(o["endpoints"]).flatMap((e) => items(e["addresses"])),
        "<unset>",
      ),
    ),
    AGE,
  ],
  prepare(object) {
    setDefault(object, "endpoints", []);
    for (const port of mappings(object["ports"])) {
      setDefault(port, "name", "");
      setDefault(port, "protocol", "TCP");
    }
  },
  validate(object, old, faults) {
    const family = text(object["addressType"]);
    faults.oneOf("addressType", object["addressType"], Object.keys(FAMILIES));
    if (old !== undefined) faults.immutable("addressType", family, family === old["addressType"]);
    atMost(object["endpoints"], "endpoints", MOST_ENDPOINTS, faults);
    for (const [i, endpoint] of mappings(object["endpoints"]).slice(0, MOST_ENDPOINTS).entries()) {
      validateEndpoint(endpoint, `endpoints[${i}]`, family, faults);
    }
    atMost(object["ports"], "ports", MOST_PORTS, faults);
    const names = new Set<unknown>();
    for (const [i, { name, port, protocol }] of mappings(object["ports"]).entries()) {
      if (text(name) !== "") faults.form(`ports[${i}].name`, name, labelFault);
      if (names.has(name)) faults.duplicate(`ports[${i}].name`, name);
      names.add(name);
      if (port !== undefined) faults.range(`ports[${i}].port`, port, 1, 65535);
      faults.oneOf(`ports[${i}].protocol`, protocol, ["SCTP", "TCP", "UDP"]);
    }
  },
});

function validateEndpoint(endpoint: Mapping, path: string, family: string, faults: Faults): void {
  const { addresses, nodeName, hostname } = endpoint;
  if (items(addresses).length === 0) faults.required(`${path}.addresses`, "must contain at least 1 address");
  atMost(addresses, `${path}.addresses`, MOST_ADDRESSES, faults);
  for (const [j, given] of items(addresses).slice(0, MOST_ADDRESSES).entries()) {
    const address = text(given);
    const field = `${path}.addresses[${j}]`;
    if (!(FAMILIES[family]?.(address) ?? true)) {
      faults.invalid(field, given, `must be a valid ${family} address`);
    } else if (MAYBE_UNUSABLE.test(address) && isIp(address)) {
      const why = UNUSABLE.find(([prefix]) => contains(prefix, hostPrefix(address)))?.[1];
      if (why !== undefined) faults.invalid(field, given, `may not be ${why}`);
    }
  }
  if (nodeName !== undefined) faults.form(`${path}.nodeName`, nodeName, subdomainFault);
  if (hostname !== undefined) faults.form(`${path}.hostname`, hostname, labelFault);
  for (const list of ["forZones", "forNodes"]) {
    const hints = at(endpoint, "hints", list);
    atMost(hints, `${path}.hints.${list}`, 8, faults);
    const names = new Set<unknown>();
    for (const [k, { name }] of mappings(hints).entries()) {
      if (names.has(name)) faults.duplicate(`${path}.hints.${list}[${k}].name`, name);
      names.add(name);
    }
  }
}

function atMost(list: unknown, field: string, most: number, faults: Faults): void {
  const value = items(list).length;
  const detail = `must have at most ${most} items`;
  if (value > most) faults.list.push({ type: "FieldValueTooMany", field, value, detail });
}

/** kubectl's short form of a list. */
function some(values: readonly unknown[], none: string): string {
  if (values.length === 0) return none;
  return values.length > 3
    ? `${values.slice(0, 3).join(",")} + ${values.length - 3} more...`
    : values.join(",");
}
