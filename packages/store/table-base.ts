/**
 * What written and derived tables have in common: rows, their order, indexes, listeners, and the record of what the
 * commit under way has changed. Internal to the room: others see ReadableTable.
 */
import { WeftError } from "@weft/base";
import type { DatabaseCore } from "./database.ts";
import { freezeRow, sameRow } from "./row.ts";
import { ShardedMap } from "./shards.ts";
import { StaticView } from "./snapshot.ts";
import { SortedKeys } from "./sorted-keys.ts";
import { TableIndex } from "./table-index.ts";
import type { Change, ChangeBatch, ReadableTable, Snapshot, TableOptions } from "./types.ts";

/** What a changed row moves in an index. */
interface Move<Row> {
  readonly index: TableIndex<Row>;
  readonly from: readonly string[];
  readonly to: readonly string[];
}

const NO_MOVES: readonly never[] = [];

export abstract class TableBase<Row> implements ReadableTable<Row> {
  readonly name: string;
  readonly database: DatabaseCore;
  /** 0: written. Derived tables are numbered in order of creation, which is the order they are computed in. */
  abstract readonly rank: number;
  /** Set by the database. */
  revision = 0;

  readonly #key: (row: Row) => string;
  readonly #rows = new ShardedMap<Row>();
  readonly #keys = new SortedKeys();
  readonly indexes: ReadonlyMap<string, TableIndex<Row>>;
  readonly #options: TableOptions<Row>;
  #inOrder: readonly Row[] | undefined;
  #snapshot: Snapshot<Row> | undefined;
  /** Keys touched by the transaction under way, to the rows they had before it. */
  readonly #before = new Map<string, Row | undefined>();
  readonly #listeners = new Set<{ hear(batch: ChangeBatch<Row>): void; since: number }>();

  constructor(database: DatabaseCore, options: TableOptions<Row>) {
    this.database = database;
    this.name = options.name;
    this.#key = options.key;
    this.#options = options;
    this.indexes = new Map(
      Object.entries(options.indexes ?? {}).map(([name, of]) => [name, new TableIndex(of)]),
    );
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  has(key: string): boolean {
    return this.#rows.get(key) !== undefined;
  }

  keys(): readonly string[] {
    return this.#keys.sorted();
  }

  rows(): readonly Row[] {
    this.#inOrder ??= this.#keys.sorted().map((key) => this.#rows.get(key) as Row);
    return this.#inOrder;
  }

  where(index: string, value: string): readonly Row[] {
    return this.index(index).rows(value, (key) => this.#rows.get(key));
  }

  keyOf(row: Row): string {
    return this.#key(row);
  }

  snapshot(): Snapshot<Row> {
    this.#snapshot ??= new StaticView(this.#options, this.revision, this.#rows);
    return this.#snapshot;
  }

  watch(listener: (batch: ChangeBatch<Row>) => void): () => void {
    const entry = { hear: listener, since: this.database.revision };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  /** The index of that name. */
  index(name: string): TableIndex<Row> {
    const index = this.indexes.get(name);
    if (index !== undefined) return index;
    throw new WeftError("invalid", `table ${this.name} has no index "${name}"`, {
      hint: `Its indexes are: ${[...this.indexes.keys()].join(", ") || "none"}.`,
    });
  }

  /** The row's key, after its key and indexes have been computed: what they throw is thrown here. */
  check(row: Row): string {
    const key = this.#key(row);
    for (const index of this.indexes.values()) index.values(row);
    return key;
  }

  /** Sets or, with undefined, deletes. True if that changed anything. */
  assign(key: string, row: Row | undefined): boolean {
    const before = this.#rows.get(key);
    if (before === row || (before !== undefined && row !== undefined && sameRow(before, row))) return false;
    // Every index function runs before anything changes, so that one that throws leaves the table whole.
    const moves = this.indexes.size === 0 ? NO_MOVES : this.#moves(before, row);
    if (!this.#before.has(key)) this.#before.set(key, before);
    this.#replace(key, before, this.database.freeze ? freezeRow(row) : row);
    for (const { index, from, to } of moves) index.update(key, from, to);
    return true;
  }

  #moves(before: Row | undefined, after: Row | undefined): readonly Move<Row>[] {
    return [...this.indexes.values()].map((index) => {
      return { index, from: index.values(before), to: index.values(after) };
    });
  }

  #replace(key: string, before: Row | undefined, after: Row | undefined): void {
    this.#inOrder = undefined;
    this.#snapshot = undefined;
    if (after === undefined) this.#rows.delete(key);
    else this.#rows.set(key, after);
    if (before === undefined) this.#keys.add(key);
    else if (after === undefined) this.#keys.delete(key);
  }

  /** What the transaction came to, and forgets it. */
  takeChanges(): Change<Row>[] {
    const changes: Change<Row>[] = [];
    // One taken during the transaction would carry the former revision.
    this.#snapshot = undefined;
    for (const [key, before] of this.#before) {
      const after = this.#rows.get(key);
      if (before === after || (before !== undefined && after !== undefined && sameRow(before, after)))
        continue;
      changes.push({ key, before, after });
    }
    this.#before.clear();
    return changes;
  }

  rollBack(): void {
    for (const [key, before] of this.#before) this.assign(key, before);
    this.#before.clear();
  }

  deliver(batch: ChangeBatch<Row>): void {
    for (const entry of [...this.#listeners]) {
      if (entry.since >= batch.revision || !this.#listeners.has(entry)) continue;
      try {
        entry.hear(batch);
      } catch (error) {
        this.database.onError(error, this.name);
      }
    }
  }
}
