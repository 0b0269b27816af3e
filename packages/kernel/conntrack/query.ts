/**
 * Which dumps answer which filters. A dump walks all of the kernel's table, so that many filters become one dump of all
 * flows of their protocol, and few become one each, narrowed by the kernel (Linux 5.8 and later):
 *
 *     CTA_TUPLE_ORIG, CTA_TUPLE_REPLY   values
 *     CTA_FILTER                        which of these values must be equal, for either direction
 *     CTA_STATUS                        bits that must be set (later kernels; others do not look at it)
 *
 * The kernel's comparison, as of Linux 6.18, is used where it is right. It takes an IPv6 address for equal when it
 * differs, so those are never sent; it does not look at SCTP's ports. Before Linux 5.16 it reads the reply direction by
 * the flags of the original one and refuses or misses flows: `reply` says whether it does.
 *
 * For the same reasons nothing is removed by a filtered IPCTNL_MSG_CT_DELETE (Linux 6.12 and later), which would save
 * one message a flow, but tells no numbers, and of IPv6 would remove everything else.
 */
import { NetlinkWriter, NLM } from "../netlink/index.ts";
import { FLOW_STATUS, type FlowFilter, IP_PROTOCOL, type TupleFilter } from "../port.ts";
import {
  CTA_FILTER,
  CTA_FILTER_ORIG_FLAGS,
  CTA_FILTER_REPLY_FLAGS,
  CTA_STATUS,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  FILTER_FLAG,
  IPCTNL_MSG_CT_GET,
  messageType,
} from "./constants.ts";
import { nfgenmsg } from "./flow.ts";
import { writeTuple } from "./tuple.ts";

/** What of a filter the running kernel applies by itself. */
export interface Narrowing {
  readonly original: boolean;
  readonly reply: boolean;
}

/** More filters of one family and protocol than this are one dump. */
export const MAX_DUMPS = 4;

/** The dumps that together bring every flow that any of the filters matches. */
export function queriesOf(filters: readonly FlowFilter[]): FlowFilter[] {
  const groups = Map.groupBy(filters, (filter) => `${filter.family} ${filter.protocol}`);
  return [...groups.values()].flatMap((group) => {
    const distinct = [...new Map(group.map((filter) => [JSON.stringify(filter), filter])).values()];
    if (distinct.length <= MAX_DUMPS) return distinct;
    const { family, protocol } = distinct[0] as FlowFilter;
    return [
      {
        family,
        ...(protocol === undefined ? {} : { protocol }),
        ...(distinct.every((filter) => filter.translated === true) ? { translated: true } : {}),
      },
    ];
  });
}

/** The request of a dump that brings at least what the filter matches. */
export function dumpRequest(filter: FlowFilter, narrowing: Narrowing): Uint8Array {
  const { family, protocol } = filter;
  const writer = new NetlinkWriter().begin(messageType(IPCTNL_MSG_CT_GET), NLM.request).raw(nfgenmsg(family));
  const original = narrowing.original ? usable(filter, filter.original) : {};
  const reply = narrowing.original && narrowing.reply ? usable(filter, filter.reply) : {};
  const named = narrowing.original && protocol !== undefined ? FILTER_FLAG.protocol : 0;
  const originalFlags = flagsOf(original) | named;
  const replyFlags = flagsOf(reply) === 0 ? 0 : flagsOf(reply) | named;
  if (originalFlags !== 0) writeTuple(writer, CTA_TUPLE_ORIG, family, { ...original, protocol });
  if (replyFlags !== 0) writeTuple(writer, CTA_TUPLE_REPLY, family, { ...reply, protocol });
  if ((originalFlags | replyFlags) !== 0) {
    writer.nest(CTA_FILTER, (w) =>
      w.u32(CTA_FILTER_ORIG_FLAGS, originalFlags).u32(CTA_FILTER_REPLY_FLAGS, replyFlags),
    );
  }
  if (filter.translated === true) writer.u32Be(CTA_STATUS, FLOW_STATUS.destinationNat);
  return writer.finish();
}

/**
 * A question that no flow answers, and that a kernel which reads the reply direction by the flags of the original one
 * refuses ("invalid"): it would miss the destination there.
 */
export function probeRequest(): Uint8Array {
  const nobody = "0.0.0.0" as NonNullable<TupleFilter["source"]>;
  const udp = { family: 4, protocol: IP_PROTOCOL.udp } as const;
  const filter: FlowFilter = { ...udp, original: { destination: nobody }, reply: { source: nobody } };
  return dumpRequest(filter, { original: true, reply: true });
}

/** The parts that the kernel compares rightly. */
function usable({ family, protocol }: FlowFilter, tuple: TupleFilter = {}): TupleFilter {
  const hasPorts = protocol === IP_PROTOCOL.tcp || protocol === IP_PROTOCOL.udp;
  return {
    ...(family === 4 && tuple.source !== undefined ? { source: tuple.source } : {}),
    ...(family === 4 && tuple.destination !== undefined ? { destination: tuple.destination } : {}),
    ...(hasPorts && tuple.sourcePort !== undefined ? { sourcePort: tuple.sourcePort } : {}),
    ...(hasPorts && tuple.destinationPort !== undefined ? { destinationPort: tuple.destinationPort } : {}),
  };
}

function flagsOf(tuple: TupleFilter): number {
  let flags = 0;
  for (const key of ["source", "destination", "sourcePort", "destinationPort"] as const)
    if (tuple[key] !== undefined) flags |= FILTER_FLAG[key];
  return flags;
}
