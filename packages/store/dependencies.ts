/**
 * Which input rows read what. A reading is a token in the table that was read: one key, one value of an index, or
 * everything. A change to a table touches the tokens of its key, of its index values before and after, and "everything".
 */
import { WeftError } from "@weft/base";
import { TableBase } from "./table-base.ts";
import type { Change, ReadableTable, Reader } from "./types.ts";

type AnyTable = TableBase<unknown>;
/** What one input row read: tokens by table. */
export type Readings = ReadonlyMap<AnyTable, ReadonlySet<string>>;

const ALL = "*";
const keyToken = (key: string): string => `=${key}`;
const indexToken = (index: string, value: string): string => `?${index}\0${value}`;

/** The Reader of one computation; refuses to read once that is over, since nothing would be remembered. */
export class RecordingReader implements Reader {
  readonly readings = new Map<AnyTable, Set<string>>();
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
    const tokens = this.readings.get(table);
    if (tokens === undefined) this.readings.set(table, new Set([token]));
    else tokens.add(token);
  }
}

export class Dependencies {
  /** Table, token, input keys. */
  readonly #readers = new Map<AnyTable, Map<string, Set<string>>>();
  readonly #readings = new Map<string, Readings>();

  /** Replaces what is known of that input row; undefined: the row is gone. */
  set(inputKey: string, readings: Readings | undefined): void {
    const former = this.#readings.get(inputKey);
    for (const [table, tokens] of former ?? []) {
      const kept = readings?.get(table);
      for (const token of tokens) if (kept?.has(token) !== true) this.#remove(table, token, inputKey);
    }
    if (readings === undefined || readings.size === 0) this.#readings.delete(inputKey);
    else this.#readings.set(inputKey, readings);
    for (const [table, tokens] of readings ?? []) {
      const known = former?.get(table);
      for (const token of tokens) if (known?.has(token) !== true) this.#add(table, token, inputKey);
    }
  }

  /** Adds to `into` the input rows that a change of that table concerns. */
  collect(table: AnyTable, changes: readonly Change<unknown>[], into: Set<string>): void {
    const readers = this.#readers.get(table);
    if (readers === undefined) return;
    const touch = (token: string): void => {
      for (const inputKey of readers.get(token) ?? []) into.add(inputKey);
    };
    touch(ALL);
    for (const { key, before, after } of changes) {
      touch(keyToken(key));
      for (const [name, index] of table.indexes) {
        for (const value of index.values(before).union(index.values(after))) touch(indexToken(name, value));
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
    if (keys === undefined) readers.set(token, new Set([inputKey]));
    else keys.add(inputKey);
  }

  #remove(table: AnyTable, token: string, inputKey: string): void {
    const readers = this.#readers.get(table);
    const keys = readers?.get(token);
    if (readers === undefined || keys === undefined) return;
    keys.delete(inputKey);
    if (keys.size === 0) readers.delete(token);
    if (readers.size === 0) this.#readers.delete(table);
  }
}
