/**
 * Numbers of nf_tables' netlink interface (include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h), those
 * that this package speaks. A message's type is the subsystem (10, nftables) in the upper byte and the message
 * number in the lower; every message begins with struct nfgenmsg: family, version 0, and a big-endian resource
 * id. Integers in attributes are big-endian, unlike rtnetlink's.
 */
import { WeftError } from "@weft/base";
import type { NftFamily } from "../port.ts";

export const SUBSYSTEM_NFTABLES = 10;

export const NFNL_MSG_BATCH_BEGIN = 0x10;
export const NFNL_MSG_BATCH_END = 0x11;

export const NFT_MSG_GETTABLE = 1;
export const NFT_MSG_GETCHAIN = 4;
export const NFT_MSG_GETRULE = 7;
export const NFT_MSG_GETSET = 10;
export const NFT_MSG_NEWSETELEM = 12;
export const NFT_MSG_GETSETELEM = 13;
export const NFT_MSG_DELSETELEM = 14;
/** Linux 6.3 and later: like DELSETELEM, but an absent element is no error. */
export const NFT_MSG_DESTROYSETELEM = 30;

/** Type field of the netlink header of an nftables message. */
export const messageType = (message: number): number => (SUBSYSTEM_NFTABLES << 8) | message;

export const NFTA_LIST_ELEM = 1;

export const NFTA_TABLE_NAME = 1;
export const NFTA_TABLE_FLAGS = 2;
/** The table's base chains are not registered: nothing in it sees a packet. */
export const NFT_TABLE_F_DORMANT = 1;

export const NFTA_CHAIN_TABLE = 1;
export const NFTA_CHAIN_NAME = 3;
export const NFTA_CHAIN_HOOK = 4;
export const NFTA_CHAIN_POLICY = 5;
export const NFTA_CHAIN_TYPE = 7;
export const NFTA_HOOK_HOOKNUM = 1;
export const NFTA_HOOK_PRIORITY = 2;

export const NFTA_RULE_TABLE = 1;
export const NFTA_RULE_CHAIN = 2;
export const NFTA_RULE_EXPRESSIONS = 4;
export const NFTA_EXPR_NAME = 1;
export const NFTA_EXPR_DATA = 2;
export const NFTA_IMMEDIATE_DATA = 2;
export const NFTA_LOOKUP_SET = 1;
export const NFTA_LOOKUP_DREG = 3;
/** Compatibility expression of iptables-nft: name of an xtables target. */
export const NFTA_TARGET_NAME = 1;

export const NFTA_DATA_VALUE = 1;
export const NFTA_DATA_VERDICT = 2;
export const NFTA_VERDICT_CODE = 1;
export const NFTA_VERDICT_CHAIN = 2;

export const NF_DROP = 0;
export const NF_ACCEPT = 1;
export const NFT_JUMP = -3;
export const NFT_GOTO = -4;

export const NFTA_SET_TABLE = 1;
export const NFTA_SET_NAME = 2;
export const NFTA_SET_FLAGS = 3;
export const NFTA_SET_KEY_LEN = 5;
export const NFTA_SET_DATA_TYPE = 6;
export const NFTA_SET_DATA_LEN = 7;
export const NFT_SET_INTERVAL = 0x4;
export const NFT_SET_MAP = 0x8;
export const NFT_SET_OBJECT = 0x40;
export const NFT_SET_CONCAT = 0x80;
export const NFT_DATA_VERDICT_TYPE = 0xffffff00;

export const NFTA_SET_ELEM_LIST_TABLE = 1;
export const NFTA_SET_ELEM_LIST_SET = 2;
export const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_SET_ELEM_KEY = 1;
export const NFTA_SET_ELEM_DATA = 2;
export const NFTA_SET_ELEM_FLAGS = 3;
export const NFT_SET_ELEM_INTERVAL_END = 0x1;
export const NFT_SET_ELEM_CATCHALL = 0x2;
export const NFTA_SET_ELEM_KEY_END = 10;

/** Netfilter's protocol family numbers (NFPROTO_*). */
export const FAMILY_NUMBER: Readonly<Record<NftFamily, number>> = {
  inet: 1,
  ip: 2,
  arp: 3,
  netdev: 5,
  bridge: 7,
  ip6: 10,
};

export const NFPROTO_UNSPEC = 0;

/** Name of a netfilter family number. Throws "invalid". */
export function familyName(number: number): NftFamily {
  for (const [name, value] of Object.entries(FAMILY_NUMBER)) if (value === number) return name as NftFamily;
  throw new WeftError("invalid", `${number} is no family of nftables`);
}

const INET_HOOKS = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
const HOOKS: Readonly<Record<NftFamily, readonly string[]>> = {
  inet: INET_HOOKS,
  ip: INET_HOOKS,
  ip6: INET_HOOKS,
  bridge: INET_HOOKS.slice(0, 5),
  arp: ["input", "output", "forward"],
  netdev: ["ingress", "egress"],
};

/** Name of a hook: the same number means different hooks in different families. Throws "invalid". */
export function hookName(family: NftFamily, number: number): string {
  const name = HOOKS[family][number];
  if (name === undefined) throw new WeftError("invalid", `family ${family} has no hook number ${number}`);
  return name;
}
