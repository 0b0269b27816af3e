/** Blocks by name, by pool, and by every node that they name: thousands of them, of which a change concerns one. */
import type { BlockRow } from "./decode.ts";

export class BlockIndex {
  readonly #rows = new Map<string, BlockRow>();
  readonly #byPool = new Map<string, Set<string>>();
  readonly #byNode = new Map<string, Set<string>>();

  get(key: string): BlockRow | undefined {
    return this.#rows.get(key);
  }

  entries(): IterableIterator<[string, BlockRow]> {
    return this.#rows.entries();
  }

  values(): Iterable<BlockRow> {
    return this.#rows.values();
  }

  /** `uid` of the pool. */
  ofPool(uid: string): BlockRow[] {
    return [...(this.#byPool.get(uid) ?? [])].flatMap((key) => this.#rows.get(key) ?? []);
  }

  /** Keys of blocks that the node has, or has a loan of. */
  of(node: string): readonly string[] {
    return [...(this.#byNode.get(node) ?? [])];
  }

  nodes(): readonly string[] {
    return [...this.#byNode.keys()];
  }

  put(key: string, row: BlockRow | undefined): void {
    const before = this.#rows.get(key);
    if (before !== undefined) {
      remove(this.#byPool, before.poolUid, key);
      for (const node of nodesOf(before)) remove(this.#byNode, node, key);
    }
    if (row === undefined) {
      this.#rows.delete(key);
      return;
    }
    this.#rows.set(key, row);
    add(this.#byPool, row.poolUid, key);
    for (const node of nodesOf(row)) add(this.#byNode, node, key);
  }

  clear(): void {
    this.#rows.clear();
    this.#byPool.clear();
    this.#byNode.clear();
  }
}

const nodesOf = ({ node, borrowers }: BlockRow): readonly string[] =>
  node === undefined ? borrowers : [node, ...borrowers];

function add(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value) ?? new Set<string>();
  index.set(value, keys.add(key));
}

function remove(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value);
  keys?.delete(key);
  if (keys?.size === 0) index.delete(value);
}
