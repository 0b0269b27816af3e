/**
 * The container's end of a pair. Only what is ours is set: the interface, its addresses, the gateway's route
 * and neighbour entry, the default route, and for IPv6 the two sysctls without which it would not work.
 *
 * Addresses need no duplicate address detection: the node gave them out once, and a container that starts must
 * not wait for a second. The link-local address is set by us for the same reason, as the kernel would make it.
 */
import {
  bitsOf,
  contains,
  familyOf,
  hostPrefix,
  type IpWithLength,
  linkLocalOf,
  parsePrefix,
  withLength,
} from "@weft/base";
import type { Link, NetworkNamespace, RouteSpec } from "@weft/kernel/port";
import type { AttachmentRow } from "@weft/model";
import { stopAddressGeneration } from "../ipv6.ts";
import { differences } from "../kind.ts";
import { gatewaysOf } from "./gateway.ts";
import { notUsableYet, untilUsable } from "./usable.ts";

const DEFAULT4 = parsePrefix("0.0.0.0/0");
const DEFAULT6 = parsePrefix("::/0");
const TABLE_MAIN = 254;

/** IPv6 settings of the interface, by the last part of their key. */
const IPV6_SYSCTLS: readonly (readonly [string, string])[] = [
  ["disable_ipv6", "0"],
  ["accept_ra", "0"],
];

const hasV6 = (row: AttachmentRow): boolean => row.addresses.some((a) => familyOf(a) === 6);
const sysctlKey = (row: AttachmentRow, name: string): string => `net/ipv6/conf/${row.interface}/${name}`;
const addressesOf = (row: AttachmentRow): IpWithLength[] => [
  ...row.addresses.map((ip) => withLength(ip, bitsOf(familyOf(ip)))),
  ...(hasV6(row) ? [withLength(linkLocalOf(row.mac), 64)] : []),
];
const isLinkLocal = (address: IpWithLength): boolean => contains("fe80::/10", address);
const routeKey = (route: RouteSpec): string => `${route.destination} ${route.gateway}`;

/** To the gateway itself, which no prefix covers, and through it to everything else. */
function routesOf(row: AttachmentRow): RouteSpec[] {
  return gatewaysOf(row.addresses).flatMap((gateway): RouteSpec[] =>
    familyOf(gateway) === 4
      ? [
          { destination: hostPrefix(gateway), link: row.interface, scope: "link" },
          { destination: DEFAULT4, link: row.interface, gateway },
        ]
      : [{ destination: DEFAULT6, link: row.interface, gateway, metric: 1024 }],
  );
}

/** Routes that an earlier interface of the container has: that one keeps them, and a later one stands by. */
function takenByOthers(inside: NetworkNamespace, row: AttachmentRow): (route: RouteSpec) => boolean {
  const others = inside
    .routes({ table: TABLE_MAIN })
    .filter((r) => r.link !== undefined && r.link !== row.interface);
  return (route) =>
    others.some((r) => r.destination === route.destination && r.metric === (route.metric ?? 0));
}

export const podSide = {
  /** A promise when the kernel needs a moment until packets reach the addresses. */
  establish(inside: NetworkNamespace, row: AttachmentRow): Promise<void> | undefined {
    const name = row.interface;
    const link = inside.link(name);
    if (link === undefined) return undefined;
    if (link.mac !== row.mac) inside.changeLink(name, { mac: row.mac });
    // First the MTU: with one below 1280 there would be no IPv6 settings to write.
    if (link.mtu !== row.mtu) inside.changeLink(name, { mtu: row.mtu });
    if (hasV6(row)) {
      for (const [key, value] of IPV6_SYSCTLS) {
        if (inside.sysctl(sysctlKey(row, key)) !== value) inside.setSysctl(sysctlKey(row, key), value);
      }
      stopAddressGeneration(inside, inside.link(name) ?? link);
    }
    if (!link.up) inside.changeLink(name, { up: true });
    // An address that the kernel is still checking for duplicates stays so until it is made anew.
    for (const { address, tentative } of link.up ? inside.addresses(name) : [])
      if (tentative && addressesOf(row).includes(address)) inside.deleteAddress(name, address);
    for (const address of addressesOf(row)) {
      inside.replaceAddress(
        isLinkLocal(address) ? { link: name, address, scope: "link" } : { link: name, address },
      );
    }
    for (const gateway of gatewaysOf(row.addresses)) inside.replaceNeighbour(name, gateway, row.hostMac);
    const isTaken = takenByOthers(inside, row);
    for (const route of routesOf(row)) if (!isTaken(route)) inside.replaceRoute(route);
    return untilUsable(inside, name, addressesOf(row));
  },

  /** Takes away what an earlier row had and this one has not. What others put there stays. */
  retire(inside: NetworkNamespace, earlier: AttachmentRow, row: AttachmentRow): void {
    const name = row.interface;
    const routes = routesOf(row).map(routeKey);
    for (const route of routesOf(earlier)) if (!routes.includes(routeKey(route))) inside.deleteRoute(route);
    const gateways = gatewaysOf(row.addresses);
    for (const gateway of gatewaysOf(earlier.addresses))
      if (!gateways.includes(gateway)) inside.deleteNeighbour(name, gateway);
    const addresses = addressesOf(row);
    for (const address of addressesOf(earlier))
      if (!addresses.includes(address)) inside.deleteAddress(name, address);
  },

  compare(inside: NetworkNamespace, link: Link, row: AttachmentRow): string[] {
    const where = `${row.interface} in the container`;
    const found = differences([
      [`${where}: mac`, link.mac, row.mac],
      [`${where}: mtu`, link.mtu, row.mtu],
      [`${where}: up`, link.up, true],
    ]);
    const addresses = inside.addresses(row.interface);
    for (const wanted of addressesOf(row)) {
      if (!addresses.some((a) => a.address === wanted && !a.tentative))
        found.push(`${where}: ${wanted} is absent`);
    }
    const held = addressesOf(row).filter((wanted) => addresses.some((a) => a.address === wanted));
    for (const address of notUsableYet(inside, row.interface, held))
      found.push(`${where}: ${address} is not usable yet`);
    const neighbours = inside.neighbours(row.interface);
    for (const gateway of gatewaysOf(row.addresses)) {
      const ok = neighbours.some((n) => n.ip === gateway && n.mac === row.hostMac && n.state === "permanent");
      if (!ok) found.push(`${where}: the gateway's neighbour entry is absent`);
    }
    const routes = inside.routes({ link: row.interface });
    for (const wanted of routesOf(row)) {
      const ok = routes.some((r) => r.destination === wanted.destination && r.gateway === wanted.gateway);
      if (!ok && !takenByOthers(inside, row)(wanted))
        found.push(`${where}: route ${wanted.destination} is absent`);
    }
    if (hasV6(row)) {
      for (const [key, value] of IPV6_SYSCTLS) {
        const is = inside.sysctl(sysctlKey(row, key));
        if (is !== value) found.push(`${where}: ${key} is ${is ?? "absent"}, not ${value}`);
      }
    }
    return found;
  },
};
