/**
 * Builds nfnetlink transactions that change the elements of a set. A transaction is one datagram
 *
 *     NFNL_MSG_BATCH_BEGIN | message | message | ... | NFNL_MSG_BATCH_END
 *
 * and takes effect whole or not at all. Each message carries a list of elements in one attribute; an attribute
 * holds at most 65,535 bytes, so that some 2,000 elements fit into a message and any number of messages into
 * a transaction. Only the last message asks for an acknowledgement: the others answer when they fail.
 */
import { WeftError } from "@weft/base";
import { NetlinkWriter, NLM } from "../netlink/index.ts";
import type { NftFamily, SetElement } from "../port.ts";
import {
  FAMILY_NUMBER,
  messageType,
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFPROTO_UNSPEC,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DESTROYSETELEM,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWSETELEM,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  SUBSYSTEM_NFTABLES,
} from "./constants.ts";
import { encodeFields, type Layout, layoutOfFields } from "./layout.ts";

export interface SetName {
  readonly family: NftFamily;
  readonly table: string;
  readonly set: string;
}

/** "replace" destroys each key and adds it anew, in the same transaction. */
export type ElementOperation = "add" | "delete" | "destroy" | "replace";

export interface ElementLayout {
  readonly key: Layout;
  readonly value: Layout | undefined;
}

const MAX_ATTRIBUTE = 0xffff;
/** Room for the batch's begin and end and for the names in each message. */
const MESSAGE_OVERHEAD = 512;

const MESSAGES: Readonly<Record<ElementOperation, readonly number[]>> = {
  add: [NFT_MSG_NEWSETELEM],
  delete: [NFT_MSG_DELSETELEM],
  destroy: [NFT_MSG_DESTROYSETELEM],
  replace: [NFT_MSG_DESTROYSETELEM, NFT_MSG_NEWSETELEM],
};

/** struct nfgenmsg. `resource` is the subsystem in batch messages and 0 in others. */
export function nfgenmsg(family: number, resource = 0): Uint8Array {
  return Uint8Array.of(family, 0, resource >> 8, resource & 0xff);
}

/** The layout of the elements, which is that of the first. Throws "invalid". */
export function layoutOfElements(elements: readonly SetElement[]): ElementLayout {
  const first = elements[0];
  if (first === undefined) throw new WeftError("invalid", "there are no elements");
  return {
    key: layoutOfFields(first.key),
    value: first.value === undefined ? undefined : layoutOfFields(first.value),
  };
}

/**
 * The transactions, in order, that do `operation` with all elements: one, unless it had more than `maxBytes`.
 * Throws "invalid" when an element does not fit the layout.
 */
export function* elementTransactions(
  name: SetName,
  operation: ElementOperation,
  layout: ElementLayout,
  elements: readonly SetElement[],
  maxBytes: number,
): Generator<Uint8Array> {
  const messages = MESSAGES[operation];
  const size = elementSize(layout);
  const perMessage = Math.floor((MAX_ATTRIBUTE - 4) / size);
  const bytesPerElement = messages.length * (size + MESSAGE_OVERHEAD / perMessage);
  const perTransaction = Math.max(1, Math.floor((maxBytes - 2 * MESSAGE_OVERHEAD) / bytesPerElement));
  for (let from = 0; from < elements.length; from += perTransaction) {
    const to = Math.min(elements.length, from + perTransaction);
    const writer = new NetlinkWriter(Math.ceil((to - from) * bytesPerElement) + 2 * MESSAGE_OVERHEAD);
    writer.begin(NFNL_MSG_BATCH_BEGIN, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
    for (const message of messages) {
      for (let at = from; at < to; at += perMessage) {
        const end = Math.min(to, at + perMessage);
        const last = end === to && message === messages.at(-1);
        writeElements(writer, name, message, last, layout, elements, at, end);
      }
    }
    writer.begin(NFNL_MSG_BATCH_END, NLM.request).raw(nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM_NFTABLES));
    yield writer.finish();
  }
}

/** The question whether a set has an element: NFT_MSG_GETSETELEM, not as a dump. */
export function elementRequest(name: SetName, layout: ElementLayout, element: SetElement): Uint8Array {
  const key = Buffer.alloc(layout.key.length);
  encodeFields(layout.key, element.key, key, 0);
  const writer = new NetlinkWriter()
    .begin(messageType(NFT_MSG_GETSETELEM), 0)
    .raw(nfgenmsg(FAMILY_NUMBER[name.family]))
    .string(NFTA_SET_ELEM_LIST_TABLE, name.table)
    .string(NFTA_SET_ELEM_LIST_SET, name.set);
  const list = writer.open(NFTA_SET_ELEM_LIST_ELEMENTS);
  const start = writer.open(NFTA_LIST_ELEM);
  writeData(writer, NFTA_SET_ELEM_KEY, key);
  writer.close(start);
  writer.close(list);
  return writer.finish();
}

/** Bytes of an element in a message: headers of the element, of the key and of its bytes; the same for the value. */
function elementSize({ key, value }: ElementLayout): number {
  const padded = (length: number): number => 8 + ((length + 3) & ~3);
  return 4 + padded(key.length) + (value === undefined ? 0 : padded(value.length));
}

function writeElements(
  writer: NetlinkWriter,
  name: SetName,
  message: number,
  acknowledge: boolean,
  layout: ElementLayout,
  elements: readonly SetElement[],
  from: number,
  to: number,
): void {
  const adds = message === NFT_MSG_NEWSETELEM;
  const key = Buffer.alloc(layout.key.length);
  const value = Buffer.alloc(layout.value?.length ?? 0);
  writer
    .begin(messageType(message), NLM.request | (adds ? NLM.create : 0) | (acknowledge ? NLM.ack : 0))
    .raw(nfgenmsg(FAMILY_NUMBER[name.family]))
    .string(NFTA_SET_ELEM_LIST_TABLE, name.table)
    .string(NFTA_SET_ELEM_LIST_SET, name.set);
  const list = writer.open(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (let i = from; i < to; i++) {
    const element = elements[i] as SetElement;
    const start = writer.open(NFTA_LIST_ELEM);
    encodeFields(layout.key, element.key, key.fill(0), 0);
    writeData(writer, NFTA_SET_ELEM_KEY, key);
    if (adds && (element.value !== undefined || layout.value !== undefined)) {
      if (element.value === undefined || layout.value === undefined) {
        throw new WeftError("invalid", "some elements have a value and some have none", {
          object: describeSet(name),
          hint: "Elements of a map have a value, elements of a set have none.",
        });
      }
      encodeFields(layout.value, element.value, value.fill(0), 0);
      writeData(writer, NFTA_SET_ELEM_DATA, value);
    }
    writer.close(start);
  }
  writer.close(list);
}

function writeData(writer: NetlinkWriter, type: number, bytes: Uint8Array): void {
  const start = writer.open(type);
  writer.bytes(NFTA_DATA_VALUE, bytes);
  writer.close(start);
}

/** "set inet weft pods". */
export const describeSet = ({ family, table, set }: SetName): string => `set ${family} ${table} ${set}`;
