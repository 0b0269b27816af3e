/** Which addresses of a block can be handed out. Offsets count from the first address of the block. */
import { bitsOf, contains, familyOf, type IpAddress, ipToBigInt, type Prefix, prefixIp, prefixSize } from "@weft/base";

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

/** True for text that `familyOf` and `contains` can be trusted with: an address, not a prefix. */
export const isWithin = (blocks: readonly Prefix[], address: IpAddress): boolean =>
  bitsOf(familyOf(address)) > 0 && blocks.some((block) => contains(block, address));
