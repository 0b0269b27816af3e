/** A declared index of a table: from a value to the keys of the rows that have it. */
import { SortedKeys } from "./sorted-keys.ts";
import type { IndexFunction } from "./types.ts";

interface Bucket<Row> {
  readonly keys: SortedKeys;
  /** The rows in order, until one of them changes. */
  rows: readonly Row[] | undefined;
}

export class TableIndex<Row> {
  readonly #of: IndexFunction<Row>;
  readonly #buckets = new Map<string, Bucket<Row>>();

  constructor(of: IndexFunction<Row>) {
    this.#of = of;
  }

  /** The row's values, each once. */
  values(row: Row | undefined): ReadonlySet<string> {
    const value = row === undefined ? undefined : this.#of(row);
    return new Set(typeof value === "string" ? [value] : value);
  }

  update(key: string, before: ReadonlySet<string>, after: ReadonlySet<string>): void {
    for (const value of before) {
      const bucket = this.#buckets.get(value);
      if (bucket === undefined) continue;
      bucket.rows = undefined;
      if (after.has(value)) continue;
      bucket.keys.delete(key);
      if (bucket.keys.size === 0) this.#buckets.delete(value);
    }
    for (const value of after) {
      if (before.has(value)) continue;
      let bucket = this.#buckets.get(value);
      if (bucket === undefined) {
        bucket = { keys: new SortedKeys(), rows: undefined };
        this.#buckets.set(value, bucket);
      }
      bucket.rows = undefined;
      bucket.keys.add(key);
    }
  }

  rows(value: string, get: (key: string) => Row | undefined): readonly Row[] {
    const bucket = this.#buckets.get(value);
    if (bucket === undefined) return [];
    bucket.rows ??= bucket.keys.sorted().map((key) => get(key) as Row);
    return bucket.rows;
  }
}
