/** Addresses of links: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR (include/uapi/linux/if_addr.h). */
import { familyOf, type IpWithLength, ipBytes, prefixIp, prefixLength, withLength } from "@weft/base";
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM } from "../netlink/index.ts";
import type { Address, AddressSpec } from "../port.ts";
import { hasErrno } from "../sys/errno.ts";
import { AF } from "../sys/socket.ts";
import { IFA, IFA_F, RTM } from "./constants.ts";
import {
  addressHeader,
  decodeIp,
  decodeLength,
  familyNumber,
  headerView,
  scopeName,
  scopeNumber,
} from "./headers.ts";
import type { RtnetlinkSocket } from "./socket.ts";

export function listAddresses(socket: RtnetlinkSocket, link: string | undefined): Address[] {
  const index = link === undefined ? 0 : socket.indexOf(link);
  const message = new NetlinkWriter().begin(RTM.getAddress, 0).raw(addressHeader(AF.unspec, 0, 0, index));
  const answers = socket.dump(message, "RTM_GETADDR", link === undefined ? "addresses" : `link ${link}`);
  const nameOf = socket.names();
  return answers.flatMap((m) => decodeAddress(m, nameOf) ?? []);
}

/** Decodes RTM_NEWADDR; undefined for other families and links that are gone. Throws "invalid". */
export function decodeAddress(
  message: NetlinkMessage,
  nameOf: (index: number) => string | undefined,
): Address | undefined {
  const header = headerView(message.payload, 8, "an address");
  const family = header.getUint8(0);
  if (family !== AF.inet && family !== AF.inet6) return undefined;
  const attributes = new Attributes(message.payload, 8);
  // On a point-to-point link, IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL but there.
  const bytes = attributes.bytes(IFA.local) ?? attributes.bytes(IFA.address);
  const link = nameOf(header.getUint32(4, true));
  if (bytes === undefined || link === undefined) return undefined;
  const flags = attributes.u32(IFA.flags) ?? header.getUint8(2);
  return {
    link,
    address: withLength(decodeIp(bytes, family), decodeLength(header.getUint8(1), family)),
    scope: scopeName(header.getUint8(3)),
    tentative: (flags & (IFA_F.tentative | IFA_F.dadFailed)) !== 0,
    permanent: (flags & IFA_F.permanent) !== 0,
  };
}

export function replaceAddress(socket: RtnetlinkSocket, spec: AddressSpec): void {
  const family = familyOf(spec.address);
  const flags = (family === 6 ? IFA_F.noDad : 0) | (spec.noPrefixRoute === true ? IFA_F.noPrefixRoute : 0);
  const message = encode(
    RTM.newAddress,
    NLM.create | NLM.replace,
    spec.address,
    scopeNumber(spec.scope ?? "global"),
    socket.indexOf(spec.link),
  );
  if (flags !== 0) message.u32(IFA.flags, flags);
  socket.request(message, "RTM_NEWADDR", `address ${spec.address} on ${spec.link}`);
}

export function deleteAddress(socket: RtnetlinkSocket, link: string, address: IpWithLength): void {
  const index = socket.findIndex(link);
  if (index === undefined) return;
  try {
    const message = encode(RTM.delAddress, 0, address, 0, index);
    socket.request(message, "RTM_DELADDR", `address ${address} on ${link}`);
  } catch (error) {
    // ENXIO: the link has no IPv6 at all, being below 1280 bytes or told so, and thus no such address.
    if (!["EADDRNOTAVAIL", "ENODEV", "ENXIO"].some((errno) => hasErrno(error, errno))) throw error;
  }
}

function encode(type: number, flags: number, address: string, scope: number, index: number): NetlinkWriter {
  const ip = prefixIp(address);
  const bytes = ipBytes(ip);
  return new NetlinkWriter()
    .begin(type, flags)
    .raw(addressHeader(familyNumber(familyOf(ip)), prefixLength(address), scope, index))
    .bytes(IFA.local, bytes)
    .bytes(IFA.address, bytes);
}
