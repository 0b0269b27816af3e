/**
 * Flows of connection tracking that belong to the node's services: removed when they lead nowhere any more, and counted.
 * What a flow means depends on the plan (which rows a frontend has), on the node (whose addresses are its own) and on the
 * slices (who is ending, but still serves).
 */
import { countFlows, createFlowCleaner, type FlowContext, type Frontend, type Plan } from "@weft/apply";
import { type Clock, describeError, hostPrefix, type Logger, prefixIp } from "@weft/base";
import type { Services } from "@weft/compile";
import type { Kernel } from "@weft/kernel/port";
import { type Backend, type FrontendRow, planKey } from "@weft/model";

export interface ServiceFlowsOptions {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly services: Services;
  readonly plan: Plan;
  readonly resetConnections: () => boolean;
}

export interface ServiceFlows {
  /** One frontend became another in the kernel. */
  changed(before: FrontendRow | undefined, after: FrontendRow | undefined): void;
  /** Services or slices may have changed. */
  committed(): void;
  /** Looks for what changed while nobody was there. */
  sweep(): Promise<void>;
  /** Connections to each backend of the rows, by key; empty when that cannot be read. */
  counts(rows: readonly FrontendRow[]): Promise<ReadonlyMap<string, readonly number[]>>;
  close(): void;
}

export function createServiceFlows(options: ServiceFlowsOptions): ServiceFlows {
  const { kernel, clock, logger, services, plan } = options;

  const frontend = (match: FrontendRow["match"]): Frontend => {
    const table = plan.kinds.find(({ kind }) => kind === "frontend")?.table;
    const row = (scope: FrontendRow["scope"]): FrontendRow | undefined =>
      table?.get(planKey({ kind: "frontend", scope, match } as FrontendRow)) as FrontendRow | undefined;
    return { any: row("any"), outside: row("outside") };
  };

  const draining = ({ match, origin }: FrontendRow, { ip, port }: Backend): boolean =>
    services.slices
      .where("service", `${origin.namespace}/${origin.name}`)
      .some(
        (slice) =>
          slice.ports.some((p) => p.port === port && p.protocol === match.protocol) &&
          slice.endpoints.some((e) => e.ip === ip && e.state === "terminating"),
      );

  const context = (): FlowContext => ({
    nodePortAddresses: [...plan.rows("node-port-address")].map((row) => row.ip),
    inside: [
      ...[...plan.rows("pod-range")].filter((row) => row.role === "local").map((row) => row.prefix),
      ...new Set(kernel.self.addresses().map(({ address }) => hostPrefix(prefixIp(address)))),
    ],
    resetConnections: options.resetConnections(),
    draining,
  });

  const cleaner = createFlowCleaner({ conntrack: kernel.conntrack, clock, logger, frontend, context });
  return {
    changed: (before, after) => cleaner.changed(before, after),
    committed: () => cleaner.drained(),
    sweep: () => cleaner.sweep([...plan.rows("frontend")]),
    async counts(rows) {
      try {
        return await countFlows(kernel.conntrack, rows, frontend, context());
      } catch (error) {
        logger.warn("connections cannot be counted", { error: describeError(error) });
        return new Map();
      }
    },
    close: () => cleaner.close(),
  };
}
