/**
 * The tunnel's own address: the second address (offset 1) of a node's lowest block of a family. Packets that a
 * node itself sends into the tunnel carry it as their source; with the node's address instead, replies would
 * leave outside the tunnel, where rp_filter or the fabric drops them. Both ends derive it, nobody announces it.
 */
import { addressAt, compareIp, type Family, familyOf, type IpAddress, prefixSize } from "@weft/base";
import type { Block } from "@weft/model";

/** Undefined when the node has no block of that family that can spare an address (four addresses or more). */
export function tunnelAddressOf(blocks: readonly Block[], family: Family): IpAddress | undefined {
  return tunnelCandidates(blocks.filter((b) => familyOf(b.prefix) === family))[0];
}

/** What can become the tunnel's address when blocks come and go: no pod may have one of these. In order. */
export function tunnelCandidates(blocks: readonly Block[]): IpAddress[] {
  return blocks
    .filter((b) => prefixSize(b.prefix) >= 4n)
    .map((b) => addressAt(b.prefix, 1n))
    .sort(compareIp);
}
