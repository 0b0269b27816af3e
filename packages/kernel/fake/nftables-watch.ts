/** Tells of changes of a ruleset in memory, as the kernel tells of its own (../nftables/watch.ts). */
import type { NftFamily } from "../port.ts";
import type { Tables } from "./ruleset.ts";

/** Families and names of tables that are not the same in both: what scripts leave alone stays the same object. */
export function changedTables(before: Tables, after: Tables): { family: NftFamily; table: string }[] {
  const changed: { family: NftFamily; table: string }[] = [];
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    if (Bun.deepEquals(before.get(key), after.get(key))) continue;
    const [family, table] = key.split(" ");
    changed.push({ family: family as NftFamily, table: table ?? "" });
  }
  return changed;
}
