/**
 * How nftables lays out the key (or value) of a set element. One field alone is its bare bytes; fields of a
 * concatenation are each padded with zeros to a multiple of four bytes, the width of the kernel's registers.
 *
 *   field      bytes   in a concatenation   byte order
 *   ifname     16      16                   zero-padded text
 *   ip         4/16    4/16                 network
 *   mac        6       8                    network
 *   mark       4       4                    host
 *   port       2       4                    network
 *   protocol   1       4
 */
import {
  type Family,
  familyOf,
  ipBytes,
  ipFromBytes,
  macBytes,
  macFromBytes,
  parseMac,
  WeftError,
} from "@weft/base";
import type { SetField } from "../port.ts";

export type FieldType = SetField["type"];

export interface FieldLayout {
  readonly type: FieldType;
  readonly offset: number;
  /** Bytes without padding. */
  readonly size: number;
}

export interface Layout {
  readonly fields: readonly FieldLayout[];
  /** Bytes of the whole key or value, with padding. */
  readonly length: number;
}

/** Names of links have at most 15 bytes and a NUL. */
const IFNAMSIZ = 16;
/** Longest key or value of a set: NFT_DATA_VALUE_MAXLEN. */
const MAX_LENGTH = 64;

const invalid = (message: string, hint?: string): WeftError =>
  new WeftError("invalid", message, hint === undefined ? {} : { hint });

function sizeOf(type: FieldType, family: Family): number {
  switch (type) {
    case "ifname":
      return IFNAMSIZ;
    case "ip":
      return family === 4 ? 4 : 16;
    case "mac":
      return 6;
    case "mark":
      return 4;
    case "port":
      return 2;
    case "protocol":
      return 1;
    default:
      throw invalid(`"${String(type)}" is no type of a set's field`);
  }
}

function build(sizes: readonly { type: FieldType; size: number }[]): Layout {
  if (sizes.length === 0) throw invalid("a key or value has at least one field");
  let length = 0;
  const fields = sizes.map(({ type, size }) => {
    const field = { type, offset: length, size };
    length += sizes.length === 1 ? size : (size + 3) & ~3;
    return field;
  });
  if (length > MAX_LENGTH) {
    throw invalid(`${length} bytes are too many for a key or value of a set`, `At most ${MAX_LENGTH} fit.`);
  }
  return { fields, length };
}

/** The layout of a concatenation of these types, its addresses of that family. Throws "invalid". */
export function layoutOf(types: readonly FieldType[], family: Family): Layout {
  return build(types.map((type) => ({ type, size: sizeOf(type, family) })));
}

/** The layout that these fields have: the family is that of each address. Throws "invalid". */
export function layoutOfFields(fields: readonly SetField[]): Layout {
  return build(
    fields.map((f) => ({ type: f.type, size: sizeOf(f.type, f.type === "ip" ? familyOf(f.value) : 4) })),
  );
}

function unsigned(type: FieldType, value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalid(`${value} is no ${type}`, `It is a whole number from 0 to ${max}.`);
  }
  return value;
}

function interfaceName(name: string): Buffer {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.length >= IFNAMSIZ || bytes.includes(0)) {
    throw invalid(`"${name.slice(0, 32)}" is no name of a link`, "It has 1 to 15 bytes.");
  }
  return bytes;
}

/**
 * Writes the fields at `offset`, where the buffer must be zero for `layout.length` bytes. Throws "invalid"
 * when they do not fit the layout.
 */
export function encodeFields(
  layout: Layout,
  fields: readonly SetField[],
  buffer: Buffer,
  offset: number,
): void {
  if (fields.length !== layout.fields.length) {
    throw invalid(`an element has ${fields.length} fields where others have ${layout.fields.length}`);
  }
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as SetField;
    const { type, offset: at, size } = layout.fields[i] as FieldLayout;
    if (field.type !== type) {
      throw invalid(`field ${i + 1} of an element is ${field.type} where others have ${type}`);
    }
    encodeField(field, buffer, offset + at, size);
  }
}

function encodeField(field: SetField, buffer: Buffer, at: number, size: number): void {
  switch (field.type) {
    case "ifname":
      buffer.set(interfaceName(field.value), at);
      break;
    case "ip": {
      const bytes = ipBytes(field.value);
      if (bytes.length !== size) {
        throw invalid(`${field.value} is among addresses of the other family`, "A set has one family.");
      }
      buffer.set(bytes, at);
      break;
    }
    case "mac": {
      buffer.set(macBytes(parseMac(field.value)), at);
      break;
    }
    case "mark":
      buffer.writeUInt32LE(unsigned("mark", field.value, 0xffff_ffff), at);
      break;
    case "port":
      buffer.writeUInt16BE(unsigned("port", field.value, 0xffff), at);
      break;
    case "protocol":
      buffer[at] = unsigned("protocol", field.value, 0xff);
      break;
  }
}

/** Reads fields. Throws "invalid" when the bytes are not exactly such a key or value. */
export function decodeFields(layout: Layout, bytes: Uint8Array): SetField[] {
  if (bytes.length !== layout.length) {
    throw invalid(
      `a key or value has ${bytes.length} bytes, not ${layout.length}`,
      "Ask for the set by the types it was declared with.",
    );
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return layout.fields.map(({ type, offset, size }, i) => {
    const end = layout.fields[i + 1]?.offset ?? layout.length;
    if (buffer.subarray(offset + size, end).some((b) => b !== 0)) {
      throw invalid(`the padding behind a ${type} is not zero`);
    }
    return decodeField(type, buffer.subarray(offset, offset + size));
  });
}

function decodeField(type: FieldType, bytes: Buffer): SetField {
  switch (type) {
    case "ifname": {
      const end = bytes.indexOf(0);
      const text = bytes.toString("utf8", 0, Math.max(end, 0));
      const exact = Buffer.from(text).equals(bytes.subarray(0, Math.max(end, 0)));
      if (end < 1 || !exact || bytes.subarray(end).some((b) => b !== 0)) {
        throw invalid(`${bytes.toString("hex")} is no name of a link`);
      }
      return { type, value: text };
    }
    case "ip":
      return { type, value: ipFromBytes(bytes) };
    case "mac":
      return { type, value: macFromBytes(bytes) };
    case "mark":
      return { type, value: bytes.readUInt32LE(0) };
    case "port":
      return { type, value: bytes.readUInt16BE(0) };
    case "protocol":
      return { type, value: bytes[0] as number };
  }
}

/**
 * A column of a set that is declared by number instead of by nft's language: a field whose size is said, so that "ip" is
 * one of two.
 */
export type ColumnType = "ipv4" | "ipv6" | "protocol" | "port" | "mark" | "nfproto";

/** nft's numbers of types (its datatype.h), which the kernel keeps for nft to show a set by, and bytes of each. */
const COLUMNS: Readonly<Record<ColumnType, readonly [number: number, length: number]>> = {
  nfproto: [2, 1],
  ipv4: [7, 4],
  ipv6: [8, 16],
  protocol: [12, 1],
  port: [13, 2],
  mark: [19, 4],
};
/** A concatenation's number is that of its columns, six bits each. */
const TYPE_BITS = 6;

/** Bytes of a column without padding. */
export const columnLength = (column: ColumnType): number => COLUMNS[column][1];

/** Bytes of a key or value: columns of a concatenation are padded to a multiple of four. */
export function columnsLength(columns: readonly ColumnType[]): number {
  if (columns.length === 1) return columnLength(columns[0] as ColumnType);
  return columns.reduce((sum, column) => sum + ((columnLength(column) + 3) & ~3), 0);
}

export const columnTypeNumber = (columns: readonly ColumnType[]): number =>
  columns.reduce((number, column) => ((number << TYPE_BITS) | COLUMNS[column][0]) >>> 0, 0);
