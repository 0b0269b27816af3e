/**
 * Reading untrusted JSON: a JsonFields is an object together with the path that names it in messages; its methods give
 * the value of a key with its type, or throw a CniError. Null counts as absent, because Go programs print an empty
 * list or pointer as null.
 */
import { WeftError } from "@weft/base";
import { CniError, CODE } from "../errors.ts";

export type JsonObject = { readonly [key: string]: unknown };

/** Text of a JSON document, or its bytes in UTF-8. Throws CniError 6. */
export function parseJson(input: Uint8Array | string, what: string): unknown {
  try {
    const text = typeof input === "string" ? input : new TextDecoder("utf-8", { fatal: true }).decode(input);
    return JSON.parse(text);
  } catch (cause) {
    throw new CniError(CODE.decoding, `${what} is not JSON`, { cause });
  }
}

const typeName = (v: unknown): string => (v === null ? "null" : Array.isArray(v) ? "a list" : typeof v);

export class JsonFields {
  readonly object: JsonObject;
  readonly #path: string;
  readonly #code: number;

  /** `code`: of the errors. Throws when `value` is no object. */
  constructor(value: unknown, path: string, code: number) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new CniError(code, `${path}: must be an object, not ${typeName(value)}`);
    }
    this.object = value as JsonObject;
    this.#path = path;
    this.#code = code;
  }

  fail(key: string, why: string, cause?: unknown): never {
    throw new CniError(this.#code, `${this.path(key)}: ${why}`, cause === undefined ? {} : { cause });
  }

  path(key: string): string {
    return `${this.#path}.${key}`;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.object, key) && this.object[key] !== null;
  }

  /**
   * The same object with these keys found however they are capitalised, as Go's decoder finds them: what Go programs
   * wrote without naming a key begins with a capital. The key as it is spelled here comes first.
   */
  spelled(...keys: readonly string[]): JsonFields {
    const object = { ...this.object };
    for (const key of keys) {
      if (this.has(key)) continue;
      const other = Object.keys(this.object).find((k) => k.toLowerCase() === key.toLowerCase());
      if (other !== undefined) object[key] = this.object[other];
    }
    return new JsonFields(object, this.#path, this.#code);
  }

  #get(key: string): unknown {
    return this.has(key) ? this.object[key] : undefined;
  }

  string(key: string): string {
    const value = this.#get(key);
    if (typeof value !== "string") this.fail(key, `must be a string, not ${typeName(value)}`);
    return value;
  }

  /** "" is undefined too. */
  optionalString(key: string): string | undefined {
    return this.has(key) && this.object[key] !== "" ? this.string(key) : undefined;
  }

  optionalBoolean(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.fail(key, `must be true or false, not ${typeName(value)}`);
  }

  /** An integer from 0 to `most`. */
  integer(key: string, most: number): number {
    const value = this.#get(key);
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most) {
      this.fail(key, `must be an integer from 0 to ${most}`);
    }
    return value;
  }

  optionalInteger(key: string, most: number): number | undefined {
    return this.has(key) ? this.integer(key, most) : undefined;
  }

  optionalFields(key: string): JsonFields | undefined {
    return this.has(key) ? new JsonFields(this.object[key], this.path(key), this.#code) : undefined;
  }

  /** The items of a list, by value and path; none when absent. */
  #items(key: string): [value: unknown, path: string][] {
    const value = this.#get(key) ?? [];
    if (!Array.isArray(value)) this.fail(key, `must be a list, not ${typeName(value)}`);
    return value.map((v, i) => [v, `${key}[${i}]`]);
  }

  /** A list of objects; empty when absent. */
  list<T>(key: string, item: (fields: JsonFields) => T): T[] {
    return this.#items(key).map(([v, k]) => item(new JsonFields(v, this.path(k), this.#code)));
  }

  /** A list of lists of objects; empty when absent. */
  lists<T>(key: string, item: (fields: JsonFields) => T): T[][] {
    return this.#items(key).map(([v, k]) => new JsonFields({ [k]: v }, this.#path, this.#code).list(k, item));
  }

  /** A list of strings; empty when absent. */
  strings(key: string): string[] {
    return this.#items(key).map(([v, k]) =>
      typeof v === "string" ? v : this.fail(k, `must be a string, not ${typeName(v)}`),
    );
  }

  /** A string that `parse` of @weft/base accepts. */
  parsed<T>(key: string, parse: (text: string) => T): T {
    const text = this.string(key);
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return this.fail(key, error.message, error.cause);
    }
  }

  optionalParsed<T>(key: string, parse: (text: string) => T): T | undefined {
    return this.optionalString(key) === undefined ? undefined : this.parsed(key, parse);
  }
}

/** Leaves out the keys whose value is undefined, which exactOptionalPropertyTypes would refuse. */
type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };
export const compact = <T extends object>(value: T): Defined<T> =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Defined<T>;
