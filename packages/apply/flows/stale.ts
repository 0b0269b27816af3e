/**
 * Which flows of connection tracking a change of a frontend leaves stale. A flow keeps the backend that its first packet
 * was given for as long as it lives, and a client that sends UDP from one port keeps its flow alive by itself:
 *
 *     a backend left                       translated flows of the frontend to that backend: they lead nowhere
 *     no backend is left, or no frontend   all translated flows of the frontend
 *     the first backend came               untranslated flows to the frontend: no packet of theirs would be translated
 *
 * UDP and SCTP: always. TCP: a client whose backend left hears of it by its own timeouts, unless connections are to be
 * reset. Then their flows go as well: the next packet of the client is a new flow, the backend that it comes to knows no
 * such connection and answers by a reset. (With net.netfilter.nf_conntrack_tcp_loose = 0 it is invalid instead, and the
 * client waits.) Of untranslated TCP, only what never had an answer goes: SYNs that would be sent again in vain.
 *
 * Two rows of one match, scope "outside" and "any", are two frontends to those who connect: each source meets one of them.
 * What changes for both is one filter; what changes for one says which sources it means.
 */
import type { IpAddress, Prefix } from "@weft/base";
import { type FlowFilter, IP_PROTOCOL } from "@weft/kernel/port";
import type { Backend, FrontendMatch, FrontendRow } from "@weft/model";

/** The rows of one match. */
export interface Frontend {
  readonly any: FrontendRow | undefined;
  /** What sources outside of this node meet, where it is not the same. */
  readonly outside: FrontendRow | undefined;
}

export interface FlowContext {
  /** What "node" stands for. */
  readonly nodePortAddresses: readonly IpAddress[];
  /** This node's pods and its own addresses: sources that are not outside. */
  readonly inside: readonly Prefix[];
  /** Whether TCP connections are reset when their backend leaves. */
  readonly resetConnections: boolean;
  /** Backends that take no new connections any more and still serve those they have: their flows stay. */
  readonly draining?: (row: FrontendRow, backend: Backend) => boolean;
}

export const NO_FRONTEND: Frontend = { any: undefined, outside: undefined };

/** Addresses that a match stands for. */
export const addressesOf = (
  { address, family }: FrontendMatch,
  { nodePortAddresses }: FlowContext,
): IpAddress[] =>
  address === "node" ? nodePortAddresses.filter((ip) => ip.includes(":") === (family === 6)) : [address];

/** The row that sources of one side meet. */
export const rowFor = (side: "inside" | "outside", { any, outside }: Frontend): FrontendRow | undefined =>
  side === "outside" ? (outside ?? any) : any;

/** Backends that a row leads to; none when there is no row, or it refuses. */
export const backendsOf = (row: FrontendRow | undefined): readonly Backend[] =>
  row?.action === "balance" ? row.backends : [];

export const backendKey = ({ ip, port }: Backend): string => `${ip} ${port}`;

/**
 * Filters of the flows that are stale once `after` stands in the kernel where `before` did, each once. `interrupted`:
 * in between there was no backend for a while.
 */
export function staleFlows(
  match: FrontendMatch,
  before: Frontend,
  after: Frontend,
  context: FlowContext,
  interrupted = false,
): FlowFilter[] {
  const changes = (side: "inside" | "outside"): Map<string, FlowFilter> =>
    new Map(
      changesOf(match, rowFor(side, before), rowFor(side, after), context, interrupted).map((filter) => [
        JSON.stringify(filter),
        filter,
      ]),
    );
  const inside = changes("inside");
  const outside = changes("outside");
  const only = (own: ReadonlyMap<string, FlowFilter>, other: ReadonlyMap<string, FlowFilter>): FlowFilter[] =>
    [...own].flatMap(([key, filter]) => (other.has(key) ? [] : [filter]));
  return [
    ...[...inside].flatMap(([key, filter]) => (outside.has(key) ? [filter] : [])),
    ...only(inside, outside).map((filter) => ({
      ...filter,
      from: { inside: true, prefixes: context.inside },
    })),
    ...only(outside, inside).map((filter) => ({
      ...filter,
      from: { inside: false, prefixes: context.inside },
    })),
  ];
}

function changesOf(
  match: FrontendMatch,
  before: FrontendRow | undefined,
  after: FrontendRow | undefined,
  context: FlowContext,
  interrupted: boolean,
): FlowFilter[] {
  const had = backendsOf(before);
  const has = backendsOf(after);
  const isTcp = match.protocol === "tcp";
  const parts: Omit<FlowFilter, "family" | "protocol" | "original">[] = [];
  if (has.length > 0 && (had.length === 0 || interrupted))
    parts.push({ translated: false, ...(isTcp ? { replied: false } : {}) });
  if (!isTcp || context.resetConnections) {
    const kept = new Set(has.map(backendKey));
    const left = had.filter((backend) => !kept.has(backendKey(backend)));
    const gone = left.filter(
      (backend) => before === undefined || context.draining?.(before, backend) !== true,
    );
    if (has.length === 0 && gone.length > 0 && gone.length === left.length) parts.push({ translated: true });
    else
      parts.push(
        ...gone.map(({ ip, port }) => ({ translated: true, reply: { source: ip, sourcePort: port } })),
      );
  }
  return addressesOf(match, context).flatMap((destination) =>
    parts.map((part) => ({
      family: match.family,
      protocol: IP_PROTOCOL[match.protocol],
      original: { destination, destinationPort: match.port },
      ...part,
    })),
  );
}
