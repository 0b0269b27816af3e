/** Which base chains of other tables can drop a forwarded packet: reachability over their chains. Pure. */
import type { BaseChain, ForeignDrop } from "../port.ts";
import { NF_DROP } from "./constants.ts";
import type { RuleOutcome, Verdict } from "./decode.ts";

/** True for a base chain that packets between two other hosts pass. */
export function seesForwarded({ family, hook }: BaseChain): boolean {
  if (hook === "forward") return family !== "arp" && family !== "netdev";
  return hook === "ingress" && (family === "netdev" || family === "inet");
}

/**
 * True if a rule that drops is in `chain` or in a chain that is reachable from it.
 * `verdicts` gives what the elements of a verdict map of this table say.
 */
export function reachesDrop(
  chain: string,
  rules: readonly RuleOutcome[],
  verdicts: (map: string) => readonly Verdict[],
): boolean {
  const byChain = Map.groupBy(rules, (rule) => rule.chain);
  const seen = new Set<string>([chain]);
  for (const name of seen) {
    for (const rule of byChain.get(name) ?? []) {
      if (rule.drops) return true;
      for (const next of rule.jumps) seen.add(next);
      for (const map of rule.verdictMaps) {
        for (const verdict of verdicts(map)) {
          if (verdict.code === NF_DROP) return true;
          if (verdict.chain !== undefined) seen.add(verdict.chain);
        }
      }
    }
  }
  return false;
}

/** True for the table of that name, and for one of that name with a dash and more behind it. */
export const isOwn = (table: string, ownTable: string): boolean =>
  table === ownTable || table.startsWith(`${ownTable}-`);

/** The row for a base chain, undefined when it cannot drop. */
export function foreignDrop(chain: BaseChain, hasDropRules: boolean): ForeignDrop | undefined {
  if (chain.policy !== "drop" && !hasDropRules) return undefined;
  const { family, table, name, hook, priority, policy } = chain;
  return { family, table, chain: name, hook, priority, policy, hasDropRules };
}
