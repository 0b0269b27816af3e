/** Links: made, changed, moved and deleted, and what else of the namespace that changes. */
import { familyOf, type Mac, macBytes, WeftError } from "@weft/base";
import type { Link, LinkChange, LinkKind, VethSpec, VxlanOptions } from "../port.ts";
import {
  addLinkLocal,
  addressesUp,
  flushIpv6,
  flushNeighbours,
  IPV6_MIN_MTU,
  ipv6Enabled,
  removeAddress,
  removeRoutes,
} from "./address.ts";
import { fail, type LinkState, type NamespaceState } from "./state.ts";
import { inheritSysctls } from "./sysctl.ts";

const MIN_MTU = 68;
const MAX_MTU = 65535;
/** Outer Ethernet, IP, UDP and VXLAN headers (RFC 7348). */
const vxlanOverhead = (options: VxlanOptions): number => (familyOf(options.local) === 4 ? 50 : 70);

export function describeLink(link: LinkState): Link {
  const { peer, namespace } = link;
  return {
    index: link.index,
    name: link.name,
    kind: link.kind,
    mac: link.mac,
    mtu: link.mtu,
    up: link.up,
    carrier: hasCarrier(link),
    loopback: link.loopback,
    master: link.master?.name,
    alias: link.alias,
    peerIndex: peer?.index,
    peerNsid:
      peer === undefined || peer.namespace === namespace ? undefined : namespace.nsidOf(peer.namespace),
    addressGeneration: link.mtu >= IPV6_MIN_MTU ? link.addressGeneration : undefined,
    vxlan: describeVxlan(link),
  };
}

function describeVxlan({ vxlan, underlay }: LinkState): VxlanOptions | undefined {
  if (vxlan === undefined) return undefined;
  const { underlay: _, ...options } = vxlan;
  return underlay === undefined ? options : { ...options, underlay: underlay.name };
}

const ports = (bridge: LinkState): LinkState[] =>
  [...bridge.namespace.links.values()].filter((link) => link.master === bridge);

export function hasCarrier(link: LinkState): boolean {
  if (!link.up) return false;
  if (link.kind === "veth") return link.peer?.up === true;
  if (link.kind !== "bridge") return true;
  // One that was made without an address of its own begins with a carrier; here all have one.
  return ports(link).some(hasCarrier);
}

/** The loopback that every namespace begins with. */
export function addLoopback(namespace: NamespaceState): void {
  add(namespace, { name: "lo", kind: "other", mac: undefined, mtu: 65536, loopback: true });
}

interface NewLink {
  readonly name: string;
  readonly kind: LinkKind;
  readonly mac: Mac | undefined;
  readonly mtu: number;
  readonly loopback?: boolean;
}

function add(namespace: NamespaceState, spec: NewLink): LinkState {
  const link: LinkState = {
    kind: spec.kind,
    loopback: spec.loopback === true,
    namespace,
    index: namespace.takeIndex(),
    name: spec.name,
    mac: spec.mac,
    mtu: spec.mtu,
    mtuIsSet: false,
    up: false,
    alias: undefined,
    transmitChecksumOffload: true,
    addressGeneration: "eui64",
    master: undefined,
    peer: undefined,
    underlay: undefined,
    vxlan: undefined,
    carrier: false,
    forwarding: [],
    sysctls: new Map(),
  };
  inheritSysctls(link);
  namespace.links.set(link.name, link);
  namespace.emit("link", "set", link);
  return link;
}

/** The kernel's checks of a new link. */
function check(namespace: NamespaceState, spec: NewLink): void {
  const object = `${spec.kind} ${spec.name}`;
  checkName(spec.name, "RTM_NEWLINK", object);
  if (namespace.links.has(spec.name)) throw fail("EEXIST", "RTM_NEWLINK", object);
  checkMtu(spec.mtu, "RTM_NEWLINK", object);
  if (spec.mac !== undefined) checkMac(spec.mac, "RTM_NEWLINK", object);
}

function checkName(name: string, call: string, object: string): void {
  const length = Buffer.byteLength(name);
  if (length === 0 || length > 15 || /[/:\s\0]/.test(name) || name === "." || name === "..") {
    throw fail("EINVAL", call, object, "not a valid ifname");
  }
}

function checkMtu(mtu: number, call: string, object: string): void {
  if (mtu < MIN_MTU) throw fail("EINVAL", call, object, "mtu less than device minimum");
  if (mtu > MAX_MTU) throw fail("EINVAL", call, object, "mtu greater than device maximum");
}

function checkMac(mac: Mac, call: string, object: string): void {
  const bytes = macBytes(mac);
  if (((bytes[0] as number) & 1) === 1 || bytes.every((b) => b === 0)) {
    throw fail("EADDRNOTAVAIL", call, object);
  }
}

export function createVeth(namespace: NamespaceState, spec: VethSpec, peerNamespace: NamespaceState): void {
  const near = { name: spec.name, kind: "veth", mac: spec.mac, mtu: spec.mtu } as const;
  const far = { name: spec.peer.name, kind: "veth", mac: spec.peer.mac, mtu: spec.peer.mtu } as const;
  check(namespace, near);
  check(peerNamespace, far);
  if (namespace === peerNamespace && near.name === far.name) {
    throw fail("EEXIST", "RTM_NEWLINK", `veth ${spec.name}`);
  }
  // The peer comes first and has the lower index.
  const peer = add(peerNamespace, far);
  const link = add(namespace, near);
  link.peer = peer;
  peer.peer = link;
  introduce(link);
  link.alias = spec.alias;
  link.addressGeneration = spec.addressGeneration ?? "eui64";
}

/** The ends of a pair name each other by namespace id, which is when the ids are made. */
function introduce({ namespace, peer }: LinkState): void {
  if (peer === undefined || peer.namespace === namespace) return;
  namespace.nsidOf(peer.namespace);
  peer.namespace.nsidOf(namespace);
}

export function createVxlan(namespace: NamespaceState, spec: NewLink, options: VxlanOptions): void {
  const object = `vxlan ${spec.name}`;
  const underlay =
    options.underlay === undefined ? undefined : namespace.link(options.underlay, "RTM_NEWLINK");
  check(namespace, spec);
  if (!Number.isInteger(options.vni) || options.vni < 0 || options.vni > 0xff_ffff) {
    throw fail("ERANGE", "RTM_NEWLINK", object);
  }
  for (const { vxlan } of namespace.links.values()) {
    if (vxlan?.vni !== options.vni || vxlan.port !== options.port) continue;
    if (familyOf(vxlan.local) !== familyOf(options.local)) continue;
    throw fail("EEXIST", "RTM_NEWLINK", object, "A VXLAN device with the specified VNI already exists");
  }
  const most = underlay === undefined ? MAX_MTU : underlay.mtu - vxlanOverhead(options);
  const link = add(namespace, { ...spec, mtu: Math.min(spec.mtu, most) });
  link.vxlan = options;
  link.underlay = underlay;
}

export function createBridge(namespace: NamespaceState, spec: NewLink): void {
  check(namespace, spec);
  add(namespace, spec);
}

export function changeLink(namespace: NamespaceState, name: string, change: LinkChange): void {
  const link = namespace.link(name, "RTM_SETLINK");
  const object = `link ${name}`;
  const { mac, mtu, rename, alias, up } = change;
  // A name that is not there fails the whole change; what fails later leaves what came before it.
  const master =
    typeof change.master === "string" ? namespace.link(change.master, "RTM_SETLINK") : change.master;
  if (change.addressGeneration !== undefined) {
    if (link.mtu < IPV6_MIN_MTU) throw fail("EAFNOSUPPORT", "RTM_SETLINK", object);
    link.addressGeneration = change.addressGeneration;
  }
  if (mac !== undefined) {
    checkMac(mac, "RTM_SETLINK", object);
    // The loopback takes one, too, but shows none.
    if (!link.loopback) link.mac = mac;
    flushNeighbours(link, 4);
    flushNeighbours(link, 6);
  }
  if (mtu !== undefined && mtu !== link.mtu) setMtu(link, mtu);
  if (rename !== undefined && rename !== link.name) {
    checkName(rename, "RTM_SETLINK", object);
    if (namespace.links.has(rename)) throw fail("EEXIST", "RTM_SETLINK", object);
    namespace.links.delete(link.name);
    link.name = rename;
    namespace.links.set(rename, link);
  }
  if (alias !== undefined) link.alias = alias === "" ? undefined : alias;
  if (up !== undefined && up !== link.up) setUp(link, up);
  if (master !== undefined) setMaster(link, master ?? undefined);
  namespace.emit("link", "set", link);
  settle(link);
}

function setMtu(link: LinkState, mtu: number): void {
  const object = `link ${link.name}`;
  checkMtu(mtu, "RTM_SETLINK", object);
  const most = link.vxlan && link.underlay ? link.underlay.mtu - vxlanOverhead(link.vxlan) : MAX_MTU;
  if (mtu > most) throw fail("EINVAL", "RTM_SETLINK", object, "mtu greater than device maximum");
  link.mtuIsSet = true;
  takeMtu(link, mtu);
  if (link.master !== undefined) adjustMtu(link.master);
}

/** What a link has of IPv6 ends with an MTU below the least, and begins anew above it. */
function takeMtu(link: LinkState, mtu: number): void {
  const had = link.mtu >= IPV6_MIN_MTU;
  link.mtu = mtu;
  const has = mtu >= IPV6_MIN_MTU;
  if (had && !has) {
    flushIpv6(link);
    link.addressGeneration = "eui64";
  } else if (!had && has && link.carrier) addLinkLocal(link);
}

/** After a bridge's ports have changed. Without ports it has Ethernet's MTU. */
function adjustMtu(bridge: LinkState): void {
  if (bridge.mtuIsSet) return;
  const members = ports(bridge).map((port) => port.mtu);
  takeMtu(bridge, members.length === 0 ? 1500 : Math.min(...members));
}

function setMaster(link: LinkState, master: LinkState | undefined): void {
  const object = `link ${link.name}`;
  const before = link.master;
  if (master !== undefined) {
    if (master.kind !== "bridge") throw fail("EOPNOTSUPP", "RTM_SETLINK", object);
    if (link.kind === "bridge") {
      throw fail("ELOOP", "RTM_SETLINK", object, "Can not enslave a bridge to a bridge");
    }
    if (link.loopback) throw fail("EINVAL", "RTM_SETLINK", object);
  }
  link.master = master;
  for (const bridge of [before, master]) {
    if (bridge === undefined || before === master) continue;
    adjustMtu(bridge);
    settle(bridge);
  }
}

function setUp(link: LinkState, up: boolean): void {
  link.up = up;
  if (up) addressesUp(link);
  else goDown(link);
}

/** IPv4 routes go without a word; IPv6 loses its addresses too; neighbours go even when permanent. */
function goDown(link: LinkState): void {
  const { namespace } = link;
  flushNeighbours(link, 4);
  flushIpv6(link);
  removeRoutes(
    namespace,
    namespace.routes.filter((r) => r.link === link),
    false,
  );
}

/** Events and link-local addresses of this link and of those whose carrier hangs on it. */
function settle(link: LinkState): void {
  for (const other of [link, link.master, link.peer, link.peer?.master]) {
    if (other === undefined) continue;
    const carrier = hasCarrier(other);
    if (carrier === other.carrier) continue;
    other.carrier = carrier;
    if (other !== link) other.namespace.emit("link", "set", other);
    if (carrier) addLinkLocal(other);
  }
}

/** After a change of disable_ipv6. */
export function applyIpv6Switch(link: LinkState): void {
  if (!ipv6Enabled(link)) flushIpv6(link);
  else if (link.up) {
    addressesUp(link);
    if (link.carrier) addLinkLocal(link);
  }
}

/** The link loses all but its name, addresses of its own and alias, and is down. */
export function moveLink(
  namespace: NamespaceState,
  name: string,
  to: NamespaceState,
  newName?: string,
): void {
  const link = namespace.link(name, "RTM_SETLINK");
  const object = `link ${name}`;
  if (link.loopback || link.kind === "bridge") {
    throw fail("EINVAL", "RTM_SETLINK", object, "The interface netns is immutable");
  }
  const wanted = newName ?? name;
  checkName(wanted, "RTM_SETLINK", object);
  if (to === namespace) {
    if (newName !== undefined) changeLink(namespace, name, { rename: newName });
    return;
  }
  if (to.links.has(wanted)) throw fail("EEXIST", "RTM_SETLINK", object);
  strip(link);
  namespace.links.delete(name);
  namespace.emit("link", "gone", link);
  link.index = to.takeIndex(link.index);
  link.name = wanted;
  link.namespace = to;
  link.addressGeneration = "eui64";
  inheritSysctls(link);
  to.links.set(wanted, link);
  introduce(link);
  to.emit("link", "set", link);
}

/** Takes a link out of all that it is part of. */
function strip(link: LinkState): void {
  const { namespace } = link;
  if (link.up) setUp(link, false);
  flushNeighbours(link, 4);
  flushNeighbours(link, 6);
  for (const address of namespace.addresses.filter((a) => a.link === link)) removeAddress(address);
  for (const other of [...namespace.links.values()]) {
    if (other.master !== link) continue;
    other.master = undefined;
    namespace.emit("link", "set", other);
  }
  const { master } = link;
  link.master = undefined;
  if (master !== undefined) {
    adjustMtu(master);
    settle(master);
  }
  settle(link);
}

export function deleteLink(namespace: NamespaceState, name: string): void {
  const link = namespace.links.get(name);
  if (link === undefined) return;
  if (link.loopback) throw fail("EOPNOTSUPP", "RTM_DELLINK", `link ${name}`);
  removeLink(link);
}

/** A veth pair goes whole, and VXLAN links go with their underlay. */
function removeLink(link: LinkState): void {
  const { namespace, peer } = link;
  if (!namespace.links.delete(link.name)) return;
  for (const other of [...namespace.links.values()]) if (other.underlay === link) removeLink(other);
  strip(link);
  namespace.emit("link", "gone", link);
  if (peer !== undefined) removeLink(peer);
}

/** The end of a namespace, when nothing holds it any more. */
export function destroyNamespace(namespace: NamespaceState): void {
  for (const link of [...namespace.links.values()]) removeLink(link);
  namespace.world.namespaces.delete(namespace);
  for (const other of namespace.world.namespaces) other.nsids.delete(namespace);
}

/** Throws "invalid" for a namespace of another kernel. */
export const foreignNamespace = (path: string): WeftError =>
  new WeftError("invalid", `the namespace ${path} is not one of this in-memory kernel`, { object: path });
