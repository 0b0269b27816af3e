/** Routes with our protocol number. Routes of others are never looked at, whatever their destination. */
import { familyOf, hostPrefix, isInvalid, prefixIp, WeftError } from "@weft/base";
import { type NetworkNamespace, ROUTE_PROTOCOL, type Route, type RouteSpec } from "@weft/kernel/port";
import { planKey, type RouteRow } from "@weft/model";
import { differences, type KindContext, type KindOps } from "../kind.ts";

export function routeSpec(row: RouteRow): RouteSpec {
  return {
    destination: row.destination,
    table: row.table,
    type: row.type,
    protocol: ROUTE_PROTOCOL,
    metric: row.metric,
    onlink: row.onlink,
    ...(row.link === undefined ? {} : { link: row.link }),
    ...(row.gateway === undefined ? {} : { gateway: row.gateway }),
    ...(row.source === undefined ? {} : { source: row.source }),
    ...(row.type === "unicast" && row.gateway === undefined && familyOf(row.destination) === 4
      ? { scope: "link" as const }
      : {}),
  };
}

export function routeOps({ kernel }: KindContext<"route">): KindOps<"route", Route> {
  const ns = kernel.self;
  const describe = (row: RouteRow, r: Route): string =>
    differences([
      ["type", r.type, row.type],
      ["link", row.type === "unreachable" ? undefined : r.link, row.link],
      ["gateway", r.gateway, row.gateway],
      ["source", r.source, row.source],
      ["onlink", r.onlink, row.onlink],
      ["mtu", r.mtu, undefined],
    ]).join(", ");
  return {
    update: (row) => replace(ns, row),
    delete: (row) => ns.deleteRoute(routeSpec(row)),
    actual: {
      list(rows) {
        // By link the kernel filters for us; a route without one is found only among all.
        const links = new Set(rows?.map((r) => r.link));
        if (rows === undefined || links.has(undefined)) return ns.routes({ protocol: ROUTE_PROTOCOL });
        return [...links].flatMap((link) => routesOn(ns, link as string));
      },
      keyOf: (r) => (r.protocol === ROUTE_PROTOCOL ? keyOf(r) : undefined),
      matches: (row, r) => describe(row, r) === "",
      delete: (r) => ns.deleteRoute(r),
    },
    describe,
  };
}

/**
 * IPv6 refuses a gateway that an earlier route leads to by another link, even if it is said to be on this one: the
 * old route to a peer's block, which is about to be replaced. With a route to the gateway alone there is no
 * such contradiction, and packets find a way all the time.
 */
function replace(ns: NetworkNamespace, row: RouteRow): void {
  const spec = routeSpec(row);
  try {
    ns.replaceRoute(spec);
  } catch (error) {
    if (isInvalid(error) && lacksSource(ns, row)) throw withoutSource(ns, row, error);
    if (!isInvalid(error) || !row.onlink || row.gateway === undefined || familyOf(row.destination) === 4)
      throw error;
    const { link, protocol, metric } = spec as Required<RouteSpec>;
    const toGateway: RouteSpec = { destination: hostPrefix(row.gateway), link, protocol, metric };
    ns.replaceRoute(toGateway);
    try {
      ns.replaceRoute(spec);
    } finally {
      ns.deleteRoute(toGateway);
    }
  }
}

const keyOf = (r: Route): string => `${r.destination} table ${r.table} metric ${r.metric}`;

const lacksSource = (ns: NetworkNamespace, row: RouteRow): boolean =>
  row.source !== undefined && !ns.addresses().some((a) => prefixIp(a.address) === row.source);

/**
 * The kernel takes no source address that is on no link, and drops IPv4 routes when theirs goes: but a pod should
 * not lose its route because the node has lost its address. It gets one without, and the row stays in error.
 */
function withoutSource(ns: NetworkNamespace, row: RouteRow, cause: unknown): WeftError {
  const { source, ...spec } = routeSpec(row);
  const stands = ns
    .routes({ protocol: ROUTE_PROTOCOL })
    .some((r) => keyOf(r) === planKey(row) && r.source === undefined && r.link === row.link);
  // Written again with each retry, it would cause events that cause the next one.
  if (!stands) ns.replaceRoute(spec);
  return new WeftError("unavailable", `its source address ${source} is on none of the node's links`, {
    hint: "Give the node its address back; until then the node itself may not reach this destination.",
    cause,
  });
}

function routesOn(ns: NetworkNamespace, link: string): Route[] {
  return ns.link(link) === undefined ? [] : ns.routes({ protocol: ROUTE_PROTOCOL, link });
}
