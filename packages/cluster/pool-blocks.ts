/** Blocks of pools beside those of nodes: of two that overlap the node's podCIDR stays. */
import type { Block } from "@weft/model";
import { Ranges } from "./ranges.ts";

export interface AllBlocks {
  readonly blocks: readonly Block[];
  /** What was left out, each in a sentence. */
  readonly errors: readonly string[];
}

/** Puts them together; nodes change seldom, so that what is known of their ranges is kept. */
export function blockCombiner(): (
  ofNodes: readonly Block[],
  ofPools: Iterable<readonly Block[]>,
) => AllBlocks {
  let known: readonly Block[] | undefined;
  let ranges = new Ranges<Block>();
  return (ofNodes, ofPools) => {
    if (known !== ofNodes) {
      ranges = new Ranges();
      for (const block of ofNodes) ranges.put(block.prefix, block);
      known = ofNodes;
    }
    const blocks = [...ofNodes];
    const errors: string[] = [];
    for (const rows of ofPools) {
      for (const row of rows) {
        const other = ofNodes.length === 0 ? undefined : ranges.overlapping(row.prefix);
        if (other === undefined) blocks.push(row);
        else {
          errors.push(
            `IPBlock ${row.origin.name}: ${row.prefix} of node ${row.node} overlaps ${other.prefix} of Node ` +
              `${other.node} (${other.origin.field ?? "spec.podCIDRs"}), which keeps it`,
          );
        }
      }
    }
    return { blocks, errors };
  };
}
