/** What the agent tells of itself. Reads only; nothing here is kept. */

import type { Plan } from "@weft/apply";
import { NFT_TABLE } from "@weft/apply";
import { describeError } from "@weft/base";
import type { Ledger } from "@weft/ipam";
import type { Kernel } from "@weft/kernel/port";
import type {
  AgentStatus,
  ForeignChain,
  PlanRow,
  PlanTableStatus,
  RowStatus,
  ServicesStatus,
} from "@weft/model";
import type { Audit } from "./audit/audit.ts";
import type { FabricState } from "./fabric-state.ts";
import type { KnownPods } from "./known-pods.ts";
import type { MetricsStatus } from "./metrics/listener.ts";
import type { PodPlan } from "./pod-plan.ts";
import type { Pools } from "./pools/pools.ts";
import { readUnderlay } from "./underlay.ts";
import { VERSION } from "./version.ts";

export interface StatusSources {
  readonly node: string;
  readonly startedAt: number;
  readonly kernel: Kernel;
  readonly plan: Plan;
  readonly pods: PodPlan;
  readonly ledger: Ledger;
  readonly fabric: FabricState;
  readonly known: KnownPods;
  readonly pools: Pools;
  readonly waitingFor: () => string | undefined;
  readonly pausedUntil: () => number | undefined;
  readonly services: ServicesStatus;
  readonly audit: Audit;
  readonly metrics: MetricsStatus;
}

export function agentStatus(s: StatusSources): AgentStatus {
  const context = s.pods.context;
  const waitingFor = s.waitingFor();
  const cpu = process.cpuUsage();
  const pools = s.pools.status();
  const plain = (context?.blocks ?? []).filter((b) => b.pool === undefined).map((b) => b.prefix);
  return {
    version: VERSION,
    node: s.node,
    pid: process.pid,
    startedAt: s.startedAt,
    ready: waitingFor === undefined,
    waitingFor,
    pausedUntil: s.pausedUntil(),
    settings: s.fabric.settings,
    settingsError: s.fabric.settingsError,
    context,
    underlay: readUnderlay(s.kernel.self),
    peers: s.fabric.peers(),
    workloads: s.ledger.workloads().map((w) => s.known.named(w.workload)),
    plan: s.plan.kinds.map((k) => tableStatus(k)),
    problems: s.fabric.problems(),
    foreignChains: foreignChains(s.kernel),
    blocks: s.ledger.usage([...plain, ...(pools?.blocks ?? []).map((b) => b.prefix)]),
    memory: process.memoryUsage.rss(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    source: s.fabric.sourceState,
    sourceErrors: s.fabric.sourceErrors,
    services: s.services,
    ...(pools !== undefined && { pools }),
    audit: s.audit.status(),
    metrics: s.metrics,
  };
}

/** Of a table with more rows than `most`, the items are those in error alone. */
export function tableStatus(
  { kind, table, reconciler, repairs }: Plan["kinds"][number],
  most = Number.POSITIVE_INFINITY,
): PlanTableStatus {
  const summary = reconciler.summary();
  const isFaulty = (row: PlanRow): boolean => reconciler.status(table.keyOf(row))?.state === "error";
  const few = table.size <= most;
  const shown = few ? table.rows() : summary.errors === 0 ? [] : table.rows().filter(isFaulty).slice(0, most);
  const items = shown.map((row): RowStatus => {
    const key = table.keyOf(row);
    const status = reconciler.status(key);
    return {
      key,
      state: status?.state ?? "pending",
      error: status?.message,
      attempts: status?.attempts ?? 0,
      since: status?.since ?? 0,
      origin: row.origin,
      row,
    };
  });
  return {
    kind,
    rows: summary.rows,
    done: summary.done,
    pending: summary.pending,
    errors: summary.errors,
    lastError: summary.lastError?.message ?? summary.repairError,
    repaired: repairs.repaired,
    pruned: repairs.pruned,
    items,
  };
}

function foreignChains(kernel: Kernel): ForeignChain[] {
  try {
    return kernel.nftables.foreignDrops(NFT_TABLE);
  } catch (error) {
    return [
      {
        family: "?",
        table: describeError(error),
        chain: "?",
        hook: "?",
        priority: 0,
        policy: undefined,
        hasDropRules: false,
      },
    ];
  }
}
