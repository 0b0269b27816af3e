/**
 * Which address comes next: pure choice over what an implementation remembers.
 *
 * A cursor moves through each block in ascending order; behind it lie the addresses that were used before,
 * ahead of it those that never were. Freed addresses are remembered in the order of their release, and taken
 * in that order when the cursor is at the end. That memory is bounded: the oldest entries are forgotten, and
 * then the cursor starts once more from the beginning, because all that is forgotten was freed before all
 * that is remembered. So a /64 costs no more than a /24, and an address rests as long as can be.
 *
 * At any time each usable address of a block is in use, remembered as freed, ahead of the cursor, or forgotten.
 */
import { addressAt, type Family, familyOf, type IpAddress, type Prefix, WeftError } from "@weft/base";
import { isUsable, type OffsetRange, rangeSize } from "./block.ts";

/** How many freed addresses are remembered, over all blocks, unless told otherwise: 10 MB on disk at most. */
export const REMEMBERED = 65_536;

export interface Cursor {
  /** Offset of the next address to look at. */
  readonly next: bigint;
  /** True if freed addresses were forgotten since the cursor was last at the beginning. */
  readonly forgotten: boolean;
}

/** What an implementation remembers. */
export interface Memory {
  /** Which addresses of the block can be handed out. */
  range(block: Prefix): OffsetRange;
  /** Who holds the address: the id of a workload, or another node in words. */
  holder(address: IpAddress): string | undefined;
  /** Undefined for a block that was never used. */
  cursor(block: Prefix): Cursor | undefined;
  isFreed(block: Prefix, address: IpAddress): boolean;
  /** Freed addresses of the block, the longest freed first. */
  freed(block: Prefix): Iterable<IpAddress>;
}

/** An address and the block it is of; what to remember of the block if it is taken. */
export interface Choice {
  readonly address: IpAddress;
  readonly block: Prefix;
  readonly cursor: Cursor;
  /** Reserved addresses that the cursor passes: as if freed now, for the day they are no longer reserved. */
  readonly passed: readonly IpAddress[];
}

/** One choice for each family that has a block. Throws as `AddressManager.allocate`; changes nothing. */
export function chooseAddresses(
  memory: Memory,
  blocks: readonly Prefix[],
  reserved: readonly IpAddress[],
  wanted: readonly IpAddress[],
): Choice[] {
  const excluded = new Set(reserved);
  const families = [...new Set(blocks.map(familyOf))];
  if (families.length === 0) {
    throw new WeftError("exhausted", "the node has no block to take addresses from", {
      hint: "Give the node a pod range (spec.podCIDRs), or the cluster an IPPool that applies to it.",
    });
  }
  for (const address of wanted) {
    if (!families.includes(familyOf(address))) throw notInBlocks(address, blocks);
  }
  return families.map((family) => {
    const own = blocks.filter((block) => familyOf(block) === family);
    const asked = wanted.filter((address) => familyOf(address) === family);
    if (asked.length > 1) {
      throw new WeftError(
        "invalid",
        `${asked.join(" and ")} are wanted, but a workload has one IPv${family} address`,
        {
          hint: "Ask for at most one address of each family.",
        },
      );
    }
    if (asked[0] !== undefined) return chooseWanted(memory, own, excluded, asked[0]);
    for (const block of own) {
      const choice = chooseNext(memory, block, excluded);
      if (choice !== undefined) return choice;
    }
    throw exhausted(memory, family, own, excluded);
  });
}

function chooseNext(memory: Memory, block: Prefix, excluded: ReadonlySet<string>): Choice | undefined {
  const { first, last } = memory.range(block);
  const start = memory.cursor(block) ?? { next: first, forgotten: false };
  const passed: IpAddress[] = [];
  for (const lap of start.forgotten ? [start, { next: first, forgotten: false }] : [start]) {
    for (let offset = lap.next; offset <= last; offset++) {
      const address = addressAt(block, offset);
      if (memory.holder(address) !== undefined || memory.isFreed(block, address)) continue;
      if (excluded.has(address)) passed.push(address);
      else return { address, block, cursor: { next: offset + 1n, forgotten: lap.forgotten }, passed };
    }
  }
  for (const address of memory.freed(block)) {
    if (excluded.has(address) || memory.holder(address) !== undefined) continue;
    return { address, block, cursor: { next: last + 1n, forgotten: false }, passed };
  }
  return undefined;
}

function chooseWanted(
  memory: Memory,
  blocks: readonly Prefix[],
  excluded: ReadonlySet<string>,
  address: IpAddress,
): Choice {
  const block = blocks.find((b) => isUsable(b, address, memory.range(b)));
  if (block === undefined) throw notInBlocks(address, blocks);
  if (excluded.has(address)) {
    throw new WeftError("invalid", `${address} is reserved for the node itself`, {
      object: address,
      hint: "Ask for another address.",
    });
  }
  const holder = memory.holder(address);
  if (holder !== undefined) {
    throw new WeftError("busy", `${address} is in use by ${holder}`, {
      object: address,
      hint: "Wait until that workload is gone, or ask for another address.",
    });
  }
  const cursor = memory.cursor(block) ?? { next: memory.range(block).first, forgotten: false };
  return { address, block, cursor, passed: [] };
}

const notInBlocks = (address: IpAddress, blocks: readonly Prefix[]): WeftError =>
  new WeftError("invalid", `${address} is not an address for workloads of ${blocks.join(", ")}`, {
    object: address,
    hint: "Ask for an address inside a block of this node, neither its first nor an IPv4 block's last.",
  });

function exhausted(
  memory: Memory,
  family: Family,
  blocks: readonly Prefix[],
  excluded: ReadonlySet<string>,
): WeftError {
  const counts = blocks.map((block) => {
    const range = memory.range(block);
    // Exhausted blocks were just looked through address by address, so counting them is no more work.
    const kept = [...excluded].filter(
      (ip) => isUsable(block, ip as IpAddress, range) && !memory.holder(ip as IpAddress),
    ).length;
    const size = rangeSize(range);
    return `${block} (${size - kept} of ${size} in use${kept === 0 ? "" : `, ${kept} reserved`})`;
  });
  return new WeftError("exhausted", `no free IPv${family} address in ${counts.join(", ")}`, {
    object: blocks.join(", "),
    hint: "Give the node another or a larger block, or remove workloads that are no longer needed.",
  });
}
