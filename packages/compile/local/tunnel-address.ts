/**
 * A node's own address inside of the tunnel. Packets that a node itself sends into the tunnel carry it as their source; with
 * the node's address instead, replies would leave outside the tunnel, where rp_filter or the fabric drops them.
 *
 * Of podCIDRs it is the second address (offset 1) of the lowest one of a family: both ends derive it, nobody announces it,
 * and it stays when blocks of pools come and go. A node without podCIDRs of that family has it from a pool: one of its
 * blocks, or a loan, says so (Block.tunnelAddress). Should two of them do, while it moves, the lower address counts.
 */
import { addressAt, compareIp, type Family, familyOf, type IpAddress, prefixSize } from "@weft/base";
import type { Block } from "@weft/model";

/** Undefined when the node has no range of that family that can spare an address, and no block that says which. */
export function tunnelAddressOf(blocks: readonly Block[], family: Family): IpAddress | undefined {
  const own = blocks.filter((b) => familyOf(b.prefix) === family);
  return derived(own)[0] ?? stated(own)[0];
}

/** What is or can become the tunnel's address when blocks come and go: no pod may have one of these. In order. */
export const tunnelCandidates = (blocks: readonly Block[]): IpAddress[] =>
  [...derived(blocks), ...stated(blocks)].sort(compareIp);

const derived = (blocks: readonly Block[]): IpAddress[] =>
  blocks
    .filter((b) => b.pool === undefined && prefixSize(b.prefix) >= 4n)
    .map((b) => addressAt(b.prefix, 1n))
    .sort(compareIp);

const stated = (blocks: readonly Block[]): IpAddress[] =>
  blocks.flatMap((b) => (b.pool === undefined ? [] : (b.tunnelAddress ?? []))).sort(compareIp);
