/** Routes, with the kernel's checks of gateways, sources and links. */
import { contains, familyOf, type IpAddress, prefixLength, WeftError } from "@weft/base";
import {
  ROUTE_PROTOCOL,
  type Route,
  type RouteFilter,
  type RouteSpec,
  type RouteType,
  type Rule,
} from "../port.ts";
import { hasAddress, IPV6_MIN_MTU, ipv6Enabled, removeRoutes } from "./address.ts";
import { fail, type LinkState, type NamespaceState, type RouteState } from "./state.ts";

const TABLE_MAIN = 254;
const DEFAULT_METRIC_6 = 1024;
const LINKLESS: readonly RouteType[] = ["blackhole", "unreachable", "prohibit"];

export function listRoutes(namespace: NamespaceState, filter: RouteFilter): Route[] {
  if (filter.link !== undefined) namespace.link(filter.link, "RTM_GETROUTE");
  return namespace.routes
    .map((route) => ({ ...route, link: route.link?.name }))
    .filter(
      (r) =>
        (filter.family === undefined || familyOf(r.destination) === filter.family) &&
        (filter.protocol === undefined || r.protocol === filter.protocol) &&
        (filter.table === undefined || r.table === filter.table) &&
        (filter.link === undefined || r.link === filter.link),
    );
}

export function replaceRoute(namespace: NamespaceState, spec: RouteSpec): void {
  const type = spec.type ?? "unicast";
  if (type === "other") {
    throw new WeftError("invalid", `route ${spec.destination}: the type "other" cannot be made`);
  }
  const six = familyOf(spec.destination) === 6;
  const linkless = LINKLESS.includes(type);
  if (linkless && !six && spec.gateway !== undefined) {
    throw refuse(spec, "EINVAL", "Gateway, device and multipath can not be specified for this route type");
  }
  if (linkless && six && spec.onlink === true) {
    throw refuse(spec, "ENODEV", "Nexthop device required for onlink");
  }
  const loopback = namespace.links.get("lo");
  if (linkless && six && loopback !== undefined && !ipv6Enabled(loopback)) {
    throw refuse(spec, "EACCES", "IPv6 is disabled on nexthop device");
  }
  const link = linkless ? undefined : outLink(namespace, spec);
  if (spec.source !== undefined && !hasAddress(namespace, spec.source)) {
    throw refuse(spec, "EINVAL", six ? "Invalid source address" : "Invalid prefsrc address");
  }
  const route: RouteState = {
    destination: spec.destination,
    type,
    table: spec.table ?? TABLE_MAIN,
    protocol: spec.protocol ?? ROUTE_PROTOCOL,
    scope: six ? "global" : (spec.scope ?? defaultScope(spec, type)),
    link,
    gateway: linkless ? undefined : spec.gateway,
    onlink: spec.onlink === true,
    source: spec.source,
    metric: metricOf(spec),
    mtu: spec.mtu,
  };
  const at = namespace.routes.findIndex(
    (r) => r.destination === route.destination && r.table === route.table && r.metric === route.metric,
  );
  if (at < 0) namespace.routes.push(route);
  else namespace.routes[at] = route;
  namespace.emit("route", "set", link);
}

export function deleteRoute(namespace: NamespaceState, spec: RouteSpec): void {
  const linkless = LINKLESS.includes(spec.type ?? "unicast");
  const route = namespace.routes.find(
    (r) =>
      r.destination === spec.destination &&
      r.table === (spec.table ?? TABLE_MAIN) &&
      r.metric === metricOf(spec) &&
      (spec.type === undefined || r.type === spec.type) &&
      (spec.protocol === undefined || r.protocol === spec.protocol) &&
      (spec.link === undefined || linkless || r.link?.name === spec.link) &&
      (spec.gateway === undefined || r.gateway === spec.gateway),
  );
  if (route !== undefined) removeRoutes(namespace, [route], true);
}

const metricOf = (spec: RouteSpec): number =>
  familyOf(spec.destination) === 6 ? spec.metric || DEFAULT_METRIC_6 : (spec.metric ?? 0);

function defaultScope(spec: RouteSpec, type: RouteType): Route["scope"] {
  if (type === "local") return "host";
  if (type === "broadcast" || type === "multicast" || type === "anycast") return "link";
  return type === "unicast" && spec.gateway === undefined ? "link" : "global";
}

const refuse = (spec: RouteSpec, errno: Parameters<typeof fail>[0], why: string): Error =>
  fail(errno, "RTM_NEWROUTE", `route ${spec.destination}`, why);

/** The link that the route leaves by: the one given, or the one that its gateway is on. */
function outLink(namespace: NamespaceState, spec: RouteSpec): LinkState {
  const six = familyOf(spec.destination) === 6;
  const named = spec.link === undefined ? undefined : namespace.link(spec.link, "RTM_NEWROUTE");
  if (!six && spec.onlink === true && spec.gateway === undefined) {
    throw refuse(spec, "EINVAL", "Nexthop has invalid flags");
  }
  if (named !== undefined) checkUsable(named, spec);
  if (spec.onlink === true && named === undefined && (six || spec.gateway !== undefined)) {
    throw refuse(spec, "ENODEV", "Nexthop device required for onlink");
  }
  if (spec.gateway === undefined) {
    if (named === undefined) throw refuse(spec, "ENODEV", "Egress device not specified");
    return named;
  }
  if (hasAddress(namespace, spec.gateway)) {
    throw refuse(spec, "EINVAL", "Gateway can not be a local address");
  }
  if (spec.onlink === true && named !== undefined) {
    // Without that table, the kernel takes every address for a broadcast address.
    if (familyOf(spec.gateway) === 4 && !namespace.hasLocalTable) {
      throw refuse(spec, "EINVAL", "Nexthop has invalid gateway");
    }
    return named;
  }
  const via6 = familyOf(spec.gateway) === 6;
  if (via6 && contains("fe80::/10", spec.gateway)) {
    if (named === undefined) throw refuse(spec, "EINVAL", "Dev required for link-local gateway");
    return named;
  }
  const way = lookup(namespace, spec.gateway, named);
  if (way?.link === undefined || way.gateway !== undefined || way.type !== "unicast") {
    throw refuse(spec, via6 ? "EHOSTUNREACH" : "ENETUNREACH", "Nexthop has invalid gateway");
  }
  return way.link;
}

function checkUsable(link: LinkState, spec: RouteSpec): void {
  if (familyOf(spec.destination) === 6 && !ipv6Enabled(link)) {
    throw refuse(spec, link.mtu < IPV6_MIN_MTU ? "ENODEV" : "EACCES", "IPv6 is disabled on nexthop device");
  }
  if (!link.up) throw refuse(spec, "ENETDOWN", "Device for nexthop is not up");
}

/** The best route of the main table to an address, by that link if one is given. */
function lookup(
  namespace: NamespaceState,
  ip: IpAddress,
  link: LinkState | undefined,
): RouteState | undefined {
  let best: RouteState | undefined;
  for (const route of namespace.routes) {
    if (route.table !== TABLE_MAIN || !contains(route.destination, ip)) continue;
    if (link !== undefined && route.link !== link) continue;
    const longer = best === undefined ? 1 : prefixLength(route.destination) - prefixLength(best.destination);
    if (best === undefined || longer > 0 || (longer === 0 && route.metric < best.metric)) best = route;
  }
  return best;
}

/** IPv4 first, each family in the order that the kernel looks at them. */
export const listRules = (namespace: NamespaceState): Rule[] =>
  [...namespace.rules].sort((a, b) => familyOf(a.from) - familyOf(b.from) || a.priority - b.priority);

const sameRule = (a: Rule, b: Rule): boolean =>
  a.from === b.from && a.table === b.table && a.priority === b.priority;

export function replaceRule(namespace: NamespaceState, rule: Rule): void {
  if (!namespace.rules.some((r) => sameRule(r, rule))) namespace.rules.push({ ...rule });
}

export function deleteRule(namespace: NamespaceState, rule: Rule): void {
  namespace.rules = namespace.rules.filter((r) => !sameRule(r, rule) || r.protocol !== rule.protocol);
}
