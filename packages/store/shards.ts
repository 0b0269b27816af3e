/**
 * A map that can be shared with its own past. Rows lie in a fixed number of shards by a hash of the key; `share`
 * hands out the array of shards and marks all of them as shared, and the first write to a shared shard copies that
 * shard alone: a write after a snapshot of 100,000 rows copies some 400 of them instead of all.
 */
const SHARDS = 256;

export type Shards<Value> = readonly ReadonlyMap<string, Value>[];

export class ShardedMap<Value> {
  /** At first one empty shard in every place, owned by none, so that small tables stay small. */
  #shards: Map<string, Value>[] = new Array(SHARDS).fill(new Map<string, Value>());
  /** Shards that were made since the last `share` and so may be written in place. */
  readonly #own = new Set<Map<string, Value>>();
  #arrayIsShared = false;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): Value | undefined {
    return getShared(this.#shards, key);
  }

  set(key: string, value: Value): void {
    const shard = this.#writable(key);
    const before = shard.size;
    shard.set(key, value);
    this.#size += shard.size - before;
  }

  delete(key: string): void {
    if (this.get(key) === undefined) return;
    if (this.#writable(key).delete(key)) this.#size--;
  }

  /** What is in the map now, for ever. */
  share(): Shards<Value> {
    this.#own.clear();
    this.#arrayIsShared = true;
    return this.#shards;
  }

  #writable(key: string): Map<string, Value> {
    const index = shardOf(key);
    const shard = this.#shards[index] as Map<string, Value>;
    if (this.#own.has(shard)) return shard;
    if (this.#arrayIsShared) {
      this.#shards = [...this.#shards];
      this.#arrayIsShared = false;
    }
    const copy = new Map(shard);
    this.#shards[index] = copy;
    this.#own.add(copy);
    return copy;
  }
}

export const getShared = <Value>(shards: Shards<Value>, key: string): Value | undefined =>
  (shards[shardOf(key)] as ReadonlyMap<string, Value>).get(key);

/** FNV-1a over code units, folded to the number of shards. */
function shardOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return ((hash >>> 16) ^ hash) & (SHARDS - 1);
}
