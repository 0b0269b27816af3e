/** A table as it was: shares its shards with the table until one of them is written. */
import { WeftError } from "@weft/base";
import { getShared, type ShardedMap, type Shards } from "./shards.ts";
import { compareKeys } from "./sorted-keys.ts";
import { TableIndex } from "./table-index.ts";
import type { Snapshot, TableOptions } from "./types.ts";

export class StaticView<Row> implements Snapshot<Row> {
  readonly name: string;
  readonly revision: number;
  readonly size: number;
  readonly #shards: Shards<Row>;
  readonly #options: TableOptions<Row>;
  /** Order and indexes are made when first asked for: most readers only look up keys. */
  #keys: readonly string[] | undefined;
  #rows: readonly Row[] | undefined;
  readonly #indexes = new Map<string, TableIndex<Row>>();

  constructor(options: TableOptions<Row>, revision: number, rows: ShardedMap<Row>) {
    this.name = options.name;
    this.revision = revision;
    this.size = rows.size;
    this.#shards = rows.share();
    this.#options = options;
  }

  get(key: string): Row | undefined {
    return getShared(this.#shards, key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  keys(): readonly string[] {
    this.#keys ??= this.#shards.flatMap((shard) => [...shard.keys()]).sort(compareKeys);
    return this.#keys;
  }

  rows(): readonly Row[] {
    this.#rows ??= this.keys().map((key) => this.get(key) as Row);
    return this.#rows;
  }

  where(name: string, value: string): readonly Row[] {
    return this.#index(name).rows(value, (key) => this.get(key));
  }

  #index(name: string): TableIndex<Row> {
    let index = this.#indexes.get(name);
    if (index !== undefined) return index;
    const of = this.#options.indexes?.[name];
    if (of === undefined) throw new WeftError("invalid", `table ${this.name} has no index "${name}"`);
    index = new TableIndex(of);
    for (const key of this.keys()) index.update(key, [], index.values(this.get(key)));
    this.#indexes.set(name, index);
    return index;
  }
}
