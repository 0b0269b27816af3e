/** Entries of connection tracking as messages: IPCTNL_MSG_CT_NEW, which is also how a dump tells of one. */
import type { Family } from "@weft/base";
import { Attributes, type NetlinkMessage, type NetlinkWriter, NLM } from "../netlink/index.ts";
import type { Flow } from "../port.ts";
import {
  CTA_COUNTERS_BYTES,
  CTA_COUNTERS_ORIG,
  CTA_COUNTERS_PACKETS,
  CTA_COUNTERS_REPLY,
  CTA_ID,
  CTA_MARK,
  CTA_PROTOINFO,
  CTA_PROTOINFO_TCP,
  CTA_PROTOINFO_TCP_STATE,
  CTA_STATUS,
  CTA_TIMEOUT,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  CTA_ZONE,
  IPCTNL_MSG_CT_DELETE,
  messageType,
  NFGENMSG_LENGTH,
  NFPROTO,
} from "./constants.ts";
import { malformed, readTuple, writeTuple } from "./tuple.ts";

/** struct nfgenmsg. */
export const nfgenmsg = (family: Family): Uint8Array => Uint8Array.of(NFPROTO[family], 0, 0, 0);

/** Reads one entry; undefined for one of another family than IPv4 and IPv6. Throws "invalid". */
export function readFlow({ payload }: Pick<NetlinkMessage, "payload">): Flow | undefined {
  const attributes = new Attributes(payload, NFGENMSG_LENGTH);
  const family = familyOfNumber(payload[0] as number);
  if (family === undefined) return undefined;
  const originalBytes = attributes.bytes(CTA_TUPLE_ORIG);
  const replyBytes = attributes.bytes(CTA_TUPLE_REPLY);
  if (originalBytes === undefined || replyBytes === undefined)
    throw malformed("a flow without both directions");
  const original = readTuple(originalBytes, family);
  const reply = readTuple(replyBytes, family);
  if (original.protocol !== reply.protocol) throw malformed("a flow of two protocols");
  const counter = (type: number): { original: bigint; reply: bigint } | undefined => {
    const there = attributes.nested(CTA_COUNTERS_ORIG)?.u64Be(type);
    const back = attributes.nested(CTA_COUNTERS_REPLY)?.u64Be(type);
    return there === undefined || back === undefined ? undefined : { original: there, reply: back };
  };
  return {
    family,
    protocol: original.protocol,
    original: original.tuple,
    reply: reply.tuple,
    status: attributes.u32Be(CTA_STATUS) ?? 0,
    timeout: attributes.u32Be(CTA_TIMEOUT) ?? 0,
    tcpState: attributes.nested(CTA_PROTOINFO)?.nested(CTA_PROTOINFO_TCP)?.u8(CTA_PROTOINFO_TCP_STATE),
    mark: attributes.u32Be(CTA_MARK) ?? 0,
    zone: attributes.u16Be(CTA_ZONE) ?? 0,
    id: attributes.u32Be(CTA_ID) ?? 0,
    packets: counter(CTA_COUNTERS_PACKETS),
    bytes: counter(CTA_COUNTERS_BYTES),
  };
}

const familyOfNumber = (number: number): Family | undefined =>
  number === NFPROTO[4] ? 4 : number === NFPROTO[6] ? 6 : undefined;

/** Adds the removal of this very flow: by its tuple, if it still has the same id. */
export function writeRemoval(writer: NetlinkWriter, flow: Flow): void {
  writer.begin(messageType(IPCTNL_MSG_CT_DELETE), NLM.request).raw(nfgenmsg(flow.family));
  writeTuple(writer, CTA_TUPLE_ORIG, flow.family, { ...flow.original, protocol: flow.protocol });
  writer.u32Be(CTA_ID, flow.id);
  if (flow.zone !== 0) writer.u16Be(CTA_ZONE, flow.zone);
}

/** "udp 10.0.0.7:4000 -> 10.96.0.10:53", for errors and logs. */
export function describeFlow({ protocol, original: o }: Flow): string {
  const end = (ip: string, port: number | undefined): string =>
    port === undefined ? ip : ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
  return `protocol ${protocol} ${end(o.source, o.sourcePort)} -> ${end(o.destination, o.destinationPort)}`;
}
