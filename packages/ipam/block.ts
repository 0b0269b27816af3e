/** Which addresses of a block can be handed out. Offsets count from the first address of the block. */
import {
  contains,
  familyOf,
  type IpAddress,
  ipToBigInt,
  type Prefix,
  prefixIp,
  prefixSize,
} from "@weft/base";

import type { BlockUsage } from "./address-manager.ts";

export interface OffsetRange {
  readonly first: bigint;
  /** Inclusive. */
  readonly last: bigint;
}

/** The first address is left out in blocks of more than two, and so is the last IPv4 one. */
export function usableRange(block: Prefix): OffsetRange {
  const size = prefixSize(block);
  if (size <= 2n) return { first: 0n, last: size - 1n };
  return { first: 1n, last: familyOf(block) === 4 ? size - 2n : size - 1n };
}

export function isUsable(block: Prefix, address: IpAddress): boolean {
  if (!contains(block, address)) return false;
  const { first, last } = usableRange(block);
  const offset = ipToBigInt(address) - ipToBigInt(prefixIp(block));
  return first <= offset && offset <= last;
}

/** Number of addresses that can be handed out, at most Number.MAX_SAFE_INTEGER. */
export function usableSize(block: Prefix): number {
  const { first, last } = usableRange(block);
  const size = last - first + 1n;
  return size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(size);
}

/** Usage of blocks when these addresses are held. */
export function usageOf(blocks: readonly Prefix[], held: readonly IpAddress[]): BlockUsage[] {
  return blocks.map((prefix) => ({
    prefix,
    used: held.filter((address) => contains(prefix, address)).length,
    size: usableSize(prefix),
  }));
}
