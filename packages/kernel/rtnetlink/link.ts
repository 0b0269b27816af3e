/** Links: RTM_NEWLINK, RTM_SETLINK, RTM_GETLINK (rtnetlink(7), include/uapi/linux/if_link.h). */
import { familyOf, ipBytes, ipFromBytes, type Mac, macBytes, macFromBytes } from "@weft/base";
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM } from "../netlink/index.ts";
import type { Link, LinkChange, LinkKind, NetworkNamespace, VethSpec, VxlanOptions } from "../port.ts";
import { AF } from "../sys/socket.ts";
import {
  ARPHRD_ETHER,
  IFF,
  IFLA,
  IFLA_INET6_ADDRESS_GENERATION,
  IFLA_INFO,
  IFLA_VXLAN,
  RTEXT_FILTER_SKIP_STATS,
  RTM,
  VETH_INFO_PEER,
} from "./constants.ts";
import { headerView, linkHeader } from "./headers.ts";
import type { RtnetlinkSocket } from "./socket.ts";

const KINDS: readonly LinkKind[] = ["veth", "vxlan", "bridge", "dummy"];
const GENERATION = ["eui64", "none"] as const;

type NameOf = (index: number) => string | undefined;

export function listLinks(socket: RtnetlinkSocket): Link[] {
  const message = new NetlinkWriter()
    .begin(RTM.getLink, 0)
    .raw(linkHeader())
    .u32(IFLA.extMask, RTEXT_FILTER_SKIP_STATS);
  const answers = socket.dump(message, "RTM_GETLINK", "links");
  const names = socket.names();
  return answers.filter((m) => m.type === RTM.newLink).map((m) => decodeLink(m, names));
}

export function getLink(socket: RtnetlinkSocket, name: string): Link | undefined {
  const message = socket.describe(name);
  return message === undefined ? undefined : decodeLink(message, (index) => socket.nameOf(index));
}

/** Decodes RTM_NEWLINK; `nameOf` names the master and the underlay. Throws "invalid". */
export function decodeLink(message: NetlinkMessage, nameOf: NameOf): Link {
  const header = headerView(message.payload, 16, "a link");
  const attributes = new Attributes(message.payload, 16);
  const flags = header.getUint32(8, true);
  const info = attributes.nested(IFLA.linkInfo);
  const kindName = info?.string(IFLA_INFO.kind);
  const kind = KINDS.find((k) => k === kindName) ?? "other";
  const mac = attributes.bytes(IFLA.address);
  const master = attributes.u32(IFLA.master);
  const data = info?.nested(IFLA_INFO.data);
  return {
    index: header.getInt32(4, true),
    name: attributes.string(IFLA.name) ?? "",
    kind,
    mac: header.getUint16(2, true) === ARPHRD_ETHER && mac?.length === 6 ? macFromBytes(mac) : undefined,
    mtu: attributes.u32(IFLA.mtu) ?? 0,
    up: (flags & IFF.up) !== 0,
    carrier: (flags & (IFF.up | IFF.lowerUp)) === (IFF.up | IFF.lowerUp),
    loopback: (flags & IFF.loopback) !== 0,
    master: master === undefined || master === 0 ? undefined : nameOf(master),
    alias: attributes.string(IFLA.alias),
    peerIndex: kind === "veth" ? attributes.u32(IFLA.link) : undefined,
    peerNsid: kind === "veth" ? attributes.i32(IFLA.linkNetnsid) : undefined,
    addressGeneration: decodeGeneration(attributes),
    vxlan: kind === "vxlan" && data !== undefined ? decodeVxlan(data, nameOf) : undefined,
  };
}

function decodeGeneration(attributes: Attributes): Link["addressGeneration"] {
  const mode = attributes.nested(IFLA.afSpec)?.nested(AF.inet6)?.u8(IFLA_INET6_ADDRESS_GENERATION);
  return mode === undefined ? undefined : (GENERATION[mode] ?? "other");
}

/** A VXLAN link without a local address sends from any: "0.0.0.0" or "::". */
function decodeVxlan(data: Attributes, nameOf: NameOf): VxlanOptions {
  const local6 = data.bytes(IFLA_VXLAN.local6);
  const underlay = data.u32(IFLA_VXLAN.link);
  const name = underlay === undefined || underlay === 0 ? undefined : nameOf(underlay);
  return {
    vni: data.u32(IFLA_VXLAN.id) ?? 0,
    port: data.u16Be(IFLA_VXLAN.port) ?? 0,
    local: ipFromBytes(local6 ?? data.bytes(IFLA_VXLAN.local) ?? new Uint8Array(4)),
    ...(name === undefined ? {} : { underlay: name }),
    learning: data.u8(IFLA_VXLAN.learning) === 1,
    udpChecksum:
      local6 === undefined
        ? data.u8(IFLA_VXLAN.udpChecksum) === 1
        : data.u8(IFLA_VXLAN.udpZeroChecksum6Tx) === 0,
  };
}

function newLink(name: string, mac: Mac, mtu: number): NetlinkWriter {
  return new NetlinkWriter()
    .begin(RTM.newLink, NLM.create | NLM.excl)
    .raw(linkHeader())
    .string(IFLA.name, name)
    .bytes(IFLA.address, macBytes(mac))
    .u32(IFLA.mtu, mtu);
}

export function createVeth(socket: RtnetlinkSocket, spec: VethSpec): void {
  const { peer } = spec;
  const message = newLink(spec.name, spec.mac, spec.mtu);
  message.nest(IFLA.linkInfo, (info) => {
    info.string(IFLA_INFO.kind, "veth").nest(IFLA_INFO.data, (data) => {
      data.nest(VETH_INFO_PEER, (end) => {
        end.raw(linkHeader()).string(IFLA.name, peer.name).bytes(IFLA.address, macBytes(peer.mac));
        end.u32(IFLA.mtu, peer.mtu);
        if (peer.namespace !== undefined) end.u32(IFLA.netnsFd, peer.namespace.fd);
      });
    });
  });
  socket.request(message, "RTM_NEWLINK", `veth ${spec.name}`);
  // The kernel takes these two for a link that exists only.
  const { alias, addressGeneration } = spec;
  if (alias === undefined && addressGeneration === undefined) return;
  try {
    changeLink(socket, spec.name, {
      ...(alias === undefined ? {} : { alias }),
      ...(addressGeneration === undefined ? {} : { addressGeneration }),
    });
  } catch (error) {
    // All or nothing, even where that takes the time of a deletion.
    const undo = new NetlinkWriter().begin(RTM.delLink, 0).raw(linkHeader()).string(IFLA.name, spec.name);
    socket.request(undo, "RTM_DELLINK", `veth ${spec.name}`);
    throw error;
  }
}

export function createBridge(socket: RtnetlinkSocket, name: string, mac: Mac, mtu: number): void {
  const message = newLink(name, mac, mtu).nest(IFLA.linkInfo, (info) =>
    info.string(IFLA_INFO.kind, "bridge"),
  );
  socket.request(message, "RTM_NEWLINK", `bridge ${name}`);
}

export function createVxlan(
  socket: RtnetlinkSocket,
  name: string,
  mac: Mac,
  mtu: number,
  options: VxlanOptions,
): void {
  const underlay = options.underlay === undefined ? undefined : socket.indexOf(options.underlay);
  const message = newLink(name, mac, mtu).nest(IFLA.linkInfo, (info) => {
    info.string(IFLA_INFO.kind, "vxlan").nest(IFLA_INFO.data, (data) => {
      const six = familyOf(options.local) === 6;
      data.u32(IFLA_VXLAN.id, options.vni).u16Be(IFLA_VXLAN.port, options.port);
      data.bytes(six ? IFLA_VXLAN.local6 : IFLA_VXLAN.local, ipBytes(options.local));
      data.u8(IFLA_VXLAN.learning, options.learning ? 1 : 0);
      if (six) {
        data.u8(IFLA_VXLAN.udpZeroChecksum6Tx, options.udpChecksum ? 0 : 1);
        data.u8(IFLA_VXLAN.udpZeroChecksum6Rx, options.udpChecksum ? 0 : 1);
      } else {
        data.u8(IFLA_VXLAN.udpChecksum, options.udpChecksum ? 1 : 0);
      }
      if (underlay !== undefined) data.u32(IFLA_VXLAN.link, underlay);
    });
  });
  socket.request(message, "RTM_NEWLINK", `vxlan ${name}`);
}

export function changeLink(socket: RtnetlinkSocket, name: string, change: LinkChange): void {
  const index = socket.indexOf(name);
  const object = `link ${name}`;
  const { addressGeneration: generation, master } = change;
  if (generation !== undefined) {
    // A message of its own: within one, the kernel sets the link up first, and then it is too late.
    const message = new NetlinkWriter().begin(RTM.setLink, 0).raw(linkHeader(index));
    message.nest(IFLA.afSpec, (families) =>
      families.nest(AF.inet6, (f) => f.u8(IFLA_INET6_ADDRESS_GENERATION, GENERATION.indexOf(generation))),
    );
    socket.request(message, "RTM_SETLINK", object);
  }
  const flags = change.up === undefined ? 0 : IFF.up;
  const message = new NetlinkWriter()
    .begin(RTM.setLink, 0)
    .raw(linkHeader(index, change.up === true ? IFF.up : 0, flags));
  const empty = message.length;
  if (change.mtu !== undefined) message.u32(IFLA.mtu, change.mtu);
  if (change.mac !== undefined) message.bytes(IFLA.address, macBytes(change.mac));
  if (change.alias !== undefined) message.string(IFLA.alias, change.alias);
  if (change.rename !== undefined) message.string(IFLA.name, change.rename);
  if (master !== undefined) message.u32(IFLA.master, master === null ? 0 : socket.indexOf(master));
  if (flags === 0 && message.length === empty) return;
  socket.request(message, "RTM_SETLINK", object);
}

export function moveLink(
  socket: RtnetlinkSocket,
  name: string,
  to: NetworkNamespace,
  newName: string | undefined,
): void {
  const message = new NetlinkWriter()
    .begin(RTM.setLink, 0)
    .raw(linkHeader(socket.indexOf(name)))
    .u32(IFLA.netnsFd, to.fd);
  if (newName !== undefined) message.string(IFLA.name, newName);
  socket.request(message, "RTM_SETLINK", `link ${name} to ${to.path}`);
}
