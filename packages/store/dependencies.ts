/**
 * Which input rows read what. A reading is a token in the table that was read: one key, one value of an index, or
 * everything. A change to a table touches the tokens of its key, of its index values before and after, and "everything".
 */
import { WeftError } from "@weft/base";
import { TableBase } from "./table-base.ts";
import type { Change, ReadableTable, Reader } from "./types.ts";

type AnyTable = TableBase<unknown>;
/** What one input row read, each reading once. Most rows read two or three things: a list is a tenth of a map of sets. */
export type Readings = readonly Reading[];
interface Reading {
  readonly table: AnyTable;
  readonly token: string;
}

const ALL = "*";
const keyToken = (key: string): string => `=${key}`;
const indexToken = (index: string, value: string): string => `?${index}\0${value}`;

/** The Reader of one computation; refuses to read once that is over, since nothing would be remembered. */
export class RecordingReader implements Reader {
  readonly readings: Reading[] = [];
  /** What is in `readings`, once there is so much that looking through it takes long. */
  #known: Map<AnyTable, Set<string>> | undefined;
  readonly #reader: AnyTable;
  #open = true;

  constructor(reader: AnyTable) {
    this.#reader = reader;
  }

  get<Row>(table: ReadableTable<Row>, key: string): Row | undefined {
    this.#note(table, keyToken(key));
    return table.get(key);
  }

  all<Row>(table: ReadableTable<Row>): readonly Row[] {
    this.#note(table, ALL);
    return table.rows();
  }

  where<Row>(table: ReadableTable<Row>, index: string, value: string): readonly Row[] {
    this.#note(table, indexToken(index, value));
    return table.where(index, value);
  }

  close(): void {
    this.#open = false;
  }

  #note(table: ReadableTable<unknown>, token: string): void {
    const { name, database, rank } = this.#reader;
    if (!this.#open) throw new WeftError("invalid", `${name}: \`read\` was used after its computation`);
    if (!(table instanceof TableBase) || table.database !== database) {
      throw new WeftError("invalid", `${name} cannot read ${table.name}, which is in another database`);
    }
    if (table.rank >= rank) {
      throw new WeftError("invalid", `${name} cannot read ${table.name}, which was derived after it`, {
        hint: "Create derived tables in the order in which they read each other.",
      });
    }
    if (this.#isKnown(table, token)) return;
    this.readings.push({ table, token });
    if (this.#known !== undefined) remember(this.#known, table, token);
    else if (this.readings.length > FEW) {
      this.#known = new Map();
      for (const reading of this.readings) remember(this.#known, reading.table, reading.token);
    }
  }

  #isKnown(table: AnyTable, token: string): boolean {
    if (this.#known !== undefined) return this.#known.get(table)?.has(token) === true;
    return this.readings.some((reading) => reading.table === table && reading.token === token);
  }
}

/** Readings that are looked through one by one. */
const FEW = 8;

function remember(known: Map<AnyTable, Set<string>>, table: AnyTable, token: string): void {
  const tokens = known.get(table);
  if (tokens === undefined) known.set(table, new Set([token]));
  else tokens.add(token);
}

const NONE: Readings = [];

export class Dependencies {
  /** Table, token, input keys; one key by itself where there is one, as of most tokens. */
  readonly #readers = new Map<AnyTable, Map<string, string | Set<string>>>();
  readonly #readings = new Map<string, Readings>();

  /** Replaces what is known of that input row; undefined: the row is gone. */
  set(inputKey: string, readings: Readings | undefined): void {
    const former = this.#readings.get(inputKey) ?? NONE;
    const next = readings ?? NONE;
    if (next.length === 0) this.#readings.delete(inputKey);
    else this.#readings.set(inputKey, next);
    if (sameReadings(former, next)) return;
    // What is in both goes and comes back: a token without readers for a moment is no loss.
    for (const { table, token } of former) this.#remove(table, token, inputKey);
    for (const { table, token } of next) this.#add(table, token, inputKey);
  }

  /** Adds to `into` the input rows that a change of that table concerns. */
  collect(table: AnyTable, changes: readonly Change<unknown>[], into: Set<string>): void {
    const readers = this.#readers.get(table);
    if (readers === undefined) return;
    const touch = (token: string): void => {
      const keys = readers.get(token);
      if (typeof keys === "string") into.add(keys);
      else for (const inputKey of keys ?? []) into.add(inputKey);
    };
    touch(ALL);
    for (const { key, before, after } of changes) {
      touch(keyToken(key));
      for (const [name, index] of table.indexes) {
        for (const value of index.values(before)) touch(indexToken(name, value));
        for (const value of index.values(after)) touch(indexToken(name, value));
      }
    }
  }

  #add(table: AnyTable, token: string, inputKey: string): void {
    let readers = this.#readers.get(table);
    if (readers === undefined) {
      readers = new Map();
      this.#readers.set(table, readers);
    }
    const keys = readers.get(token);
    if (keys === undefined) readers.set(token, inputKey);
    else if (typeof keys !== "string") keys.add(inputKey);
    else if (keys !== inputKey) readers.set(token, new Set([keys, inputKey]));
  }

  #remove(table: AnyTable, token: string, inputKey: string): void {
    const readers = this.#readers.get(table);
    const keys = readers?.get(token);
    if (readers === undefined || keys === undefined) return;
    if (typeof keys === "string") {
      if (keys === inputKey) readers.delete(token);
    } else {
      keys.delete(inputKey);
      if (keys.size === 0) readers.delete(token);
    }
    if (readers.size === 0) this.#readers.delete(table);
  }
}

/** In the same order, as a computation that took the same way leaves them. */
function sameReadings(a: Readings, b: Readings): boolean {
  return (
    a.length === b.length && a.every(({ table, token }, i) => b[i]?.table === table && b[i]?.token === token)
  );
}
