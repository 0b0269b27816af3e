/**
 * The newest version of each block that this node cares for, from watches, reads and its own writes. Versions of one
 * kind are decimal numbers that grow (Kubernetes KEP-5504); of what cannot be compared the later told counts.
 */
import { blockName, type IpBlock } from "@weft/model";

export class KnownBlocks {
  readonly #blocks = new Map<string, IpBlock>();
  /** Grows with whatever is known. */
  revision = 0;

  /** All that a watch tells of. What it does not is unknown again, whatever was known. */
  take(blocks: readonly IpBlock[]): void {
    this.revision++;
    const told = new Set(blocks.map((b) => b.name));
    for (const name of this.#blocks.keys()) if (!told.has(name)) this.#blocks.delete(name);
    for (const block of blocks) this.learn(block);
  }

  learn(block: IpBlock): void {
    this.revision++;
    const known = this.#blocks.get(block.name);
    if (known === undefined || !isOlder(block.resourceVersion, known.resourceVersion))
      this.#blocks.set(block.name, block);
  }

  /** The latest state, read a moment ago: whatever was told before does not count. */
  replace(name: string, block: IpBlock | undefined): void {
    this.revision++;
    if (block === undefined) this.#blocks.delete(name);
    else this.#blocks.set(name, block);
  }

  get(name: string): IpBlock | undefined {
    return this.#blocks.get(name);
  }

  of(prefix: IpBlock["prefix"]): IpBlock | undefined {
    return this.#blocks.get(blockName(prefix));
  }

  all(): IpBlock[] {
    return [...this.#blocks.values()];
  }
}

export function isOlder(a: string, b: string): boolean {
  if (!/^[1-9]\d*$/.test(a) || !/^[1-9]\d*$/.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}
