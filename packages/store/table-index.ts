/** A declared index of a table: from a value to the keys of the rows that have it. */
import { SortedKeys } from "./sorted-keys.ts";
import type { IndexFunction } from "./types.ts";

/** Of a value that several rows have. */
interface Bucket<Row> {
  readonly keys: SortedKeys;
  /** The rows in order, until one of them changes. */
  rows: readonly Row[] | undefined;
}

const NO_VALUES: readonly string[] = [];

export class TableIndex<Row> {
  readonly #of: IndexFunction<Row>;
  /** By value; a key by itself where one row has the value, as in an index of what is nearly unique. */
  readonly #buckets = new Map<string, string | Bucket<Row>>();

  constructor(of: IndexFunction<Row>) {
    this.#of = of;
  }

  /** The row's values, each once. */
  values(row: Row | undefined): readonly string[] {
    const value = row === undefined ? undefined : this.#of(row);
    if (typeof value === "string") return [value];
    return value === undefined || value.length === 0 ? NO_VALUES : [...new Set(value)];
  }

  update(key: string, before: readonly string[], after: readonly string[]): void {
    for (const value of before) {
      const bucket = this.#buckets.get(value);
      if (bucket === undefined) continue;
      const stays = after.includes(value);
      if (typeof bucket === "string") {
        if (!stays) this.#buckets.delete(value);
        continue;
      }
      bucket.rows = undefined;
      if (stays) continue;
      bucket.keys.delete(key);
      if (bucket.keys.size === 0) this.#buckets.delete(value);
    }
    for (const value of after) if (!before.includes(value)) this.#add(value, key);
  }

  #add(value: string, key: string): void {
    const bucket = this.#buckets.get(value);
    if (bucket === undefined) {
      this.#buckets.set(value, key);
      return;
    }
    const shared = typeof bucket === "string" ? { keys: new SortedKeys(), rows: undefined } : bucket;
    if (typeof bucket === "string") {
      shared.keys.add(bucket);
      this.#buckets.set(value, shared);
    }
    shared.rows = undefined;
    shared.keys.add(key);
  }

  rows(value: string, get: (key: string) => Row | undefined): readonly Row[] {
    const bucket = this.#buckets.get(value);
    if (bucket === undefined) return [];
    if (typeof bucket === "string") return [get(bucket) as Row];
    bucket.rows ??= bucket.keys.sorted().map((key) => get(key) as Row);
    return bucket.rows;
  }
}
