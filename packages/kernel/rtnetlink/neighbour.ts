/** Neighbours (ARP, NDP) and forwarding entries: RTM_NEWNEIGH and so on (include/uapi/linux/neighbour.h). */
import { familyOf, type IpAddress, ipBytes, ipFromBytes, type Mac, macBytes, macFromBytes } from "@weft/base";
import { Attributes, NetlinkWriter, NLM } from "../netlink/index.ts";
import type { ForwardingEntry, Neighbour } from "../port.ts";
import { hasErrno } from "../sys/errno.ts";
import { AF } from "../sys/socket.ts";
import { NDA, NTF_SELF, NUD, RTM } from "./constants.ts";
import { decodeIp, familyNumber, headerView, neighbourHeader } from "./headers.ts";
import type { RtnetlinkSocket } from "./socket.ts";

const HEADER = 12;

/** Without the entries that need no resolution (NUD_NOARP), which the kernel makes for itself. */
export function listNeighbours(socket: RtnetlinkSocket, link: string | undefined): Neighbour[] {
  const message = new NetlinkWriter().begin(RTM.getNeighbour, 0).raw(neighbourHeader(AF.unspec));
  if (link !== undefined) message.u32(NDA.linkIndex, socket.indexOf(link));
  const answers = socket.dump(message, "RTM_GETNEIGH", "neighbours");
  const nameOf = socket.names();
  return answers.flatMap(({ payload }) => {
    const header = headerView(payload, HEADER, "a neighbour");
    const family = header.getUint8(0);
    const state = header.getUint16(8, true);
    if ((family !== AF.inet && family !== AF.inet6) || (state & NUD.noArp) !== 0) return [];
    const attributes = new Attributes(payload, HEADER);
    const ip = attributes.bytes(NDA.destination);
    const mac = attributes.bytes(NDA.linkAddress);
    const name = nameOf(header.getInt32(4, true));
    if (ip === undefined || name === undefined) return [];
    return [
      {
        link: name,
        ip: decodeIp(ip, family),
        mac: mac?.length === 6 ? macFromBytes(mac) : undefined,
        state: stateName(state),
      },
    ];
  });
}

function stateName(state: number): Neighbour["state"] {
  if ((state & NUD.permanent) !== 0) return "permanent";
  if ((state & NUD.reachable) !== 0) return "reachable";
  if ((state & NUD.stale) !== 0) return "stale";
  return (state & NUD.failed) !== 0 ? "failed" : "other";
}

export function replaceNeighbour(socket: RtnetlinkSocket, link: string, ip: IpAddress, mac: Mac): void {
  const message = new NetlinkWriter()
    .begin(RTM.newNeighbour, NLM.create | NLM.replace)
    .raw(neighbourHeader(familyNumber(familyOf(ip)), socket.indexOf(link), NUD.permanent))
    .bytes(NDA.destination, ipBytes(ip))
    .bytes(NDA.linkAddress, macBytes(mac));
  socket.request(message, "RTM_NEWNEIGH", `neighbour ${ip} on ${link}`);
}

export function deleteNeighbour(socket: RtnetlinkSocket, link: string, ip: IpAddress): void {
  const index = socket.findIndex(link);
  if (index === undefined) return;
  const message = new NetlinkWriter()
    .begin(RTM.delNeighbour, 0)
    .raw(neighbourHeader(familyNumber(familyOf(ip)), index))
    .bytes(NDA.destination, ipBytes(ip));
  absentIsFine(() => socket.request(message, "RTM_DELNEIGH", `neighbour ${ip} on ${link}`));
}

export function listForwarding(socket: RtnetlinkSocket, link: string): ForwardingEntry[] {
  const index = socket.indexOf(link);
  const message = new NetlinkWriter()
    .begin(RTM.getNeighbour, 0)
    .raw(neighbourHeader(AF.bridge))
    .u32(NDA.linkIndex, index);
  return socket.dump(message, "RTM_GETNEIGH", `forwarding of ${link}`).flatMap(({ payload }) => {
    const header = headerView(payload, HEADER, "a forwarding entry");
    if (header.getInt32(4, true) !== index || (header.getUint8(10) & NTF_SELF) === 0) return [];
    const attributes = new Attributes(payload, HEADER);
    const mac = attributes.bytes(NDA.linkAddress);
    const remote = attributes.bytes(NDA.destination);
    if (mac?.length !== 6) return [];
    return [
      {
        link,
        mac: macFromBytes(mac),
        remote: remote === undefined ? undefined : ipFromBytes(remote),
        permanent: (header.getUint16(8, true) & NUD.permanent) !== 0,
      },
    ];
  });
}

/** An Ethernet address has one remote end; the all-zero and the group addresses are flooded to each of theirs. */
export function replaceForwarding(socket: RtnetlinkSocket, link: string, mac: Mac, remote: IpAddress): void {
  const bytes = macBytes(mac);
  const flooded = ((bytes[0] as number) & 1) === 1 || bytes.every((b) => b === 0);
  const message = forwarding(
    RTM.newNeighbour,
    NLM.create | (flooded ? NLM.append : NLM.replace),
    socket.indexOf(link),
    mac,
    remote,
  );
  socket.request(message, "RTM_NEWNEIGH", `forwarding of ${mac} on ${link}`);
}

export function deleteForwarding(socket: RtnetlinkSocket, link: string, mac: Mac, remote: IpAddress): void {
  const index = socket.findIndex(link);
  if (index === undefined) return;
  const message = forwarding(RTM.delNeighbour, 0, index, mac, remote);
  absentIsFine(() => socket.request(message, "RTM_DELNEIGH", `forwarding of ${mac} on ${link}`));
}

const forwarding = (type: number, flags: number, index: number, mac: Mac, remote: IpAddress): NetlinkWriter =>
  new NetlinkWriter()
    .begin(type, flags)
    .raw(neighbourHeader(AF.bridge, index, NUD.permanent, NTF_SELF))
    .bytes(NDA.linkAddress, macBytes(mac))
    .bytes(NDA.destination, ipBytes(remote));

function absentIsFine(request: () => void): void {
  try {
    request();
  } catch (error) {
    if (!hasErrno(error, "ENOENT") && !hasErrno(error, "ENODEV")) throw error;
  }
}
