/** Routing rules with our protocol number. */
import { ROUTE_PROTOCOL, type Rule } from "@weft/kernel/port";
import type { RuleRow } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";

const ruleOf = (row: RuleRow): Rule => ({
  from: row.from,
  table: row.table,
  priority: row.priority,
  protocol: ROUTE_PROTOCOL,
});

export function ruleOps({ kernel }: KindContext<"rule">): KindOps<"rule", Rule> {
  const ns = kernel.self;
  return {
    update: (row) => ns.replaceRule(ruleOf(row)),
    delete: (row) => ns.deleteRule(ruleOf(row)),
    actual: {
      list: () => ns.rules().filter((r) => r.protocol === ROUTE_PROTOCOL),
      keyOf: (r) => `${r.from} table ${r.table}`,
      matches: (row, r) => r.priority === row.priority,
      delete: (r) => ns.deleteRule(r),
    },
    describe: (row, r) => `priority is ${r.priority}, not ${row.priority}`,
  };
}
