/**
 * The tunnel's own address: the second address (offset 1) of a node's lowest block of a family. Packets that a
 * node itself sends into the tunnel carry it as their source; with the node's address instead, replies would
 * leave outside the tunnel, where rp_filter or the fabric drops them. Both ends derive it, nobody announces it.
 */
import {
  addressAt,
  compareIp,
  type Family,
  familyOf,
  type IpAddress,
  prefixIp,
  prefixSize,
} from "@weft/base";
import type { Block } from "@weft/model";

/** Undefined when the node has no block of that family that can spare an address (three addresses or more). */
export function tunnelAddressOf(blocks: readonly Block[], family: Family): IpAddress | undefined {
  const candidates = blocks
    .filter((b) => familyOf(b.prefix) === family && prefixSize(b.prefix) >= 4n)
    .sort((a, b) => compareIp(prefixIp(a.prefix), prefixIp(b.prefix)));
  const lowest = candidates[0];
  return lowest === undefined ? undefined : addressAt(lowest.prefix, 1n);
}
