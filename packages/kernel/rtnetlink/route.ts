/**
 * Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE (include/uapi/linux/rtnetlink.h). The kernel tells routes of one
 * table apart by destination and metric, and replaces by that; deleting with metric 0 means any metric to it, so
 * the metric is made exact here.
 */
import { familyOf, type IpAddress, ipBytes, makePrefix, prefixIp, prefixLength, WeftError } from "@weft/base";
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM } from "../netlink/index.ts";
import { ROUTE_PROTOCOL, type Route, type RouteFilter, type RouteSpec, type RouteType } from "../port.ts";
import { hasErrno } from "../sys/errno.ts";
import { AF } from "../sys/socket.ts";
import { RT_SCOPE, RT_TABLE_COMPAT, RT_TABLE_MAIN, RTA, RTAX_MTU, RTM, RTNH_F_ONLINK } from "./constants.ts";
import {
  decodeIp,
  decodeLength,
  familyNumber,
  headerView,
  routeHeader,
  scopeName,
  scopeNumber,
} from "./headers.ts";
import type { RtnetlinkSocket } from "./socket.ts";

/** By rtm_type. */
const TYPES: readonly (RouteType | undefined)[] = [
  undefined,
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
];
/** The kernel hangs these on the loopback for IPv6 and on nothing for IPv4. */
const LINKLESS: readonly RouteType[] = ["blackhole", "unreachable", "prohibit"];
const LOOPBACK_INDEX = 1;
/** What the kernel makes of metric 0 for IPv6 (IP6_RT_PRIO_USER). */
const DEFAULT_METRIC_6 = 1024;

const describe = (route: RouteSpec): string => `route ${route.destination}`;
const tableByte = (table: number): number => (table > 255 ? RT_TABLE_COMPAT : table);

export function listRoutes(socket: RtnetlinkSocket, filter: RouteFilter): Route[] {
  const link = filter.link === undefined ? undefined : socket.indexOf(filter.link);
  const families = filter.family === undefined ? ([4, 6] as const) : [filter.family];
  const nameOf = socket.names();
  return families.flatMap((family) => {
    const wanted = familyNumber(family);
    const message = new NetlinkWriter()
      .begin(RTM.getRoute, 0)
      .raw(routeHeader({ family: wanted, protocol: filter.protocol ?? 0 }));
    if (filter.table !== undefined) message.u32(RTA.table, filter.table);
    if (link !== undefined) message.u32(RTA.outLink, link);
    return dumpRoutes(socket, message)
      .filter((m) => m.type === RTM.newRoute && m.payload[0] === wanted)
      .map((m) => decodeRoute(m, nameOf))
      .filter((route) => filter.link === undefined || route.link === filter.link);
  });
}

function dumpRoutes(socket: RtnetlinkSocket, message: NetlinkWriter): NetlinkMessage[] {
  try {
    return socket.dump(message, "RTM_GETROUTE", "routes");
  } catch (error) {
    // A table comes into being with its first route.
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  }
}

/** Decodes RTM_NEWROUTE. Of a route with several next hops it gives the first. Throws "invalid". */
export function decodeRoute(message: NetlinkMessage, nameOf: (index: number) => string | undefined): Route {
  const header = headerView(message.payload, 12, "a route");
  const family = header.getUint8(0);
  if (family !== AF.inet && family !== AF.inet6) {
    throw new WeftError("invalid", `malformed netlink message: a route of family ${family}`);
  }
  const attributes = new Attributes(message.payload, 12);
  const hop = firstHop(attributes, header.getUint32(8, true));
  const type = TYPES[header.getUint8(7)] ?? "other";
  const destination = attributes.bytes(RTA.destination) ?? new Uint8Array(family === AF.inet ? 4 : 16);
  const via = hop.attributes.bytes(RTA.via);
  const gateway = hop.attributes.bytes(RTA.gateway);
  const source = attributes.bytes(RTA.preferredSource);
  return {
    destination: makePrefix(decodeIp(destination, family), decodeLength(header.getUint8(1), family)),
    type,
    table: attributes.u32(RTA.table) ?? header.getUint8(4),
    protocol: header.getUint8(5),
    scope: scopeName(header.getUint8(6)),
    link: hop.link === undefined || LINKLESS.includes(type) ? undefined : nameOf(hop.link),
    gateway: gateway === undefined ? decodeVia(via) : decodeIp(gateway, family),
    onlink: (hop.flags & RTNH_F_ONLINK) !== 0,
    source: source === undefined ? undefined : decodeIp(source, family),
    metric: attributes.u32(RTA.priority) ?? 0,
    mtu: attributes.nested(RTA.metrics)?.u32(RTAX_MTU),
  };
}

/** struct rtvia: family u16, address. An IPv4 route by an IPv6 neighbour (RFC 8950) has one. */
function decodeVia(via: Uint8Array | undefined): IpAddress | undefined {
  if (via === undefined) return undefined;
  return decodeIp(via.subarray(2), headerView(via, 2, "a gateway").getUint16(0, true));
}

/** struct rtnexthop: length u16, flags u8, hops u8, link i32, then attributes. */
function firstHop(
  attributes: Attributes,
  flags: number,
): { readonly link: number | undefined; readonly flags: number; readonly attributes: Attributes } {
  const hops = attributes.bytes(RTA.multipath);
  if (hops === undefined) return { link: attributes.u32(RTA.outLink), flags, attributes };
  const view = headerView(hops, 8, "a next hop");
  const length = view.getUint16(0, true);
  if (length < 8 || length > hops.length) {
    throw new WeftError("invalid", `malformed netlink message: a next hop has length ${length}`);
  }
  return {
    link: view.getInt32(4, true),
    flags: view.getUint8(2),
    attributes: new Attributes(hops.subarray(0, length), 8),
  };
}

/** Default protocol: ours. Default scope: link without a gateway, as ip-route(8) does; IPv6 has none. */
export function replaceRoute(socket: RtnetlinkSocket, route: RouteSpec): void {
  const type = route.type ?? "unicast";
  const linkless = LINKLESS.includes(type);
  const scope = route.scope ?? defaultScope(route, type);
  const message = encode(RTM.newRoute, NLM.create | NLM.replace, route, {
    protocol: route.protocol ?? ROUTE_PROTOCOL,
    scope: familyOf(route.destination) === 6 ? RT_SCOPE.global : scopeNumber(scope),
    type,
    metric: route.metric,
    link: linkless || route.link === undefined ? undefined : socket.indexOf(route.link),
  });
  if (route.source !== undefined) message.bytes(RTA.preferredSource, ipBytes(route.source));
  const { mtu } = route;
  if (mtu !== undefined) message.nest(RTA.metrics, (metrics) => metrics.u32(RTAX_MTU, mtu));
  socket.request(message, "RTM_NEWROUTE", describe(route));
}

function defaultScope(route: RouteSpec, type: RouteType): "global" | "link" | "host" {
  if (type === "local") return "host";
  if (type === "broadcast" || type === "multicast" || type === "anycast") return "link";
  return type === "unicast" && route.gateway === undefined ? "link" : "global";
}

/** Deletes the route of that destination, table and metric if it has the type, protocol, link and gateway given. */
export function deleteRoute(socket: RtnetlinkSocket, route: RouteSpec): void {
  const four = familyOf(route.destination) === 4;
  let link: number | undefined;
  if (LINKLESS.includes(route.type ?? "unicast")) {
    // IPv6 does not look at the type: the link is what tells these apart from others.
    if (!four) link = LOOPBACK_INDEX;
  } else if (route.link !== undefined) {
    link = socket.findIndex(route.link);
    if (link === undefined) return;
  }
  const metric = route.metric ?? 0;
  if (four && metric === 0 && !hasMetricZero(socket, route)) return;
  const message = encode(RTM.delRoute, 0, route, {
    protocol: route.protocol ?? 0,
    scope: RT_SCOPE.nowhere,
    type: route.type,
    metric: four ? metric : metric || DEFAULT_METRIC_6,
    link,
  });
  try {
    socket.request(message, "RTM_DELROUTE", describe(route));
  } catch (error) {
    if (!hasErrno(error, "ESRCH") && !hasErrno(error, "ENODEV")) throw error;
  }
}

/**
 * Metric 0 is any metric to the kernel's delete: without this look, deleting an absent route takes the next one.
 * To add exclusively but not create fails either way, and changes nothing: EEXIST is a route of just that
 * destination, table and metric, ENOENT is none.
 */
function hasMetricZero(socket: RtnetlinkSocket, route: RouteSpec): boolean {
  const { destination, table } = route;
  const probe = { destination, ...(table === undefined ? {} : { table }) };
  const message = encode(RTM.newRoute, NLM.excl, probe, {
    protocol: ROUTE_PROTOCOL,
    scope: RT_SCOPE.global,
    type: "blackhole",
    metric: 0,
    link: undefined,
  });
  try {
    socket.request(message, "RTM_NEWROUTE", describe(route));
  } catch (error) {
    if (hasErrno(error, "EEXIST")) return true;
    if (hasErrno(error, "ENOENT")) return false;
    throw error;
  }
  throw new WeftError("internal", `${describe(route)}: the kernel took a route that it was not to create`);
}

interface Encoding {
  readonly protocol: number;
  readonly scope: number;
  readonly type: RouteType | undefined;
  readonly metric: number | undefined;
  readonly link: number | undefined;
}

function encode(type: number, flags: number, route: RouteSpec, e: Encoding): NetlinkWriter {
  const family = familyOf(route.destination);
  const table = route.table ?? RT_TABLE_MAIN;
  const number = e.type === undefined ? 0 : TYPES.indexOf(e.type);
  if (number < 0) throw new WeftError("invalid", `${describe(route)}: the type "${e.type}" cannot be made`);
  const message = new NetlinkWriter().begin(type, flags).raw(
    routeHeader({
      family: familyNumber(family),
      length: prefixLength(route.destination),
      table: tableByte(table),
      protocol: e.protocol,
      scope: e.scope,
      type: number,
      flags: route.onlink === true ? RTNH_F_ONLINK : 0,
    }),
  );
  message.u32(RTA.table, table).bytes(RTA.destination, ipBytes(prefixIp(route.destination)));
  if (e.link !== undefined) message.u32(RTA.outLink, e.link);
  if (e.metric !== undefined) message.u32(RTA.priority, e.metric);
  if (route.gateway !== undefined) {
    const gateway = ipBytes(route.gateway);
    if (familyOf(route.gateway) === family) message.bytes(RTA.gateway, gateway);
    else {
      const via = new Uint8Array(2 + gateway.length);
      via[0] = familyNumber(familyOf(route.gateway));
      via.set(gateway, 2);
      message.bytes(RTA.via, via);
    }
  }
  return message;
}
