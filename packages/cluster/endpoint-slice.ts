/**
 * EndpointSlice (discovery.k8s.io/v1) into an EndpointSlice row. A cluster has more endpoints than anything else, so
 * each is looked at once and without a Field of its own unless something is wrong with it; what is wrong is left out
 * and named, and the others are used.
 *
 * Of an endpoint's addresses the first counts (the API gives no meaning to others). Absent conditions mean ready and
 * serving.
 */
import { familyOf, hostPrefix, type IpAddress, isIp, parseIp } from "@weft/base";
import type { Endpoint, EndpointPort, EndpointSlice, EndpointState } from "@weft/model";
import { isMaybeSpecial, refuseSpecial, unicastOf } from "./addresses.ts";
import { type Fault, type Field, faultText, isMapping } from "./field.ts";
import { HEADLESS_LABEL, PROXY_NAME_LABEL, readMetadata } from "./metadata.ts";
import { readProtocol, requiredPort } from "./service.ts";
import { hasEffect, type Notes, noteOthers } from "./unhonoured.ts";

const SERVICE_LABEL = "kubernetes.io/service-name";
/** Faults that are named of one slice; it may have a thousand endpoints. */
const MOST_FAULTS = 20;

/** Undefined when it is not for a proxy: names instead of addresses, no service, a headless or another proxy's one. */
export function readEndpointSlice(object: Field, notes: Notes): EndpointSlice | undefined {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"], [], notes);
  const { labels } = metadata;
  if (labels[PROXY_NAME_LABEL] !== undefined || labels[HEADLESS_LABEL] !== undefined) return undefined;
  const faults: Fault[] = [];
  const root = object.reportingTo(faults);
  const service = labels[SERVICE_LABEL];
  if (service === undefined || service === "") {
    root.at("metadata").at("labels").at(SERVICE_LABEL).required("the service whose endpoints these are");
  }
  const type = root.at("addressType").requiredString();
  if (type !== undefined && !["IPv4", "IPv6", "FQDN"].includes(type)) {
    root.at("addressType").invalid('must be "IPv4" or "IPv6"');
  }
  const family = type === "IPv4" ? 4 : type === "IPv6" ? 6 : undefined;
  if (service === undefined || service === "" || family === undefined) {
    notes.ignored.push(...faults);
    return undefined;
  }
  const ports = root.at("ports").items().flatMap(readPort);
  const shared = new Map<string, readonly string[]>();
  const list = root.at("endpoints");
  if (!Array.isArray(list.value)) list.items();
  const endpoints = (Array.isArray(list.value) ? list.value : []).flatMap((value: unknown, i) => {
    const field = (): Field => list.child(i, faults.length < MOST_FAULTS ? faults : []);
    return readEndpoint(value, family, field, shared);
  });
  notes.ignored.push(...faults);
  return {
    namespace: metadata.namespace,
    name: metadata.name ?? "",
    service,
    family,
    ports,
    endpoints,
    ...(faults.length === 0 ? {} : { faults: faults.map(faultText) }),
  };
}

/** A port without a number means all ports, which no proxy can serve. */
function readPort(item: Field): EndpointPort[] {
  const name = item.at("name").optionalString() ?? "";
  const protocol = readProtocol(item.at("protocol"));
  const port = requiredPort(item.at("port"));
  return protocol === undefined || port === undefined ? [] : [{ name, protocol, port }];
}

function readEndpoint(
  value: unknown,
  family: 4 | 6,
  field: () => Field,
  shared: Map<string, readonly string[]>,
): Endpoint[] {
  if (!isMapping(value)) {
    field().invalid("must be a mapping");
    return [];
  }
  const ip = readAddress(value["addresses"], family, field);
  const state = readState(value["conditions"], field);
  const { nodeName, hints } = value;
  if (nodeName !== undefined && nodeName !== null && typeof nodeName !== "string") {
    field().at("nodeName").string();
    return [];
  }
  if (ip === undefined || state === undefined) return [];
  const forZones = readHints(hints, "forZones", field, shared);
  const forNodes = readHints(hints, "forNodes", field, shared);
  return [
    {
      ip,
      state,
      ...(hasEffect(nodeName) ? { node: nodeName as string } : {}),
      ...(forZones === undefined ? {} : { forZones }),
      ...(forNodes === undefined ? {} : { forNodes }),
    },
  ];
}

function readAddress(list: unknown, family: 4 | 6, field: () => Field): IpAddress | undefined {
  const text: unknown = Array.isArray(list) ? list[0] : undefined;
  const place = (): Field =>
    Array.isArray(list) ? field().at("addresses").child(0) : field().at("addresses");
  if (typeof text !== "string" || !isIp(text)) {
    if (Array.isArray(list) && list.length > 0) unicastOf(place());
    else field().at("addresses").required();
    return undefined;
  }
  const ip = parseIp(text);
  if (familyOf(ip) !== family) {
    place().invalid(`is no IPv${family} address, and addressType is IPv${family}`);
    return undefined;
  }
  return isMaybeSpecial(hostPrefix(ip)) && refuseSpecial(place(), hostPrefix(ip)) ? undefined : ip;
}

/** "ready", whatever else is true of it, when it is ready: publishNotReadyAddresses makes ending pods so, too. */
function readState(conditions: unknown, field: () => Field): EndpointState | undefined {
  if (conditions === undefined || conditions === null) return "ready";
  if (!isMapping(conditions)) {
    field().at("conditions").invalid("must be a mapping");
    return undefined;
  }
  const { ready, serving, terminating } = conditions;
  for (const [name, value] of Object.entries({ ready, serving, terminating })) {
    if (value === undefined || value === null || typeof value === "boolean") continue;
    field().at("conditions").at(name).boolean();
    return undefined;
  }
  if (ready !== false) return "ready";
  return serving !== false && terminating === true ? "terminating" : "unready";
}

/** Endpoints of a slice mostly have the same hints, and then the same array of them. */
function readHints(
  hints: unknown,
  name: "forZones" | "forNodes",
  field: () => Field,
  shared: Map<string, readonly string[]>,
): readonly string[] | undefined {
  const list = isMapping(hints) ? hints[name] : undefined;
  if (list === undefined || list === null) return undefined;
  if (!Array.isArray(list)) {
    field().at("hints").at(name).items();
    return undefined;
  }
  const names = list.flatMap((item: unknown, i) => {
    if (isMapping(item) && typeof item["name"] === "string" && item["name"] !== "") return [item["name"]];
    field().at("hints").at(name).child(i).at("name").requiredString();
    return [];
  });
  if (names.length === 0) return undefined;
  const key = names.join("\n");
  const known = shared.get(key);
  if (known === undefined) shared.set(key, names);
  return known ?? names;
}
