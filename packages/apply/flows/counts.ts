/** How many connections each backend of a frontend has now, for whoever shows a service. */
import { type Conntrack, type FlowFilter, IP_PROTOCOL } from "@weft/kernel/port";
import { type FrontendRow, servicePlanKey } from "@weft/model";
import { addressesOf, backendsOf, type FlowContext, type Frontend } from "./stale.ts";

/**
 * Flows of each row to each of its backends, in their order, by the key of the row. One walk of the kernel's table for
 * each protocol, however many rows. `frontend` gives the rows of a match: where there are two, each has its own sources.
 */
export async function countFlows(
  conntrack: Pick<Conntrack, "count">,
  rows: readonly FrontendRow[],
  frontend: (match: FrontendRow["match"]) => Frontend,
  context: FlowContext,
): Promise<Map<string, number[]>> {
  const filters: FlowFilter[] = [];
  const targets: { readonly key: string; readonly backend: number }[] = [];
  const counts = new Map<string, number[]>();
  for (const row of rows) {
    const { match, scope } = row;
    const key = servicePlanKey(row);
    const backends = backendsOf(row);
    counts.set(
      key,
      backends.map(() => 0),
    );
    const both = frontend(match).outside !== undefined;
    const from = both ? { from: { inside: scope === "any", prefixes: context.inside } } : {};
    backends.forEach(({ ip, port }, backend) => {
      for (const destination of addressesOf(match, context)) {
        targets.push({ key, backend });
        filters.push({
          family: match.family,
          protocol: IP_PROTOCOL[match.protocol],
          original: { destination, destinationPort: match.port },
          reply: { source: ip, sourcePort: port },
          translated: true,
          ended: false,
          ...from,
        });
      }
    });
  }
  const found = filters.length === 0 ? [] : await conntrack.count(filters);
  targets.forEach(({ key, backend }, i) => {
    const row = counts.get(key) as number[];
    row[backend] = (row[backend] ?? 0) + (found[i] ?? 0);
  });
  return counts;
}
