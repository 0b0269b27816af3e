/**
 * Whether a pool may be used, and what its status says. Pure.
 *
 *   cannot be read                                   Ready False, Invalid
 *   being deleted                                    Ready False, Deleting; what is left of it
 *   range or block size others than were accepted    Ready False, RangeChanged
 *   overlaps what others have                        Ready False, Overlaps...
 *   else                                             Ready True, Accepted; range and block size are kept from then on
 *
 * Of two pools that overlap, the one that was accepted is good; of two that were not yet, the older. What comes later, such
 * as a node with a podCIDR inside of a pool, takes Ready from a pool that was good: nothing new is given out of it, and what
 * was goes on.
 */
import { bitsOf, contains, familyOf, hostPrefix, overlaps, type Prefix, prefixLength } from "@weft/base";
import type { BlockRow, NodeRanges, PoolRow, Range } from "./decode.ts";

export interface World {
  readonly pools: readonly PoolRow[];
  readonly nodes: ReadonlyMap<string, NodeRanges>;
  /** By name of their ServiceCIDR. */
  readonly services: ReadonlyMap<string, readonly Prefix[]>;
  readonly blocks: Iterable<BlockRow>;
}

export interface Verdict {
  readonly ready: boolean;
  readonly reason: Reason;
  readonly message: string;
  /** To be kept in status. */
  readonly accepted: Range | undefined;
}

export type Reason =
  | "Accepted"
  | "Disabled"
  | "Invalid"
  | "Deleting"
  | "RangeChanged"
  | "OverlapsPool"
  | "OverlapsNodeRange"
  | "OverlapsNodeAddress"
  | "OverlapsServiceRange"
  | "OverlapsBlock";

export function verdictOf(pool: PoolRow, world: World): Verdict {
  const { accepted, asked, disabled } = pool;
  const no = (reason: Reason, message: string): Verdict => ({ ready: false, reason, message, accepted });
  if (pool.deleting) {
    const left = [...world.blocks].filter((b) => b.poolUid === pool.uid);
    return no("Deleting", deleting(left));
  }
  if (asked === undefined) return no("Invalid", pool.fault ?? "it cannot be read");
  if (accepted !== undefined && !isSame(asked, accepted)) {
    return no(
      "RangeChanged",
      `it was accepted with ${rangeText(accepted)}, and now has ${rangeText(asked)}: set it back, or make another pool`,
    );
  }
  const found = overlapOf(pool, asked, world);
  if (found !== undefined) return no(found.reason, found.message);
  if (disabled) {
    const message = `${rangeText(asked)}; spec.disabled is set: no address is given out`;
    return { ready: true, reason: "Disabled", message, accepted: asked };
  }
  return { ready: true, reason: "Accepted", message: rangeText(asked), accepted: asked };
}

const isSame = (a: Range, b: Range): boolean => a.cidr === b.cidr && a.blockSize === b.blockSize;
const rangeText = ({ cidr, blockSize }: Range): string => `${cidr} in blocks of /${blockSize}`;

function deleting(left: readonly BlockRow[]): string {
  if (left.length === 0) return "nothing of it is left";
  const nodes = [...new Set(left.map((b) => b.node ?? "nodes that are gone"))].sort();
  const used = left.reduce((sum, b) => sum + b.used, 0);
  const of =
    nodes.length > 5 ? `${nodes.slice(0, 5).join(", ")} and ${nodes.length - 5} more` : nodes.join(", ");
  return `${left.length} blocks of ${of} are left, with ${used} addresses in use: pods that have them must be deleted first`;
}

function overlapOf(
  pool: PoolRow,
  { cidr }: Range,
  { pools, nodes, services, blocks }: World,
): { reason: Reason; message: string } | undefined {
  for (const other of pools) {
    const range = other.accepted ?? other.asked;
    if (other.uid === pool.uid || range === undefined || !overlaps(range.cidr, cidr)) continue;
    if (comesBefore(other, pool)) {
      return {
        reason: "OverlapsPool",
        message: `${cidr} overlaps ${range.cidr} of IPPool ${other.name}, which was first`,
      };
    }
  }
  for (const [name, prefixes] of services) {
    const range = prefixes.find((p) => overlaps(p, cidr));
    if (range === undefined) continue;
    return { reason: "OverlapsServiceRange", message: `${cidr} overlaps ${range} of ServiceCIDR ${name}` };
  }
  for (const [name, node] of nodes) {
    const range = node.ranges.find((p) => overlaps(p, cidr));
    if (range !== undefined) {
      return {
        reason: "OverlapsNodeRange",
        message: `${cidr} overlaps ${range}, which Node ${name} has in spec.podCIDRs`,
      };
    }
    const address = node.addresses.find((a) => contains(cidr, hostPrefix(a)));
    if (address !== undefined) {
      return {
        reason: "OverlapsNodeAddress",
        message: `${cidr} has ${address} in it, an address of Node ${name}`,
      };
    }
  }
  for (const block of blocks) {
    if (block.poolUid === pool.uid || !overlaps(block.prefix, cidr)) continue;
    return {
      reason: "OverlapsBlock",
      message: `${cidr} overlaps IPBlock ${block.name}, which is left of a pool ${block.pool} that is gone, or another pool's`,
    };
  }
  return undefined;
}

function comesBefore(a: PoolRow, b: PoolRow): boolean {
  if ((a.accepted === undefined) !== (b.accepted === undefined)) return a.accepted !== undefined;
  return a.created - b.created < 0 || (a.created === b.created && a.name < b.name);
}

export interface Counts {
  readonly blocks: number;
  readonly nodes: number;
  readonly used: number;
  readonly free: number;
}

/** Larger numbers are no whole ones in JSON. */
const MOST = BigInt(Number.MAX_SAFE_INTEGER);

/** `blocks`: those of the pool. Its first address, and of IPv4 its last one, are nobody's; ends of tunnels are used. */
export function countsOf({ cidr }: Range, blocks: readonly BlockRow[]): Counts {
  const family = familyOf(cidr);
  const size = 1n << BigInt(bitsOf(family) - prefixLength(cidr));
  const unusable = family === 4 ? 2n : 1n;
  const used = blocks.reduce((sum, b) => sum + b.used, 0);
  const free = size - unusable - BigInt(used);
  return {
    blocks: blocks.length,
    nodes: new Set(blocks.flatMap((b) => b.node ?? [])).size,
    used,
    free: Number(free < 0n ? 0n : free > MOST ? MOST : free),
  };
}
