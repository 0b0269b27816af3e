/**
 * A set of keys that can be read in order. Changes since the last reading are kept aside and merged at the next one,
 * so that a few changes among many keys cost one pass and no sorting. The array handed out never changes.
 */
export class SortedKeys {
  #sorted: readonly string[] = [];
  /** Keys to merge in (true) or leave out (false). */
  readonly #changed = new Map<string, boolean>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The key must not be in the set. */
  add(key: string): void {
    this.#size++;
    if (!this.#changed.delete(key)) this.#changed.set(key, true);
  }

  /** The key must be in the set. */
  delete(key: string): void {
    this.#size--;
    if (!this.#changed.delete(key)) this.#changed.set(key, false);
  }

  sorted(): readonly string[] {
    if (this.#changed.size === 0) return this.#sorted;
    const added: string[] = [];
    for (const [key, isAdded] of this.#changed) if (isAdded) added.push(key);
    added.sort(compareKeys);
    const merged: string[] = [];
    let next = 0;
    for (const key of this.#sorted) {
      while (next < added.length && (added[next] as string) < key) merged.push(added[next++] as string);
      if (this.#changed.get(key) !== false) merged.push(key);
    }
    while (next < added.length) merged.push(added[next++] as string);
    this.#changed.clear();
    this.#sorted = merged;
    return merged;
  }
}

/** Order of UTF-16 code units: the same on every machine. */
export const compareKeys = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
