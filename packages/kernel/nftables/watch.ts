/**
 * Watching a namespace's rulesets: the group NFNLGRP_NFTABLES, on which the kernel repeats what a transaction has done,
 * one message an object, after it has come into force (net/netfilter/nf_tables_api.c, nf_tables_commit). Each message
 * is of the form of the request: struct nfgenmsg with the family, then attributes, of which the first names the
 * table. The last one of a transaction, NFT_MSG_NEWGEN, is of none.
 *
 * Whoever listens wants to know which tables changed and not how: a transaction of 10,000 elements is one event.
 * The queue is small on purpose. What does not fit is "some tables", and comparing one's own is cheap.
 */
import { WeftError } from "@weft/base";
import { Attributes, NETLINK, type NetlinkMessage } from "../netlink/index.ts";
import { watchMulticast } from "../netlink/multicast.ts";
import type { KernelEvent } from "../port.ts";
import { familyName, NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES } from "./constants.ts";

const NFNLGRP_NFTABLES = 7;
const NFT_MSG_NEWGEN = 15;
/** Messages of packets that are traced, not of changes; they have a group of their own. */
const NFT_MSG_TRACE = 17;
/** NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE and so on: the first attribute of each. */
const NFTA_TABLE = 1;
/** struct nfgenmsg: family u8, version u8, resource id u16. */
const HEADER = 4;
const RECEIVE_BUFFER = 1 << 18;

export type NftablesEvent = Extract<KernelEvent, { readonly kind: "nftables" }>;

/** Events of tables of that namespace until the returned function is called. */
export function watchNftables(
  namespace: { readonly fd: number },
  listener: (event: NftablesEvent) => void,
  receiveBuffer = RECEIVE_BUFFER,
): () => void {
  return watchMulticast<NftablesEvent>({
    namespace: namespace.fd,
    protocol: NETLINK.netfilter,
    groups: 1 << (NFNLGRP_NFTABLES - 1),
    allNamespaces: false,
    receiveBuffer,
    decode: decodeChanges,
    listener,
    lost: { kind: "nftables", family: undefined, table: undefined },
  });
}

/** The tables that these messages are of, each once. Throws "invalid". */
export function decodeChanges(messages: readonly NetlinkMessage[]): NftablesEvent[] {
  const events = new Map<string, NftablesEvent>();
  for (const { type, payload } of messages) {
    const number = type & 0xff;
    if (type >> 8 !== SUBSYSTEM_NFTABLES || number === NFT_MSG_NEWGEN || number === NFT_MSG_TRACE) continue;
    const table = new Attributes(payload, HEADER).string(NFTA_TABLE);
    if (table === undefined || table === "" || payload[0] === NFPROTO_UNSPEC) {
      throw new WeftError("invalid", `nftables message ${number} names no table`);
    }
    const family = familyName(payload[0] as number);
    events.set(`${family} ${table}`, { kind: "nftables", family, table });
  }
  return [...events.values()];
}
