/**
 * Tuples of connection tracking: one direction of a flow.
 *
 *     CTA_TUPLE_ORIG | CTA_TUPLE_REPLY
 *       CTA_TUPLE_IP     source and destination, of IPv4 or IPv6
 *       CTA_TUPLE_PROTO  number, and ports (TCP, UDP, SCTP, DCCP, UDP-Lite) or type, code and id (ICMP, ICMPv6)
 */
import { type Family, type IpAddress, ipBytes, ipFromBytes, WeftError } from "@weft/base";
import { Attributes, type NetlinkWriter } from "../netlink/index.ts";
import { type FlowTuple, IP_PROTOCOL } from "../port.ts";
import {
  CTA_IP_V4_DST,
  CTA_IP_V4_SRC,
  CTA_IP_V6_DST,
  CTA_IP_V6_SRC,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_ICMP_CODE,
  CTA_PROTO_ICMP_ID,
  CTA_PROTO_ICMP_TYPE,
  CTA_PROTO_ICMPV6_CODE,
  CTA_PROTO_ICMPV6_ID,
  CTA_PROTO_ICMPV6_TYPE,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_TUPLE_IP,
  CTA_TUPLE_PROTO,
} from "./constants.ts";

const ADDRESS = {
  4: { source: CTA_IP_V4_SRC, destination: CTA_IP_V4_DST, length: 4 },
  6: { source: CTA_IP_V6_SRC, destination: CTA_IP_V6_DST, length: 16 },
} as const;

const ICMP = new Map<number, { readonly id: number; readonly type: number; readonly code: number }>([
  [IP_PROTOCOL.icmp, { id: CTA_PROTO_ICMP_ID, type: CTA_PROTO_ICMP_TYPE, code: CTA_PROTO_ICMP_CODE }],
  [IP_PROTOCOL.icmpv6, { id: CTA_PROTO_ICMPV6_ID, type: CTA_PROTO_ICMPV6_TYPE, code: CTA_PROTO_ICMPV6_CODE }],
]);

export const malformed = (why: string): WeftError =>
  new WeftError("invalid", `malformed message of connection tracking: ${why}`);

/** Parts of a tuple; a whole one, or what a filter names. */
export type TupleParts = Partial<FlowTuple> & { readonly protocol?: number | undefined };

/** Writes the parts as attribute `type` (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY). */
export function writeTuple(writer: NetlinkWriter, type: number, family: Family, parts: TupleParts): void {
  const numbers = ADDRESS[family];
  writer.nest(type, (tuple) => {
    tuple.nest(CTA_TUPLE_IP, (ip) => {
      if (parts.source !== undefined) ip.bytes(numbers.source, ipBytes(parts.source));
      if (parts.destination !== undefined) ip.bytes(numbers.destination, ipBytes(parts.destination));
    });
    const { protocol } = parts;
    if (protocol === undefined) return;
    tuple.nest(CTA_TUPLE_PROTO, (proto) => {
      proto.u8(CTA_PROTO_NUM, protocol);
      if (parts.sourcePort !== undefined) proto.u16Be(CTA_PROTO_SRC_PORT, parts.sourcePort);
      if (parts.destinationPort !== undefined) proto.u16Be(CTA_PROTO_DST_PORT, parts.destinationPort);
      const icmp = ICMP.get(protocol);
      if (parts.icmp !== undefined && icmp !== undefined) {
        proto.u16Be(icmp.id, parts.icmp.id).u8(icmp.type, parts.icmp.type).u8(icmp.code, parts.icmp.code);
      }
    });
  });
}

/** Reads a whole tuple. Throws "invalid". */
export function readTuple(bytes: Uint8Array, family: Family): { protocol: number; tuple: FlowTuple } {
  const attributes = new Attributes(bytes);
  const ip = attributes.nested(CTA_TUPLE_IP);
  const proto = attributes.nested(CTA_TUPLE_PROTO);
  if (ip === undefined || proto === undefined) throw malformed("a tuple without addresses or protocol");
  const protocol = proto.u8(CTA_PROTO_NUM);
  if (protocol === undefined) throw malformed("a tuple without the number of its protocol");
  const numbers = ADDRESS[family];
  const address = (type: number): IpAddress => {
    const value = ip.bytes(type);
    if (value?.length !== numbers.length)
      throw malformed(`an IPv${family} address of ${value?.length ?? 0} bytes`);
    return ipFromBytes(value);
  };
  const tuple: FlowTuple = {
    source: address(numbers.source),
    destination: address(numbers.destination),
    sourcePort: proto.u16Be(CTA_PROTO_SRC_PORT),
    destinationPort: proto.u16Be(CTA_PROTO_DST_PORT),
    icmp: readIcmp(proto, protocol),
  };
  return { protocol, tuple };
}

function readIcmp(proto: Attributes, protocol: number): FlowTuple["icmp"] {
  const numbers = ICMP.get(protocol);
  if (numbers === undefined) return undefined;
  const id = proto.u16Be(numbers.id);
  const type = proto.u8(numbers.type);
  const code = proto.u8(numbers.code);
  if (id === undefined || type === undefined || code === undefined)
    throw malformed("ICMP without type, code or id");
  return { type, code, id };
}
