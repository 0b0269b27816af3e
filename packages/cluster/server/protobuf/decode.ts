/**
 * Objects in Kubernetes' protobuf, which clients written in Go send for Kubernetes' own types; answers are always JSON,
 * which they take as well.
 *
 * A body is four bytes, "k8s" and a zero, and a message Unknown: apiVersion and kind (1), the object (2). Messages are the
 * usual wire format (protobuf.dev, "Encoding"); wire.json has the numbers. Go writes fields that are zero where it would
 * leave them out of JSON: those are left out here.
 */
import { badRequest } from "../errors.ts";
import { isMap, type Mapping, text } from "../values.ts";
import { ROOTS, typeOf } from "./types.ts";

const MAGIC = 0x6b387300;
const MOST_DEPTH = 100;

/** The object in its JSON form. Throws 400. */
export function decodeProtobuf(bytes: Uint8Array): Mapping {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0) !== MAGIC) throw malformed("it does not begin as such");
  const type: Mapping = {};
  let raw: Uint8Array = new Uint8Array();
  for (const field of fieldsOf(bytes.subarray(4))) {
    if (field.number === 1) {
      for (const inner of fieldsOf(bytesOf(field))) {
        if (inner.number === 1) type["apiVersion"] = stringOf(inner);
        if (inner.number === 2) type["kind"] = stringOf(inner);
      }
    } else if (field.number === 2) raw = bytesOf(field);
    else if (field.number === 3 && bytesOf(field).length > 0) throw malformed("its content is encoded");
  }
  const root = ROOTS[`${text(type["apiVersion"])} ${text(type["kind"])}`] ?? ROOTS[text(type["kind"])];
  if (root === undefined) {
    throw badRequest(
      `no kind ${JSON.stringify(type["kind"])} of version ${JSON.stringify(type["apiVersion"])} can be read from protobuf: send JSON`,
    );
  }
  return { ...type, ...messageOf(raw, root, 0) };
}

interface Field {
  readonly number: number;
  readonly value: bigint | Uint8Array;
}

/** The fields of a message, in order. Throws 400 for whatever is no message. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed("a number is cut off or too long");
  };
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw malformed("a field is cut off");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = varint();
    const number = Number(key >> 3n);
    const wire = Number(key & 7n);
    if (number === 0) throw malformed("a field has the number 0");
    if (wire === 0) yield { number, value: varint() };
    else if (wire === 1) yield { number, value: take(8) };
    else if (wire === 2) yield { number, value: take(Number(varint())) };
    else if (wire === 5) yield { number, value: take(4) };
    else throw malformed(`a field has the wire type ${wire}`);
  }
}

function messageOf(bytes: Uint8Array, type: string, depth: number): Mapping {
  if (depth > MOST_DEPTH) throw malformed("it is too deep");
  const known = typeOf(type);
  const result: Mapping = {};
  for (const field of fieldsOf(bytes)) {
    const entry = known.get(field.number);
    if (entry === undefined) continue;
    const { name, form, hidden } = entry;
    if (form.startsWith("[]")) {
      const list = (result[name] ?? []) as unknown[];
      list.push(...listOf(field, form.slice(2), depth));
      result[name] = list;
    } else if (form.startsWith("{}")) {
      const [key, value] = entryOf(field, form.slice(2), depth);
      const map = isMap(result[name]) ? result[name] : {};
      Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
      result[name] = map;
    } else {
      const value = decodeValue(field, form, depth);
      if (name === "") Object.assign(result, value);
      else if (value !== undefined && !(hidden && isZero(value))) result[name] = value;
    }
  }
  return result;
}

const isZero = (value: unknown): boolean => value === "" || value === 0 || value === false;

/** An item, or several plain numbers in one field ("packed"). */
function listOf(field: Field, form: string, depth: number): unknown[] {
  if (!/^(int32|int64|bool)$/.test(form) || typeof field.value === "bigint")
    return [decodeValue(field, form, depth)];
  const items: unknown[] = [];
  // A packed list is a row of varints: as fields they would have keys, so one is put before each.
  let start = 0;
  const bytes = field.value;
  for (let at = 0; at < bytes.length; at++) {
    if ((bytes[at] as number) >= 0x80) continue;
    const one = new Uint8Array([8, ...bytes.subarray(start, at + 1)]);
    for (const inner of fieldsOf(one)) items.push(decodeValue(inner, form, depth));
    start = at + 1;
  }
  return items;
}

function entryOf(field: Field, form: string, depth: number): [string, unknown] {
  let key = "";
  let value: unknown = form === "string" || form === "bytes" ? "" : undefined;
  for (const inner of fieldsOf(bytesOf(field))) {
    if (inner.number === 1) key = stringOf(inner);
    if (inner.number === 2) value = decodeValue(inner, form, depth);
  }
  return [key, value];
}

function decodeValue(field: Field, form: string, depth: number): unknown {
  switch (form) {
    case "string":
      return stringOf(field);
    case "bytes":
      return Buffer.from(bytesOf(field)).toString("base64");
    case "bool":
      return numberOf(field) !== 0;
    case "int32":
    case "int64":
      return numberOf(field);
    case "double":
      return new DataView(bytesOf(field).slice().buffer).getFloat64(0, true);
    case "quantity":
      return innerText(field, 1);
    case "time":
    case "microtime":
      return timeOf(field, form === "time" ? 0 : 6);
    case "int-or-string": {
      const parts = new Map([...fieldsOf(bytesOf(field))].map((inner) => [inner.number, inner]));
      const [type, int, string] = [parts.get(1), parts.get(2), parts.get(3)];
      if (type !== undefined && numberOf(type) === 1) return string === undefined ? "" : stringOf(string);
      return int === undefined ? 0 : numberOf(int);
    }
    default:
      return messageOf(bytesOf(field), form, depth + 1);
  }
}

function innerText(field: Field, number: number): string {
  for (const inner of fieldsOf(bytesOf(field))) if (inner.number === number) return stringOf(inner);
  return "";
}

/** Seconds (1) and nanoseconds (2) as RFC 3339; an empty message is no time. */
function timeOf(field: Field, digits: number): string | undefined {
  const parts = new Map([...fieldsOf(bytesOf(field))].map((inner) => [inner.number, numberOf(inner)]));
  if (parts.size === 0) return undefined;
  const date = new Date((parts.get(1) ?? 0) * 1000);
  if (Number.isNaN(date.getTime())) throw malformed("a time is none");
  const seconds = date.toISOString().slice(0, 19);
  if (digits === 0) return `${seconds}Z`;
  const micros = Math.trunc((parts.get(2) ?? 0) / 1000);
  return `${seconds}.${String(micros).padStart(digits, "0")}Z`;
}

function bytesOf({ value }: Field): Uint8Array {
  if (typeof value === "bigint") throw malformed("a field is a number where it must not be");
  return value;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function stringOf(field: Field): string {
  try {
    return UTF8.decode(bytesOf(field));
  } catch (error) {
    if (error instanceof TypeError) throw malformed("a text is not UTF-8");
    throw error;
  }
}

function numberOf({ value }: Field): number {
  if (typeof value !== "bigint") throw malformed("a field must be a number");
  return Number(BigInt.asIntN(64, value));
}

const malformed = (why: string) => badRequest(`the body of the request is not Kubernetes' protobuf: ${why}`);
