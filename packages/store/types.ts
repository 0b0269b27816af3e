/**
 * What the rest of Weft sees of tables. Rows are immutable values that belong to a string key; every iteration
 * is in the order of keys (UTF-16 code units), so that nothing computed from a table depends on its history.
 */
import type { WeftError } from "@weft/base";

/** One row of a commit: `before` undefined for an added row, `after` undefined for a deleted one. */
export interface Change<Row> {
  readonly key: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

/** What one commit did to one table: each key at most once, only real differences. */
export interface ChangeBatch<Row> {
  readonly revision: number;
  readonly changes: readonly Change<Row>[];
}

/** What one commit did to all tables; base tables first, then derived ones in order of computation. */
export interface Commit {
  readonly revision: number;
  readonly tables: readonly {
    readonly table: ReadableTable<unknown>;
    readonly changes: readonly Change<unknown>[];
  }[];
}

/** Rows as they were at one revision. Never changes. */
export interface Snapshot<Row> {
  readonly name: string;
  /** Revision of the database's commit that last changed these rows; 0 if none did. */
  readonly revision: number;
  readonly size: number;
  get(key: string): Row | undefined;
  has(key: string): boolean;
  /** In order of keys. The array never changes. */
  keys(): readonly string[];
  rows(): readonly Row[];
  /** Rows with that value of a declared index, in order of keys. Throws "invalid" for an unknown index. */
  where(index: string, value: string): readonly Row[];
}

/** A table that can be read and watched: `get` and the others show the latest commit. */
export interface ReadableTable<Row> extends Snapshot<Row> {
  readonly database: Database;
  /** The key that a row has, or would have, in this table. */
  keyOf(row: Row): string;
  /**
   * Calls `listener` after every commit that changed this table, before `write` returns, in order of commits.
   * A write made inside a listener is committed at once, and its listeners hear of it once every listener has
   * heard of the earlier one. What a listener throws goes to the database's `onError`. Returns the way to end it.
   */
  watch(listener: (batch: ChangeBatch<Row>) => void): () => void;
  /** A view of the rows as they are now: constant time; the first write to a part of the table after it copies that part. */
  snapshot(): Snapshot<Row>;
}

/** A table written by hand: only inside `database.write`, where reads of the table see its own writes. */
export interface Table<Row> extends ReadableTable<Row> {
  /** Adds or replaces. True if that changed anything: a deeply equal row is no change. */
  put(row: Row): boolean;
  /** True if the key was there. */
  delete(key: string): boolean;
  /** Makes these the only rows, changing no more than differs. Two rows of one key: the later counts. */
  replaceAll(rows: Iterable<Row>): void;
}

/** A computed table. Inside `database.write` it still shows the commit before. */
export interface DerivedTable<Row> extends ReadableTable<Row> {
  /** Input key to the error of its last computation. While it is there the input row has no output rows. */
  errors(): ReadonlyMap<string, WeftError>;
  /** Output keys that several input rows yield, to those input keys in order; the first is the winner. */
  conflicts(): ReadonlyMap<string, readonly string[]>;
}

/** Index value or values of a row; undefined or empty: not in the index. */
export type IndexFunction<Row> = (row: Row) => string | readonly string[] | undefined;

export interface TableOptions<Row> {
  readonly name: string;
  readonly key: (row: Row) => string;
  readonly indexes?: Readonly<Record<string, IndexFunction<Row>>>;
}

/** Reads of other tables during a computation; each is remembered as a dependency of the input row. */
export interface Reader {
  get<Row>(table: ReadableTable<Row>, key: string): Row | undefined;
  /** Every row, in order of keys: any change of that table recomputes the input row. */
  all<Row>(table: ReadableTable<Row>): readonly Row[];
  /** Rows of one index value, in order of keys. */
  where<Row>(table: ReadableTable<Row>, index: string, value: string): readonly Row[];
}

export interface DeriveOptions<In, Out> {
  readonly name: string;
  readonly input: ReadableTable<In>;
  readonly key: (row: Out) => string;
  readonly indexes?: Readonly<Record<string, IndexFunction<Out>>>;
  /** Pure: depends on its arguments alone, and on other tables through `read` alone. */
  readonly rows: (row: In, read: Reader) => Iterable<Out>;
}

export interface DatabaseOptions {
  /** Hears what a listener threw; `where` names the table or "commit". Must not throw. */
  readonly onError: (error: unknown, where: string) => void;
  /** Deep-freeze rows as they are put. Default true. */
  readonly freeze?: boolean;
}

/** Tables that change together. */
export interface Database {
  /** Number of commits that changed something. */
  readonly revision: number;
  /**
   * Runs `fn`, which may write to any table of this database; then brings derived tables up to date, and tells
   * listeners once. When `fn` throws, nothing has changed. A `write` inside a `write` is part of the outer one,
   * and when the inner one throws, the outer one fails too. `fn` must be synchronous.
   */
  write<T>(fn: () => T): T;
  /** After every commit that changed anything, before the listeners of single tables. */
  watch(listener: (commit: Commit) => void): () => void;
  /** In order of creation. */
  tables(): readonly ReadableTable<unknown>[];
}
