/** IPv6 on links of ours. */
import type { Link, NetworkNamespace } from "@weft/kernel/port";

/** Smallest MTU that IPv6 works with (RFC 8200 section 5): the kernel takes IPv6 off a link that has less. */
export const IPV6_LEAST_MTU = 1280;

/** A machine whose default is "no IPv6" has it off on every new link, also on those that carry pods' IPv6. */
export function enableIpv6(ns: NetworkNamespace, link: string): void {
  const key = `net/ipv6/conf/${link}/disable_ipv6`;
  if (ns.sysctl(key) === "1") ns.setSysctl(key, "0");
}

/** Leaves the link-local address to us. A link without IPv6 has no mode to set. */
export function stopAddressGeneration(ns: NetworkNamespace, link: Link): void {
  if (link.addressGeneration !== undefined && link.addressGeneration !== "none")
    ns.changeLink(link.name, { addressGeneration: "none" });
}
