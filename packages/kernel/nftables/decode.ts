/**
 * Decodes what the kernel's dumps say of tables, sets, chains, rules and elements. Malformed bytes give WeftError
 * "invalid".
 */
import { WeftError } from "@weft/base";
import { Attributes, type NetlinkMessage, NLA } from "../netlink/index.ts";
import type { BaseChain, NftFamily } from "../port.ts";
import { type RawElement as BatchElement, commentOf } from "./batch.ts";
import {
  familyName,
  hookName,
  NF_ACCEPT,
  NF_DROP,
  NFT_GOTO,
  NFT_JUMP,
  NFT_SET_ELEM_INTERVAL_END,
  NFTA_CHAIN_HOOK,
  NFTA_CHAIN_NAME,
  NFTA_CHAIN_POLICY,
  NFTA_CHAIN_TABLE,
  NFTA_CHAIN_TYPE,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_GEN_ID,
  NFTA_HOOK_HOOKNUM,
  NFTA_HOOK_PRIORITY,
  NFTA_IMMEDIATE_DATA,
  NFTA_LIST_ELEM,
  NFTA_LOOKUP_DREG,
  NFTA_LOOKUP_SET,
  NFTA_RULE_CHAIN,
  NFTA_RULE_EXPRESSIONS,
  NFTA_RULE_USERDATA,
  NFTA_SET_COUNT,
  NFTA_SET_DATA_LEN,
  NFTA_SET_DATA_TYPE,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_EXPIRATION,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_KEY_END,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_TIMEOUT,
  NFTA_SET_FLAGS,
  NFTA_SET_KEY_LEN,
  NFTA_SET_NAME,
  NFTA_TABLE_FLAGS,
  NFTA_TABLE_NAME,
  NFTA_TABLE_USERDATA,
  NFTA_TARGET_NAME,
  NFTA_VERDICT_CHAIN,
  NFTA_VERDICT_CODE,
} from "./constants.ts";

const HEADER = 4; // struct nfgenmsg

const malformed = (why: string): WeftError => new WeftError("invalid", `malformed nftables message: ${why}`);

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw malformed(`it has no ${what}`);
  return value;
}

const familyOfMessage = (message: NetlinkMessage): NftFamily =>
  familyName(required(message.payload[0], "header"));

/** Lower 16 bits of the ruleset's generation when the message was made: the same in all of an unbroken dump. */
export function generationOf({ payload }: NetlinkMessage): number {
  if (payload.length < HEADER) throw malformed("it has no header");
  return ((payload[2] as number) << 8) | (payload[3] as number);
}

export interface TableInfo {
  readonly family: NftFamily;
  readonly table: string;
  readonly flags: number;
  readonly comment: string | undefined;
}

export function decodeTable(message: NetlinkMessage): TableInfo {
  const a = new Attributes(message.payload, HEADER);
  return {
    family: familyOfMessage(message),
    table: required(a.string(NFTA_TABLE_NAME), "table name"),
    flags: a.u32Be(NFTA_TABLE_FLAGS) ?? 0,
    comment: commentOf(a.bytes(NFTA_TABLE_USERDATA)),
  };
}

export interface ChainInfo {
  readonly table: string;
  readonly chain: string;
  readonly base: BaseChain | undefined;
}

export function decodeChain(message: NetlinkMessage): ChainInfo {
  const a = new Attributes(message.payload, HEADER);
  return {
    table: required(a.string(NFTA_CHAIN_TABLE), "table name"),
    chain: required(a.string(NFTA_CHAIN_NAME), "chain name"),
    base: decodeBaseChain(message),
  };
}

/** Generation of the ruleset: the answer to NFT_MSG_GETGEN. */
export const decodeGeneration = ({ payload }: NetlinkMessage): number =>
  required(new Attributes(payload, HEADER).u32Be(NFTA_GEN_ID), "generation");

/** A chain, undefined when it is no base chain. */
export function decodeBaseChain(message: NetlinkMessage): BaseChain | undefined {
  const a = new Attributes(message.payload, HEADER);
  const hook = a.nested(NFTA_CHAIN_HOOK);
  if (hook === undefined) return undefined;
  const family = familyOfMessage(message);
  const policy = a.u32Be(NFTA_CHAIN_POLICY);
  return {
    family,
    table: required(a.string(NFTA_CHAIN_TABLE), "table name"),
    name: required(a.string(NFTA_CHAIN_NAME), "chain name"),
    type: required(a.string(NFTA_CHAIN_TYPE), "chain type"),
    hook: hookName(family, required(hook.u32Be(NFTA_HOOK_HOOKNUM), "hook number")),
    priority: required(hook.i32Be(NFTA_HOOK_PRIORITY), "priority"),
    policy: policy === NF_DROP ? "drop" : policy === NF_ACCEPT ? "accept" : undefined,
  };
}

export interface SetInfo {
  readonly flags: number;
  /** Bytes of a key. */
  readonly keyLength: number;
  readonly dataType: number | undefined;
  readonly dataLength: number | undefined;
}

export function decodeSet(message: NetlinkMessage): SetInfo {
  const a = new Attributes(message.payload, HEADER);
  return {
    flags: a.u32Be(NFTA_SET_FLAGS) ?? 0,
    keyLength: required(a.u32Be(NFTA_SET_KEY_LEN), "key length"),
    dataType: a.u32Be(NFTA_SET_DATA_TYPE),
    dataLength: a.u32Be(NFTA_SET_DATA_LEN),
  };
}

/** Name of a set, and how many elements it has if the kernel tells. */
export function decodeSetSize({ payload }: NetlinkMessage): { set: string; size: number | undefined } {
  const a = new Attributes(payload, HEADER);
  return { set: required(a.string(NFTA_SET_NAME), "set name"), size: a.u32Be(NFTA_SET_COUNT) };
}

/** What an element's value or a rule's immediate expression says to do with a packet. */
export interface Verdict {
  readonly code: number;
  /** Chain to go on in, for NFT_JUMP and NFT_GOTO. */
  readonly chain: string | undefined;
}

export interface RawElement {
  /** Absent in the element that stands for all keys not in the set. */
  readonly key: Uint8Array | undefined;
  /** End of the range that the key begins. */
  readonly keyEnd: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
  readonly verdict: Verdict | undefined;
  readonly flags: number;
}

function decodeVerdict(data: Attributes | undefined): Verdict | undefined {
  const verdict = data?.nested(NFTA_DATA_VERDICT);
  if (verdict === undefined) return undefined;
  const code = required(verdict.i32Be(NFTA_VERDICT_CODE), "verdict code");
  const jumps = code === NFT_JUMP || code === NFT_GOTO;
  return {
    code,
    chain: jumps ? required(verdict.string(NFTA_VERDICT_CHAIN), "chain to jump to") : undefined,
  };
}

/** The elements of one message of a set's dump. */
export function decodeElements(message: NetlinkMessage): RawElement[] {
  const list = new Attributes(message.payload, HEADER).nested(NFTA_SET_ELEM_LIST_ELEMENTS);
  const elements: RawElement[] = [];
  for (const { type, value } of list?.all ?? []) {
    if (type !== NFTA_LIST_ELEM) continue;
    const a = new Attributes(value);
    const data = a.nested(NFTA_SET_ELEM_DATA);
    elements.push({
      key: a.nested(NFTA_SET_ELEM_KEY)?.bytes(NFTA_DATA_VALUE),
      keyEnd: a.nested(NFTA_SET_ELEM_KEY_END)?.bytes(NFTA_DATA_VALUE),
      value: data?.bytes(NFTA_DATA_VALUE),
      verdict: decodeVerdict(data),
      flags: a.u32Be(NFTA_SET_ELEM_FLAGS) ?? 0,
    });
  }
  return elements;
}

const malformedElement = (): WeftError => malformed("an element does not fit it");

/**
 * The elements of one message of a set's dump as bytes, for sets of hundreds of thousands: one walk through the bytes and no
 * objects but the result's. Keys and values are copies.
 */
export function decodeRawElements({ payload }: NetlinkMessage): BatchElement[] {
  if (payload.length < HEADER) throw malformed("it has no header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const elements: BatchElement[] = [];
  each(view, HEADER, payload.length, (type, from, to) => {
    if (type !== NFTA_SET_ELEM_LIST_ELEMENTS) return;
    each(view, from, to, (inner, at, end) => {
      if (inner === NFTA_LIST_ELEM) elements.push(decodeRawElement(view, at, end));
    });
  });
  return elements;
}

function decodeRawElement(view: DataView, from: number, to: number): BatchElement {
  let key: Uint8Array | undefined;
  let keyEnd: Uint8Array | undefined;
  let value: Uint8Array | Verdict | undefined;
  let flags = 0;
  let timeout: number | undefined;
  let expiration: number | undefined;
  each(view, from, to, (type, at, end) => {
    if (type === NFTA_SET_ELEM_KEY) key = dataOf(view, at, end);
    else if (type === NFTA_SET_ELEM_KEY_END) keyEnd = dataOf(view, at, end);
    else if (type === NFTA_SET_ELEM_DATA) value = dataOf(view, at, end) ?? rawVerdict(view, at, end);
    else if (type === NFTA_SET_ELEM_FLAGS && end - at === 4) flags = view.getUint32(at);
    else if (type === NFTA_SET_ELEM_TIMEOUT && end - at === 8) timeout = Number(view.getBigUint64(at));
    else if (type === NFTA_SET_ELEM_EXPIRATION && end - at === 8) expiration = Number(view.getBigUint64(at));
  });
  if (key === undefined) throw malformed("an element has no key");
  return {
    key,
    ...(keyEnd === undefined ? {} : { keyEnd }),
    ...(value === undefined ? {} : { value }),
    ...((flags & NFT_SET_ELEM_INTERVAL_END) === 0 ? {} : { intervalEnd: true }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(expiration === undefined ? {} : { expiration }),
  };
}

/** The bytes in nft_data, undefined when it is a verdict. */
function dataOf(view: DataView, from: number, to: number): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  each(view, from, to, (type, at, end) => {
    if (type === NFTA_DATA_VALUE)
      found = new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at, end - at).slice();
  });
  return found;
}

const rawVerdict = (view: DataView, from: number, to: number): Verdict | undefined =>
  decodeVerdict(
    new Attributes(new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + from, to - from)),
  );

/** Calls `visit` with the type and the place of the value of each attribute from `from` to `to`. */
function each(
  view: DataView,
  from: number,
  to: number,
  visit: (type: number, at: number, end: number) => void,
): void {
  for (let at = from; at < to; ) {
    if (to - at < 4) throw malformedElement();
    const length = view.getUint16(at, true);
    if (length < 4 || length > to - at) throw malformedElement();
    visit(view.getUint16(at + 2, true) & NLA.typeMask, at + 4, at + length);
    at += (length + 3) & ~3;
  }
}

/** Chain and comment of a rule. */
export function decodeRuleComment({ payload }: NetlinkMessage): {
  chain: string;
  comment: string | undefined;
} {
  const a = new Attributes(payload, HEADER);
  return {
    chain: required(a.string(NFTA_RULE_CHAIN), "chain name"),
    comment: commentOf(a.bytes(NFTA_RULE_USERDATA)),
  };
}

/** What a rule can lead to. */
export interface RuleOutcome {
  readonly chain: string;
  readonly drops: boolean;
  /** Chains that it jumps or goes to. */
  readonly jumps: readonly string[];
  /** Sets that map keys to verdicts. */
  readonly verdictMaps: readonly string[];
}

/** Targets of iptables-nft that it cannot say in nftables' own expressions. */
const DROPPING_TARGETS = new Set(["DROP", "REJECT", "TARPIT"]);

export function decodeRule(message: NetlinkMessage): RuleOutcome {
  const a = new Attributes(message.payload, HEADER);
  let drops = false;
  const jumps: string[] = [];
  const verdictMaps: string[] = [];
  for (const { type, value } of a.nested(NFTA_RULE_EXPRESSIONS)?.all ?? []) {
    if (type !== NFTA_LIST_ELEM) continue;
    const expression = new Attributes(value);
    const data = expression.nested(NFTA_EXPR_DATA);
    switch (required(expression.string(NFTA_EXPR_NAME), "expression name")) {
      case "immediate": {
        const verdict = decodeVerdict(data?.nested(NFTA_IMMEDIATE_DATA));
        if (verdict?.code === NF_DROP) drops = true;
        if (verdict?.chain !== undefined) jumps.push(verdict.chain);
        break;
      }
      case "reject":
        drops = true;
        break;
      case "target":
        if (DROPPING_TARGETS.has(data?.string(NFTA_TARGET_NAME) ?? "")) drops = true;
        break;
      case "lookup":
        // Register 0 is the verdict.
        if (data?.u32Be(NFTA_LOOKUP_DREG) === 0) {
          verdictMaps.push(required(data.string(NFTA_LOOKUP_SET), "set name"));
        }
        break;
    }
  }
  return { chain: required(a.string(NFTA_RULE_CHAIN), "chain name"), drops, jumps, verdictMaps };
}
