/**
 * Transactions of anything that nftables has: tables, sets, chains, rules and elements, in one nfnetlink batch that takes
 * effect whole or not at all. A transaction is a list of steps, plain data, in the order in which the kernel does them:
 *
 *     {do: "table"}, {do: "delete-table"}, {do: "table"}, {do: "set"}, {do: "chain"}, {do: "rule"}, {do: "add"}
 *
 * makes a table anew with all that is in it, without a moment in which it is not there. Later steps name what earlier ones
 * made. Keys and values are bytes as the kernel has them (layout.ts says how fields become bytes).
 *
 * nft(8) shows what is made here: sets carry nft's own numbers of types, tables and rules a comment, as nft keeps it.
 */
import { WeftError } from "@weft/base";
import { NetlinkWriter, NLM } from "../netlink/index.ts";
import type { NftFamily } from "../port.ts";
import {
  FAMILY_NUMBER,
  hookNumber,
  messageType,
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFPROTO_UNSPEC,
  NFT_DATA_VERDICT_TYPE,
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  NFT_SET_CONCAT,
  NFT_SET_ELEM_INTERVAL_END,
  NFT_SET_EVAL,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
  NFT_SET_TIMEOUT,
  NFTA_CHAIN_HOOK,
  NFTA_CHAIN_NAME,
  NFTA_CHAIN_POLICY,
  NFTA_CHAIN_TABLE,
  NFTA_CHAIN_TYPE,
  NFTA_DATA_VALUE,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_HOOK_HOOKNUM,
  NFTA_HOOK_PRIORITY,
  NFTA_LIST_ELEM,
  NFTA_RULE_CHAIN,
  NFTA_RULE_EXPRESSIONS,
  NFTA_RULE_TABLE,
  NFTA_RULE_USERDATA,
  NFTA_SET_DATA_LEN,
  NFTA_SET_DATA_TYPE,
  NFTA_SET_DESC,
  NFTA_SET_DESC_CONCAT,
  NFTA_SET_DESC_SIZE,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_EXPIRATION,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_KEY_END,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  NFTA_SET_ELEM_TIMEOUT,
  NFTA_SET_FIELD_LEN,
  NFTA_SET_FLAGS,
  NFTA_SET_ID,
  NFTA_SET_KEY_LEN,
  NFTA_SET_KEY_TYPE,
  NFTA_SET_NAME,
  NFTA_SET_TABLE,
  NFTA_TABLE_NAME,
  NFTA_TABLE_USERDATA,
  SUBSYSTEM_NFTABLES,
} from "./constants.ts";
import type { Verdict } from "./decode.ts";
import { type Attribute, type Expression, verdictData } from "./expressions.ts";
import { type ColumnType, columnLength, columnsLength, columnTypeNumber } from "./layout.ts";
import { nfgenmsg } from "./transaction.ts";

export interface SetDeclaration {
  readonly set: string;
  readonly key: readonly ColumnType[];
  /** Values of a map. */
  readonly value?: readonly ColumnType[] | "verdict";
  /** Keys are ranges: of one column, or of any of several. */
  readonly interval?: boolean;
  /** Packets add elements, which expire. */
  readonly dynamic?: boolean;
  /**
   * At most that many elements. The kernel lays out a table for so many at once; without it the table grows, in the
   * background, while a transaction of many elements goes on.
   */
  readonly size?: number;
}

export interface RawElement {
  readonly key: Uint8Array;
  /** End of the range that the key begins, inclusive: in sets of ranges with several columns. */
  readonly keyEnd?: Uint8Array;
  readonly value?: Uint8Array | Verdict;
  /** Where a range of a one-column set ends: the first key behind it. */
  readonly intervalEnd?: boolean;
  /** Milliseconds that it lives each time that it is added or updated. */
  readonly timeout?: number;
  /** Milliseconds that are left of those; default all. */
  readonly expiration?: number;
}

export type NftStep =
  | { readonly do: "table"; readonly comment?: string }
  | { readonly do: "delete-table" }
  | ({ readonly do: "set" } & SetDeclaration)
  | {
      readonly do: "chain";
      readonly chain: string;
      readonly base?: { readonly type: "filter" | "nat"; readonly hook: string; readonly priority: number };
    }
  /** With its rules. */
  | { readonly do: "delete-chain"; readonly chain: string }
  | {
      readonly do: "rule";
      readonly chain: string;
      readonly expressions: readonly Expression[];
      readonly comment?: string;
    }
  /** Fails with "exists" when a map has the key with another value. */
  | { readonly do: "add"; readonly set: string; readonly elements: readonly RawElement[] }
  /** Fails with "not-found" when one is absent. */
  | { readonly do: "delete"; readonly set: string; readonly elements: readonly RawElement[] };

export interface Batch {
  readonly bytes: Uint8Array;
  /** What each message is about, by its index in the batch: `rule balance-2-4` for the error. */
  readonly objects: readonly string[];
}

/** Attributes hold at most 65,535 bytes; the list itself takes 4. */
const MAX_LIST = 0xffff - 4;
/** nft keeps comments as type, length, text with its NUL; user data has at most 256 bytes. */
const COMMENT = 0;
const MAX_COMMENT = 128;

function commentData(text: string): Uint8Array {
  const bytes = Buffer.from(`${text}\0`);
  if (bytes.length > MAX_COMMENT) {
    throw new WeftError(
      "invalid",
      `the comment "${text.slice(0, 32)}..." has more than ${MAX_COMMENT} bytes`,
    );
  }
  return Buffer.concat([Uint8Array.of(COMMENT, bytes.length), bytes]);
}

/** The text of a comment in user data, undefined when there is none or the bytes make no sense. */
export function commentOf(data: Uint8Array | undefined): string | undefined {
  if (data === undefined) return undefined;
  for (let at = 0; at + 2 <= data.length; ) {
    const length = data[at + 1] as number;
    if (at + 2 + length > data.length) return undefined;
    if (data[at] === COMMENT && length > 0)
      return Buffer.from(data.subarray(at + 2, at + 1 + length)).toString();
    at += 2 + length;
  }
  return undefined;
}

/** The batch of these steps on one table. Throws "invalid" for a step that cannot be said. */
export function encodeBatch(family: NftFamily, table: string, steps: readonly NftStep[]): Batch {
  const encoder = new BatchEncoder(family, table, steps);
  return encoder.encode();
}

class BatchEncoder {
  readonly #family: NftFamily;
  readonly #table: string;
  readonly #steps: readonly NftStep[];
  readonly #writer: NetlinkWriter;
  readonly #objects: string[] = [];
  #sets = 0;

  constructor(family: NftFamily, table: string, steps: readonly NftStep[]) {
    this.#family = family;
    this.#table = table;
    this.#steps = steps;
    this.#writer = new NetlinkWriter(1 << 16);
  }

  encode(): Batch {
    const w = this.#writer;
    w.begin(NFNL_MSG_BATCH_BEGIN, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
    this.#objects.push("batch");
    const last = this.#steps.length - 1;
    this.#steps.forEach((step, i) => {
      this.#step(step, i === last);
    });
    w.begin(NFNL_MSG_BATCH_END, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
    return { bytes: w.finish(), objects: this.#objects };
  }

  /** The last message alone is acknowledged: the others answer when they fail. */
  #begin(message: number, object: string, last: boolean): NetlinkWriter {
    this.#objects.push(object);
    const creates =
      message !== NFT_MSG_DELTABLE && message !== NFT_MSG_DELCHAIN && message !== NFT_MSG_DELSETELEM;
    const append = message === NFT_MSG_NEWRULE ? NLM.append : 0;
    const flags = NLM.request | (creates ? NLM.create : 0) | append | (last ? NLM.ack : 0);
    return this.#writer.begin(messageType(message), flags).raw(nfgenmsg(FAMILY_NUMBER[this.#family]));
  }

  #step(step: NftStep, last: boolean): void {
    const table = this.#table;
    switch (step.do) {
      case "table": {
        const w = this.#begin(NFT_MSG_NEWTABLE, "table", last).string(NFTA_TABLE_NAME, table);
        if (step.comment !== undefined) w.bytes(NFTA_TABLE_USERDATA, commentData(step.comment));
        break;
      }
      case "delete-table":
        this.#begin(NFT_MSG_DELTABLE, "table", last).string(NFTA_TABLE_NAME, table);
        break;
      case "set":
        this.#set(step, last);
        break;
      case "chain": {
        const w = this.#begin(NFT_MSG_NEWCHAIN, `chain ${step.chain}`, last)
          .string(NFTA_CHAIN_TABLE, table)
          .string(NFTA_CHAIN_NAME, step.chain);
        const { base } = step;
        if (base === undefined) break;
        w.nest(NFTA_CHAIN_HOOK, (hook) =>
          hook
            .u32Be(NFTA_HOOK_HOOKNUM, hookNumber(this.#family, base.hook))
            .u32Be(NFTA_HOOK_PRIORITY, base.priority >>> 0),
        );
        w.u32Be(NFTA_CHAIN_POLICY, 1).string(NFTA_CHAIN_TYPE, base.type);
        break;
      }
      case "delete-chain":
        this.#begin(NFT_MSG_DELCHAIN, `chain ${step.chain}`, last)
          .string(NFTA_CHAIN_TABLE, table)
          .string(NFTA_CHAIN_NAME, step.chain);
        break;
      case "rule": {
        const object = `rule of ${step.chain}${step.comment === undefined ? "" : ` (${step.comment})`}`;
        const w = this.#begin(NFT_MSG_NEWRULE, object, last)
          .string(NFTA_RULE_TABLE, table)
          .string(NFTA_RULE_CHAIN, step.chain);
        w.nest(NFTA_RULE_EXPRESSIONS, () => {
          for (const { name, data } of step.expressions) {
            w.nest(NFTA_LIST_ELEM, () => {
              w.string(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, () => writeAttributes(w, data));
            });
          }
        });
        if (step.comment !== undefined) w.bytes(NFTA_RULE_USERDATA, commentData(step.comment));
        break;
      }
      case "add":
        this.#elements(NFT_MSG_NEWSETELEM, step.set, step.elements, last);
        break;
      case "delete":
        this.#elements(NFT_MSG_DELSETELEM, step.set, step.elements, last);
        break;
    }
  }

  #set({ set, key, value, interval = false, dynamic = false, size }: SetDeclaration, last: boolean): void {
    const isConcat = key.length > 1;
    let flags = isConcat && interval ? NFT_SET_CONCAT : 0;
    if (interval) flags |= NFT_SET_INTERVAL;
    if (value !== undefined) flags |= NFT_SET_MAP;
    if (dynamic) flags |= NFT_SET_TIMEOUT | NFT_SET_EVAL;
    const w = this.#begin(NFT_MSG_NEWSET, `set ${set}`, last)
      .string(NFTA_SET_TABLE, this.#table)
      .string(NFTA_SET_NAME, set)
      .u32Be(NFTA_SET_ID, ++this.#sets)
      .u32Be(NFTA_SET_FLAGS, flags)
      .u32Be(NFTA_SET_KEY_TYPE, columnTypeNumber(key))
      .u32Be(NFTA_SET_KEY_LEN, columnsLength(key));
    if (value === "verdict") {
      w.u32Be(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT_TYPE).u32Be(NFTA_SET_DATA_LEN, 0);
    } else if (value !== undefined) {
      w.u32Be(NFTA_SET_DATA_TYPE, columnTypeNumber(value)).u32Be(NFTA_SET_DATA_LEN, columnsLength(value));
    }
    if (size === undefined && !(interval && isConcat)) return;
    w.nest(NFTA_SET_DESC, () => {
      if (size !== undefined) w.u32Be(NFTA_SET_DESC_SIZE, size);
      if (!interval || !isConcat) return;
      w.nest(NFTA_SET_DESC_CONCAT, () => {
        for (const column of key)
          w.nest(NFTA_LIST_ELEM, () => w.u32Be(NFTA_SET_FIELD_LEN, columnLength(column)));
      });
    });
  }

  #elements(message: number, set: string, elements: readonly RawElement[], last: boolean): void {
    const w = this.#writer;
    if (elements.length === 0) throw new WeftError("invalid", `no elements for set ${set}`);
    for (let at = 0; at < elements.length; ) {
      let end = at;
      for (let size = 0; end < elements.length; end++) {
        size += elementSize(elements[end] as RawElement);
        if (size > MAX_LIST) break;
      }
      this.#begin(message, `set ${set}`, last && end === elements.length)
        .string(NFTA_SET_ELEM_LIST_TABLE, this.#table)
        .string(NFTA_SET_ELEM_LIST_SET, set);
      const list = w.open(NFTA_SET_ELEM_LIST_ELEMENTS);
      for (; at < end; at++) writeElement(w, elements[at] as RawElement, message === NFT_MSG_NEWSETELEM);
      w.close(list);
    }
  }
}

const padded = (length: number): number => (length + 3) & ~3;
function elementSize({ key, keyEnd, value, intervalEnd, timeout, expiration }: RawElement): number {
  let size = 4 + 8 + padded(key.length);
  if (keyEnd !== undefined) size += 8 + padded(keyEnd.length);
  if (intervalEnd === true) size += 8;
  if (timeout !== undefined) size += 12;
  if (expiration !== undefined) size += 12;
  if (value instanceof Uint8Array) size += 8 + padded(value.length);
  else if (value !== undefined)
    size += 20 + (value.chain === undefined ? 0 : 5 + padded(value.chain.length + 3));
  return size;
}

function writeElement(w: NetlinkWriter, element: RawElement, adds: boolean): void {
  const { key, keyEnd, value, intervalEnd, timeout, expiration } = element;
  const start = w.open(NFTA_LIST_ELEM);
  writeData(w, NFTA_SET_ELEM_KEY, key);
  if (keyEnd !== undefined) writeData(w, NFTA_SET_ELEM_KEY_END, keyEnd);
  if (intervalEnd === true) w.u32Be(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  if (adds && timeout !== undefined) w.u64Be(NFTA_SET_ELEM_TIMEOUT, BigInt(timeout));
  if (adds && expiration !== undefined) w.u64Be(NFTA_SET_ELEM_EXPIRATION, BigInt(expiration));
  if (adds && value instanceof Uint8Array) writeData(w, NFTA_SET_ELEM_DATA, value);
  else if (adds && value !== undefined) {
    w.nest(NFTA_SET_ELEM_DATA, () => writeAttributes(w, [verdictData(value as Verdict)]));
  }
  w.close(start);
}

function writeData(w: NetlinkWriter, type: number, bytes: Uint8Array): void {
  const start = w.open(type);
  w.bytes(NFTA_DATA_VALUE, bytes);
  w.close(start);
}

function writeAttributes(w: NetlinkWriter, data: readonly Attribute[]): void {
  for (const attribute of data) {
    switch (attribute[1]) {
      case "u8":
        w.u8(attribute[0], attribute[2]);
        break;
      case "u32":
        w.u32Be(attribute[0], attribute[2]);
        break;
      case "u64":
        w.u64Be(attribute[0], attribute[2]);
        break;
      case "string":
        w.string(attribute[0], attribute[2]);
        break;
      case "bytes":
        w.bytes(attribute[0], attribute[2]);
        break;
      case "nest":
        w.nest(attribute[0], () => writeAttributes(w, attribute[2]));
        break;
    }
  }
}
