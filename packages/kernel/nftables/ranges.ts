/**
 * Sets of ranges: `type ipv4_addr; flags interval`. The kernel keeps such a set as edges in one order:
 *
 *     10.0.0.0/24, 10.0.1.0/24      10.0.0.0   10.0.1.0 end   10.0.1.0   10.0.2.0 end
 *
 * A range is its first address and an edge "end" behind its last; one that reaches the highest address has no end.
 * nft puts an end without a beginning at zero. Edges are elements of their own to the kernel: who deletes the first
 * edge of a range by mistake leaves its end, so that ranges are only ever removed as they are read. Pure.
 */
import { type Family, familyOf, ipBytes, ipFromBytes, ipToBigInt, WeftError } from "@weft/base";
import { NetlinkWriter, NLM } from "../netlink/index.ts";
import type { IpRange } from "../port.ts";
import {
  FAMILY_NUMBER,
  messageType,
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFPROTO_UNSPEC,
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWSETELEM,
  NFT_SET_CONCAT,
  NFT_SET_ELEM_INTERVAL_END,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  SUBSYSTEM_NFTABLES,
} from "./constants.ts";
import type { RawElement, SetInfo } from "./decode.ts";
import { describeSet, nfgenmsg, type SetName } from "./transaction.ts";

interface Edge {
  readonly key: Uint8Array;
  readonly end: boolean;
}

/** Edges in one message: an attribute has at most 65,535 bytes, and an edge of IPv6 36. */
const PER_MESSAGE = 1500;

export const rangeText = ({ first, last }: IpRange): string => (first === last ? first : `${first}-${last}`);

/** The family of all ranges. Throws "invalid" when they have several, one ends before it begins, or new ones overlap. */
export function checkRanges(name: SetName, remove: readonly IpRange[], add: readonly IpRange[]): Family {
  const invalid = (message: string): WeftError =>
    new WeftError("invalid", `${describeSet(name)}: ${message}`, { object: describeSet(name) });
  const family = familyOf((remove[0] ?? add[0])?.first ?? "0.0.0.0");
  for (const range of [...remove, ...add]) {
    if (familyOf(range.first) !== family || familyOf(range.last) !== family)
      throw invalid(`${rangeText(range)} is among addresses of the other family`);
    if (ipToBigInt(range.first) > ipToBigInt(range.last))
      throw invalid(`${rangeText(range)} ends before it begins`);
  }
  const overlap = firstOverlap(add);
  if (overlap !== undefined) throw invalid(`${overlap} overlap`);
  return family;
}

/** Throws "unsupported" for a set of anything but ranges of one address, "invalid" for the other family. */
export function checkRangeSet(name: SetName, { flags, keyLength }: SetInfo, family: Family): void {
  const object = describeSet(name);
  if ((flags & NFT_SET_INTERVAL) === 0 || (flags & (NFT_SET_MAP | NFT_SET_CONCAT)) !== 0)
    throw new WeftError("unsupported", `${object} is no set of ranges of one address`, {
      object,
      hint: "Declare it with type ipv4_addr or ipv6_addr, and flags interval.",
    });
  if (keyLength !== (family === 4 ? 4 : 16))
    throw new WeftError("invalid", `${object} has keys of ${keyLength} bytes, which IPv${family} has not`, {
      object,
    });
}

/** True for a range that an edge "end" can follow. */
export const hasEnd = (range: IpRange): boolean => ipBytes(range.last).some((byte) => byte !== 0xff);

/** What a change comes to, given what the set holds. Throws "exists" when a new range overlaps one that stays. */
export function effectOf(
  name: SetName,
  held: readonly IpRange[],
  remove: readonly IpRange[],
  add: readonly IpRange[],
): { readonly remove: IpRange[]; readonly add: IpRange[] } {
  const wanted = new Map(add.map((range) => [rangeText(range), range]));
  const gone = new Set(remove.map(rangeText));
  const going: IpRange[] = [];
  const staying: IpRange[] = [];
  for (const range of held) {
    const text = rangeText(range);
    if (wanted.delete(text) || !gone.has(text)) staying.push(range);
    else going.push(range);
  }
  const overlap = firstOverlap([...staying, ...wanted.values()]);
  if (overlap !== undefined)
    throw new WeftError("exists", `${describeSet(name)}: ${overlap} overlap`, {
      object: describeSet(name),
      hint: "Remove the one that is there in the same call.",
    });
  return { remove: going, add: [...wanted.values()] };
}

/** The ranges that these edges make, in order. */
export function rangesOf(elements: readonly RawElement[]): IpRange[] {
  const edges = elements
    .filter((e) => e.key !== undefined)
    .map((e): Edge => ({ key: e.key as Uint8Array, end: (e.flags & NFT_SET_ELEM_INTERVAL_END) !== 0 }))
    .sort((a, b) => Buffer.compare(a.key, b.key) || Number(b.end) - Number(a.end));
  const found: IpRange[] = [];
  edges.forEach(({ key, end }, i) => {
    if (end) return;
    const next = edges[i + 1];
    const last = next === undefined ? key.map(() => 0xff) : step(next.key, -1);
    found.push({ first: ipFromBytes(key), last: ipFromBytes(last) });
  });
  return found;
}

/**
 * One transaction that removes ranges, which must be there as they are, and then adds others. With `exclusive`, one that
 * is there already, or overlaps what is there, is an error.
 */
export function rangeTransaction(
  name: SetName,
  remove: readonly IpRange[],
  add: readonly IpRange[],
  exclusive: boolean,
): Uint8Array {
  const writer = new NetlinkWriter(64 * (remove.length + add.length) + 1024);
  writer.begin(NFNL_MSG_BATCH_BEGIN, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
  const messages = [
    ...inChunks(remove).map((edges) => ({ edges, message: NFT_MSG_DELSETELEM, flags: 0 })),
    ...inChunks(add).map((edges) => ({
      edges,
      message: NFT_MSG_NEWSETELEM,
      flags: NLM.create | (exclusive ? NLM.excl : 0),
    })),
  ];
  messages.forEach(({ edges, message, flags }, i) => {
    const acknowledge = i === messages.length - 1 ? NLM.ack : 0;
    writer
      .begin(messageType(message), NLM.request | flags | acknowledge)
      .raw(nfgenmsg(FAMILY_NUMBER[name.family]))
      .string(NFTA_SET_ELEM_LIST_TABLE, name.table)
      .string(NFTA_SET_ELEM_LIST_SET, name.set)
      .nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
        for (const edge of edges) writeEdge(list, edge);
      });
  });
  writer.begin(NFNL_MSG_BATCH_END, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
  return writer.finish();
}

function writeEdge(writer: NetlinkWriter, { key, end }: Edge): void {
  writer.nest(NFTA_LIST_ELEM, (element) => {
    element.nest(NFTA_SET_ELEM_KEY, (data) => data.bytes(NFTA_DATA_VALUE, key));
    if (end) element.bytes(NFTA_SET_ELEM_FLAGS, Uint8Array.of(0, 0, 0, NFT_SET_ELEM_INTERVAL_END));
  });
}

function edgesOf(range: IpRange): Edge[] {
  const first = { key: ipBytes(range.first), end: false };
  return hasEnd(range) ? [first, { key: step(ipBytes(range.last), 1), end: true }] : [first];
}

function inChunks(ranges: readonly IpRange[]): Edge[][] {
  const edges = inOrder(ranges).flatMap(({ range }) => edgesOf(range));
  const chunks: Edge[][] = [];
  for (let at = 0; at < edges.length; at += PER_MESSAGE) chunks.push(edges.slice(at, at + PER_MESSAGE));
  return chunks;
}

/** The address before or behind that one. */
function step(key: Uint8Array, by: 1 | -1): Uint8Array {
  const bytes = Uint8Array.from(key);
  for (let i = bytes.length - 1; i >= 0; i--) {
    const byte = (bytes[i] as number) + by;
    bytes[i] = byte & 0xff;
    if (byte >= 0 && byte <= 0xff) break;
  }
  return bytes;
}

interface Placed {
  readonly range: IpRange;
  readonly from: bigint;
  readonly to: bigint;
}
/** "A and B", the first two that share addresses without being the same. */
function firstOverlap(ranges: readonly IpRange[]): string | undefined {
  let before: Placed | undefined;
  for (const placed of inOrder(ranges)) {
    const same = before?.from === placed.from && before.to === placed.to;
    if (before !== undefined && !same && before.to >= placed.from)
      return `${rangeText(before.range)} and ${rangeText(placed.range)}`;
    before = placed;
  }
  return undefined;
}

const inOrder = (ranges: readonly IpRange[]): Placed[] =>
  ranges
    .map((range) => ({ range, from: ipToBigInt(range.first), to: ipToBigInt(range.last) }))
    .sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : a.to < b.to ? -1 : a.to > b.to ? 1 : 0));
