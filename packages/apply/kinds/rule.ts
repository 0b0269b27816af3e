/** Routing rules with our protocol number. A source and a table have one rule, whatever its priority was. */
import { ROUTE_PROTOCOL, type Rule } from "@weft/kernel/port";
import type { RuleRow } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";

const ruleOf = (row: RuleRow): Rule => ({
  from: row.from,
  table: row.table,
  priority: row.priority,
  protocol: ROUTE_PROTOCOL,
});
const keyOf = (r: Pick<Rule, "from" | "table">): string => `${r.from} table ${r.table}`;

export function ruleOps({ kernel }: KindContext<"rule">): KindOps<"rule", readonly Rule[]> {
  const ns = kernel.self;
  const own = (): Rule[] => ns.rules().filter((r) => r.protocol === ROUTE_PROTOCOL);
  return {
    update(row) {
      ns.replaceRule(ruleOf(row));
      // The kernel keeps the same rule of another priority beside it.
      for (const rule of own())
        if (keyOf(rule) === keyOf(row) && rule.priority !== row.priority) ns.deleteRule(rule);
    },
    delete: (row) => ns.deleteRule(ruleOf(row)),
    actual: {
      list: () => Map.groupBy(own(), keyOf).values(),
      keyOf: ([first]) => (first === undefined ? undefined : keyOf(first)),
      matches: (row, rules) => rules.length === 1 && rules[0]?.priority === row.priority,
      delete(rules) {
        for (const rule of rules) ns.deleteRule(rule);
      },
    },
    describe: (row, rules) =>
      `priority is ${rules.map((r) => r.priority).join(" and ")}, not ${row.priority}`,
  };
}
