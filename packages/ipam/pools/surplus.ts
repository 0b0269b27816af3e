/**
 * Which blocks may go back: those that nobody has an address of. Of a pool that may be used one block stays in any
 * case, and the others only after a while, because pods come and go in waves; of any other pool they go at once.
 */
import type { Prefix } from "@weft/base";

export interface BlockUse {
  readonly prefix: Prefix;
  readonly pool: string;
  readonly usable: boolean;
  /** Somebody has an address of it, or asks for one. */
  readonly used: boolean;
  /** Monotonic milliseconds since when nobody has; undefined while somebody does. */
  readonly emptySince: number | undefined;
}

export interface Patience {
  /** How long a block must have been empty, in milliseconds: of a pool that may be used, and of one that may not. */
  readonly idle: number;
  readonly drained: number;
}

export interface Surplus {
  readonly blocks: ReadonlySet<Prefix>;
  /** Monotonic time at which there may be more; undefined: not by waiting. */
  readonly next: number | undefined;
}

export function surplusOf(blocks: readonly BlockUse[], now: number, patience: Patience): Surplus {
  const surplus = new Set<Prefix>();
  let next: number | undefined;
  for (const block of blocks) {
    if (block.used || block.emptySince === undefined || isLast(block, blocks)) continue;
    const due = block.emptySince + (block.usable ? patience.idle : patience.drained);
    if (due <= now) surplus.add(block.prefix);
    else next = Math.min(next ?? due, due);
  }
  return { blocks: surplus, next };
}

/** Of blocks that are all empty the first one stays. */
function isLast(block: BlockUse, blocks: readonly BlockUse[]): boolean {
  if (!block.usable) return false;
  const same = blocks.filter((b) => b.pool === block.pool && b.usable);
  return !same.some((b) => b.used) && same[0] === block;
}
