/**
 * Flows that are stale although nobody saw the change: an endpoint that left while no agent ran. Read once at start, not
 * for each change.
 */
import { contains } from "@weft/base";
import { FLOW_STATUS, type Flow, IP_PROTOCOL } from "@weft/kernel/port";
import type { FrontendMatch } from "@weft/model";
import { addressesOf, backendKey, backendsOf, type FlowContext, type Frontend, rowFor } from "./stale.ts";

/** Those of the flows that lead to no backend of their frontend. Flows to what is no frontend are none of them. */
export function strayFlows(
  flows: readonly Flow[],
  frontends: Iterable<{ readonly match: FrontendMatch; readonly frontend: Frontend }>,
  context: FlowContext,
): Flow[] {
  interface Known {
    readonly match: FrontendMatch;
    readonly frontend: Frontend;
    readonly inside: ReadonlySet<string>;
    readonly outside: ReadonlySet<string>;
  }
  const known = new Map<string, Known>();
  for (const { match, frontend } of frontends) {
    const keys = (side: "inside" | "outside") => new Set(backendsOf(rowFor(side, frontend)).map(backendKey));
    const entry = { match, frontend, inside: keys("inside"), outside: keys("outside") };
    for (const ip of addressesOf(match, context))
      known.set(`${IP_PROTOCOL[match.protocol]} ${ip} ${match.port}`, entry);
  }
  return flows.filter(({ protocol, original, reply, status }) => {
    const found = known.get(`${protocol} ${original.destination} ${original.destinationPort}`);
    if (found === undefined) return false;
    const { match } = found;
    const side = context.inside.some((prefix) => contains(prefix, original.source)) ? "inside" : "outside";
    const row = rowFor(side, found.frontend);
    if (row === undefined) return false;
    const isTcp = match.protocol === "tcp";
    if ((status & FLOW_STATUS.destinationNat) === 0) {
      return found[side].size > 0 && !(isTcp && (status & FLOW_STATUS.seenReply) !== 0);
    }
    if (isTcp && !context.resetConnections) return false;
    const backend = { ip: reply.source, port: reply.sourcePort ?? 0 };
    return !found[side].has(backendKey(backend)) && context.draining?.(row, backend) !== true;
  });
}
