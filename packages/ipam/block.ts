/** Which addresses of a block can be handed out. Offsets count from the first address of the block. */
import {
  contains,
  familyOf,
  type IpAddress,
  ipToBigInt,
  makePrefix,
  type Prefix,
  prefixIp,
  prefixLength,
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

/** Of a pool's blocks, what is left out at the ends of the pool: blocks in between are used whole. May be empty. */
export function poolRange(block: Prefix, pool: Prefix): OffsetRange {
  const start = ipToBigInt(prefixIp(block)) - ipToBigInt(prefixIp(pool));
  const whole = usableRange(pool);
  const last = prefixSize(block) - 1n;
  return {
    first: start < whole.first ? whole.first - start : 0n,
    last: start + last > whole.last ? whole.last - start : last,
  };
}

/** `range` is that of the block's addresses that can be handed out. */
export function isUsable(block: Prefix, address: IpAddress, range = usableRange(block)): boolean {
  if (!contains(block, address)) return false;
  const offset = ipToBigInt(address) - ipToBigInt(prefixIp(block));
  return range.first <= offset && offset <= range.last;
}

/** Number of addresses in such a range, at most Number.MAX_SAFE_INTEGER. */
export function rangeSize({ first, last }: OffsetRange): number {
  const size = last < first ? 0n : last - first + 1n;
  return size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(size);
}

/** Usage of blocks when these addresses are held. Each address is looked up once a length of prefix, however many blocks. */
export function usageOf(
  blocks: readonly Prefix[],
  held: readonly IpAddress[],
  range: (block: Prefix) => OffsetRange = usableRange,
): BlockUsage[] {
  const used = new Map<string, number>(blocks.map((prefix) => [prefix, 0]));
  const lengths = { 4: new Set<number>(), 6: new Set<number>() };
  for (const prefix of used.keys()) lengths[familyOf(prefix)].add(prefixLength(prefix));
  for (const address of held) {
    for (const length of lengths[familyOf(address)]) {
      const prefix = makePrefix(address, length);
      const count = used.get(prefix);
      if (count !== undefined) used.set(prefix, count + 1);
    }
  }
  return blocks.map((prefix) => ({ prefix, used: used.get(prefix) ?? 0, size: rangeSize(range(prefix)) }));
}
