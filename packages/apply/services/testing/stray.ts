/** TCP segments that belong to no window of their connection, by a raw socket inside of a namespace. */
import { familyOf, ipBytes } from "@weft/base";
import { inNetns, type NetnsHandle } from "@weft/kernel/netns";
import {
  bindSocket,
  closeFd,
  domainOf,
  encodeSocketAddress,
  openSocket,
  SOCK,
  type SocketAddress,
  sendTo,
} from "@weft/kernel/sys";

const IPPROTO_TCP = 6;
const ACK = 0x10;

/**
 * Sends two segments with data whose sequence numbers are half of all numbers apart: one is ahead of the connection's window,
 * which is invalid to connection tracking, and one behind, which newer kernels let pass as sent again.
 */
export function sendStray(namespace: NetnsHandle, from: SocketAddress, to: SocketAddress): void {
  const fd = inNetns(namespace.fd, () => openSocket(domainOf(familyOf(from.ip)), SOCK.raw, IPPROTO_TCP));
  try {
    bindSocket(fd, encodeSocketAddress({ ip: from.ip, port: 0 }));
    for (const sequence of [0x12345678, 0x92345678])
      sendTo(fd, segmentOf(from, to, sequence), encodeSocketAddress({ ip: to.ip, port: 0 }));
  } finally {
    closeFd(fd);
  }
}

function segmentOf(from: SocketAddress, to: SocketAddress, sequence: number): Buffer {
  const segment = Buffer.alloc(24);
  segment.writeUInt16BE(from.port, 0);
  segment.writeUInt16BE(to.port, 2);
  segment.writeUInt32BE(sequence, 4);
  segment.writeUInt32BE(0x9abcdef0, 8);
  segment[12] = 5 << 4;
  segment[13] = ACK;
  segment.writeUInt16BE(1000, 14);
  segment.writeUInt16BE(checksum(from, to, segment), 16);
  return segment;
}

/** Over the pseudo header of either family, whose sums are the same for lengths below 65,536, and the segment. */
function checksum(from: SocketAddress, to: SocketAddress, segment: Buffer): number {
  const pseudo = Buffer.alloc(4);
  pseudo.writeUInt16BE(IPPROTO_TCP, 0);
  pseudo.writeUInt16BE(segment.length, 2);
  const all = Buffer.concat([ipBytes(from.ip), ipBytes(to.ip), pseudo, segment]);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += all.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
