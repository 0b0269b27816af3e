/** Addresses, and the routes of their on-link prefixes. */
import {
  contains,
  familyOf,
  type IpAddress,
  linkLocalOf,
  networkOf,
  prefixIp,
  prefixLength,
  withLength,
} from "@weft/base";
import type { Address, AddressSpec, Scope } from "../port.ts";
import type { AddressState, LinkState, NamespaceState, RouteState } from "./state.ts";
import { fail } from "./state.ts";
import { linkSysctl } from "./sysctl.ts";

/** Smallest MTU that IPv6 works with (RFC 8200 section 5). */
export const IPV6_MIN_MTU = 1280;
const PROTOCOL_KERNEL = 2;
const TABLE_MAIN = 254;
/** Metric of the routes that the kernel makes for IPv6 prefixes. */
const PREFIX_METRIC_6 = 256;

export const ipv6Enabled = (link: LinkState): boolean =>
  link.mtu >= IPV6_MIN_MTU && linkSysctl(link, "ipv6/conf/disable_ipv6") === "0";

export function listAddresses(namespace: NamespaceState, link?: string): Address[] {
  const only = link === undefined ? undefined : namespace.link(link, "RTM_GETADDR");
  return namespace.addresses
    .filter((a) => only === undefined || a.link === only)
    .map(({ link, address, scope }) => ({
      link: link.name,
      address,
      scope,
      tentative: false,
      permanent: true,
    }));
}

export function replaceAddress(namespace: NamespaceState, spec: AddressSpec): void {
  const link = namespace.link(spec.link, "RTM_NEWADDR");
  const { address } = spec;
  const object = `address ${address} on ${spec.link}`;
  if (familyOf(address) === 6 && !ipv6Enabled(link)) {
    const errno = link.mtu < IPV6_MIN_MTU ? "EINVAL" : "EACCES";
    throw fail(errno, "RTM_NEWADDR", object, "ipv6: IPv6 is disabled on this device");
  }
  const known = namespace.addresses.find(
    (a) =>
      a.link === link &&
      // An IPv6 address is there once, with the length that it came with.
      (familyOf(address) === 6 ? prefixIp(a.address) === prefixIp(address) : a.address === address),
  );
  if (known !== undefined) {
    if (familyOf(address) === 6) changePrefixRoute(known, spec.noPrefixRoute === true);
    namespace.emit("address", "set", link);
    return;
  }
  const scope = familyOf(address) === 6 ? scopeOf6(prefixIp(address)) : (spec.scope ?? "global");
  addAddress({ link, address, scope, noPrefixRoute: spec.noPrefixRoute === true });
}

/** An IPv6 address takes over whether it has a prefix route; an IPv4 address keeps what it came with. */
function changePrefixRoute(state: AddressState, noPrefixRoute: boolean): void {
  const { link } = state;
  const { namespace } = link;
  const after = { ...state, noPrefixRoute };
  namespace.addresses = namespace.addresses.map((a) => (a === state ? after : a));
  if (noPrefixRoute) {
    removeRoutes(
      namespace,
      namespace.routes.filter((r) => isPrefixRoute(r, state)),
      true,
    );
  } else if (link.up) addPrefixRoute(after);
}

/** The scope of an IPv6 address is its own, whatever is asked for. */
function scopeOf6(ip: IpAddress): Scope {
  if (ip === "::1") return "host";
  return contains("fe80::/10", ip) ? "link" : "global";
}

export function addAddress(state: AddressState): void {
  const { namespace } = state.link;
  namespace.addresses.push(state);
  if (familyOf(state.address) === 4) namespace.hasLocalTable = true;
  namespace.emit("address", "set", state.link);
  if (state.link.up) addPrefixRoute(state);
}

export function deleteAddress(namespace: NamespaceState, link: string, address: string): void {
  const state = namespace.addresses.find((a) => a.link.name === link && a.address === address);
  if (state !== undefined) removeAddress(state);
}

/**
 * With the address go the route of its prefix, unless another address has the same, and IPv4 routes that send
 * from it; IPv6 routes only forget it. (As with promote_secondaries=1, which systemd sets.)
 */
export function removeAddress(state: AddressState): void {
  const { link, address } = state;
  const { namespace } = link;
  namespace.addresses = namespace.addresses.filter((a) => a !== state);
  namespace.emit("address", "gone", link);
  const ip = prefixIp(address);
  const stillThere = namespace.addresses.some((a) => prefixIp(a.address) === ip);
  const four = familyOf(address) === 4;
  const doomed = namespace.routes.filter(
    (r) => isPrefixRoute(r, state) || (four && !stillThere && r.source === ip),
  );
  removeRoutes(namespace, doomed, true);
  if (!four && !stillThere) {
    namespace.routes = namespace.routes.map((r) => (r.source === ip ? { ...r, source: undefined } : r));
  }
  if (four && !namespace.addresses.some((a) => a.link === link && familyOf(a.address) === 4)) {
    // A link without any IPv4 address has no more IPv4.
    removeRoutes(
      namespace,
      namespace.routes.filter((r) => r.link === link && familyOf(r.destination) === 4),
      false,
    );
    flushNeighbours(link, 4);
  }
  const heir = namespace.addresses.find(
    (a) => a.link === link && networkOf(a.address) === networkOf(address) && !a.noPrefixRoute,
  );
  if (heir !== undefined && link.up) addPrefixRoute(heir);
}

export function removeRoutes(namespace: NamespaceState, doomed: readonly RouteState[], heard: boolean): void {
  if (doomed.length === 0) return;
  const gone = new Set(doomed);
  namespace.routes = namespace.routes.filter((r) => !gone.has(r));
  if (heard) for (const route of doomed) namespace.emit("route", "gone", route.link);
}

const isPrefixRoute = (route: RouteState, { link, address }: AddressState): boolean =>
  route.link === link &&
  route.protocol === PROTOCOL_KERNEL &&
  route.destination === networkOf(address) &&
  (familyOf(address) === 6 || route.source === prefixIp(address));

/** The route of the on-link prefix, once for all addresses of a link in it. */
function addPrefixRoute(state: AddressState): void {
  const { link, address, noPrefixRoute } = state;
  const four = familyOf(address) === 4;
  // IPv4: a /32 has no prefix to route; the loopback's is in the local table.
  if (noPrefixRoute || (four && (prefixLength(address) === 32 || link.loopback))) return;
  const destination = networkOf(address);
  const { namespace } = link;
  if (namespace.routes.some((r) => r.link === link && r.destination === destination && isKernels(r))) return;
  namespace.routes.push({
    destination,
    type: "unicast",
    table: TABLE_MAIN,
    protocol: PROTOCOL_KERNEL,
    scope: four ? "link" : "global",
    link,
    gateway: undefined,
    onlink: false,
    source: four ? prefixIp(address) : undefined,
    metric: four ? 0 : PREFIX_METRIC_6,
    mtu: undefined,
  });
  namespace.emit("route", "set", link);
}

const isKernels = (route: RouteState): boolean =>
  route.protocol === PROTOCOL_KERNEL && route.gateway === undefined;

/** What the kernel does by itself when a link comes up. */
export function addressesUp(link: LinkState): void {
  const { namespace } = link;
  for (const state of namespace.addresses.filter((a) => a.link === link)) addPrefixRoute(state);
  if (!link.loopback) return;
  for (const address of [withLength("127.0.0.1", 8), withLength("::1", 128)]) {
    const has = namespace.addresses.some((a) => a.link === link && familyOf(a.address) === familyOf(address));
    if (!has && (familyOf(address) === 4 || ipv6Enabled(link))) {
      addAddress({ link, address, scope: "host", noPrefixRoute: true });
    }
  }
}

/** A link with a carrier gets a link-local address, unless that is left to us. */
export function addLinkLocal(link: LinkState): void {
  const { mac, namespace } = link;
  if (mac === undefined || link.addressGeneration !== "eui64" || !ipv6Enabled(link)) return;
  const address = withLength(linkLocalOf(mac), 64);
  if (namespace.addresses.some((a) => a.link === link && a.address === address)) return;
  addAddress({ link, address, scope: "link", noPrefixRoute: false });
}

/** IPv6 routes, addresses and neighbours of a link: gone when it goes down or may no longer have IPv6. */
export function flushIpv6(link: LinkState): void {
  const { namespace } = link;
  removeRoutes(
    namespace,
    namespace.routes.filter(
      // Routes to nowhere hang on the loopback.
      (r) => familyOf(r.destination) === 6 && (r.link === link || (link.loopback && r.link === undefined)),
    ),
    true,
  );
  flushNeighbours(link, 6);
  for (const state of namespace.addresses.filter((a) => a.link === link && familyOf(a.address) === 6)) {
    removeAddress(state);
  }
}

export function flushNeighbours(link: LinkState, family: 4 | 6): void {
  const { namespace } = link;
  const doomed = namespace.neighbours.filter((n) => n.link === link && familyOf(n.ip) === family);
  namespace.neighbours = namespace.neighbours.filter((n) => !doomed.includes(n));
  for (const _ of doomed) namespace.emit("neighbour", "gone", link);
}

export const hasAddress = (namespace: NamespaceState, ip: IpAddress): boolean =>
  namespace.addresses.some((a) => prefixIp(a.address) === ip);
