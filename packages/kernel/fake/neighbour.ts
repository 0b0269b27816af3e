/** Neighbours, and the forwarding tables of VXLAN links. */
import { familyOf, type IpAddress, type Mac, macBytes } from "@weft/base";
import type { ForwardingEntry, Neighbour } from "../port.ts";
import { ipv6Enabled } from "./address.ts";
import { fail, type LinkState, type NamespaceState } from "./state.ts";

export function listNeighbours(namespace: NamespaceState, link?: string): Neighbour[] {
  const only = link === undefined ? undefined : namespace.link(link, "RTM_GETNEIGH");
  return namespace.neighbours
    .filter((n) => only === undefined || n.link === only)
    .map(({ link, ip, mac }) => ({ link: link.name, ip, mac, state: "permanent" }));
}

export function replaceNeighbour(namespace: NamespaceState, name: string, ip: IpAddress, mac: Mac): void {
  const link = namespace.link(name, "RTM_NEWNEIGH");
  if (familyOf(ip) === 6 && !ipv6Enabled(link)) {
    throw fail("EINVAL", "RTM_NEWNEIGH", `neighbour ${ip} on ${name}`, "IPv6 is disabled on this device");
  }
  namespace.neighbours = namespace.neighbours.filter((n) => n.link !== link || n.ip !== ip);
  namespace.neighbours.push({ link, ip, mac });
  namespace.emit("neighbour", "set", link);
}

export function deleteNeighbour(namespace: NamespaceState, name: string, ip: IpAddress): void {
  const found = namespace.neighbours.find((n) => n.link.name === name && n.ip === ip);
  if (found === undefined) return;
  namespace.neighbours = namespace.neighbours.filter((n) => n !== found);
  namespace.emit("neighbour", "gone", found.link);
}

export function listForwarding(namespace: NamespaceState, name: string): ForwardingEntry[] {
  const link = namespace.link(name, "RTM_GETNEIGH");
  return link.forwarding.map(({ mac, remote }) => ({ link: link.name, mac, remote, permanent: true }));
}

/** An Ethernet address has one remote end; the all-zero and the group addresses are flooded to each of theirs. */
export function replaceForwarding(
  namespace: NamespaceState,
  name: string,
  mac: Mac,
  remote: IpAddress,
): void {
  const link = vxlan(namespace, name, mac);
  if (link.vxlan !== undefined && familyOf(link.vxlan.local) !== familyOf(remote)) {
    throw fail("EAFNOSUPPORT", "RTM_NEWNEIGH", `forwarding of ${mac} on ${name}`);
  }
  const bytes = macBytes(mac);
  const flooded = ((bytes[0] as number) & 1) === 1 || bytes.every((b) => b === 0);
  link.forwarding = link.forwarding.filter((f) => f.mac !== mac || (flooded && f.remote !== remote));
  link.forwarding.push({ mac, remote });
  namespace.emit("neighbour", "set", link);
}

export function deleteForwarding(namespace: NamespaceState, name: string, mac: Mac, remote: IpAddress): void {
  if (!namespace.links.has(name)) return;
  const link = vxlan(namespace, name, mac);
  const rest = link.forwarding.filter((f) => f.mac !== mac || f.remote !== remote);
  if (rest.length === link.forwarding.length) return;
  link.forwarding = rest;
  namespace.emit("neighbour", "gone", link);
}

function vxlan(namespace: NamespaceState, name: string, mac: Mac): LinkState {
  const link = namespace.link(name, "RTM_NEWNEIGH");
  if (link.kind !== "vxlan") throw fail("EOPNOTSUPP", "RTM_NEWNEIGH", `forwarding of ${mac} on ${name}`);
  return link;
}
