/**
 * The plan of a node: one table and one reconciler a kind, all of them in one applier, in order of dependency.
 *
 *   writers: the pod side (workloads of this node)  --\
 *            the fabric side (nodes, blocks, ...)   ----> plan tables --> reconcilers --> kernel
 *
 * Each writer owns the rows that it put; it never sees the other's.
 */
import type { Clock, Logger } from "@weft/base";
import type { Kernel } from "@weft/kernel/port";
import { type Drift, PLAN_KINDS, type PlanKind, type PlanRow, type PlanRowOf, planKey } from "@weft/model";
import {
  type Applier,
  createApplier,
  createDatabase,
  createReconciler,
  createTable,
  type Database,
  type Reconciler,
  type Table,
} from "@weft/store";
import { type FrontendListener, followFrontends } from "./flows/follow.ts";
import type { KindContext, KindOps, SharedContext } from "./kind.ts";
import { KINDS } from "./registry.ts";
import { countingPrunes, countRepairs, type Repairs } from "./repairs.ts";
import { Skeletons } from "./skeleton.ts";

export interface PlanKindState {
  readonly kind: PlanKind;
  readonly table: Table<PlanRow>;
  readonly reconciler: Reconciler;
  readonly ops: KindOps<PlanKind, unknown>;
  /** Since the start: rows that had drifted and were put right, leftovers that were removed. */
  readonly repairs: Readonly<Repairs>;
}

export interface Plan {
  readonly database: Database;
  readonly applier: Applier;
  readonly kinds: readonly PlanKindState[];
  /** Puts and removes rows in one commit. */
  change(put: Iterable<PlanRow>, remove: Iterable<PlanRow>): void;
  /** Rows of a kind, as planned now. */
  rows<K extends PlanKind>(kind: K): Iterable<PlanRowOf<K>>;
  /** Keys of rows as the applier's flush and repair take them. */
  keys(rows: Iterable<PlanRow>): Record<string, string[]>;
  /** Makes the nftables skeletons that do not stand, each with all elements of its rows. Before the applier starts. */
  ensureSkeletons(): Promise<void>;
  /** Everything that the kernel holds otherwise than planned. Reads only. */
  drift(node: string, rows?: Iterable<PlanRow>): Promise<Drift[]>;
}

export interface PlanOptions {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds between full comparisons with the kernel, by kind; events ask for more. */
  readonly repairInterval: (kind: PlanKind) => number;
  /** Kinds of rows that this plan has, in order of dependency. Default PLAN_KINDS. */
  readonly kinds?: readonly PlanKind[];
  /** Freeze rows as they are put, to find out who writes to them; default true. A frozen list takes several times the memory. */
  readonly freeze?: boolean;
  /** Rows of a kind that are applied in one turn of the event loop. Default: the reconciler's. */
  readonly chunk?: (kind: PlanKind) => number | undefined;
  /** Hears of each frontend once it stands in the kernel. */
  readonly onFrontend?: FrontendListener;
  /** Hears of each leftover that is about to be removed: what is ours, and nobody asked for. */
  readonly onPrune?: (kind: PlanKind, key: string) => void;
}

/** Kinds whose objects the kernel takes away with their link. */
const HANGS_ON_LINK: ReadonlySet<PlanKind> = new Set(["address", "neighbour", "forwarding", "route"]);

export function createPlan(options: PlanOptions): Plan {
  const { kernel, clock, logger, repairInterval } = options;
  const database = createDatabase({
    freeze: options.freeze ?? true,
    onError: (error, where) => logger.error("a listener failed", { where, error: String(error) }),
  });
  const inCommon = new Map<unknown, unknown>();
  const shared = <T>(make: (context: SharedContext) => T): T => {
    if (!inCommon.has(make)) inCommon.set(make, make({ kernel, wanted }));
    return inCommon.get(make) as T;
  };
  const skeletons = new Skeletons(kernel.nftables);
  const kinds = (options.kinds ?? PLAN_KINDS).map((kind): PlanKindState => {
    const table = createTable<PlanRow>(database, { name: kind, key: planKey });
    const make = KINDS[kind] as (context: KindContext<PlanKind>) => KindOps<PlanKind, unknown>;
    const context = {
      kernel,
      table,
      skeletons,
      wanted,
      shared,
      disturbed,
    } as unknown as KindContext<PlanKind>;
    const repairs = { repaired: 0, pruned: 0 };
    const made = make(context);
    const { onFrontend } = options;
    const followed =
      kind === "frontend" && onFrontend !== undefined
        ? (followFrontends(
            made as unknown as KindOps<"frontend", unknown>,
            onFrontend,
          ) as unknown as typeof made)
        : made;
    const ops = countingPrunes(followed, repairs, (key) => options.onPrune?.(kind, key));
    const chunk = options.chunk?.(kind);
    const reconciler = createReconciler<PlanRow, unknown>({
      name: kind,
      table,
      ops,
      clock,
      logger,
      repairInterval: repairInterval(kind),
      repairMinInterval: 200,
      retry: { first: 100, cap: 4000 },
      ...(chunk === undefined ? {} : { chunk }),
    });
    countRepairs(table, reconciler, repairs);
    return { kind, table, reconciler, ops, repairs };
  });
  const byKind = new Map(kinds.map((k) => [k.kind, k]));
  const applier = createApplier({ reconcilers: kinds.map((k) => k.reconciler), clock, logger });

  const keys = (rows: Iterable<PlanRow>): Record<string, string[]> => {
    const result: Record<string, string[]> = {};
    for (const row of rows) {
      result[row.kind] ??= [];
      result[row.kind]?.push(planKey(row));
    }
    return result;
  };

  function* wanted(): Iterable<PlanRow> {
    for (const { table } of kinds) yield* table.rows();
  }

  /** Failures are the rows' own: their status tells of them, and they are retried. */
  async function disturbed(link: string): Promise<void> {
    for (const { table, reconciler } of kinds.filter((k) => HANGS_ON_LINK.has(k.kind))) {
      const rows = [...table.rows()].filter((row) => "link" in row && row.link === link);
      if (rows.length > 0) await reconciler.repair(rows.map(planKey)).catch(() => {});
    }
  }

  return {
    database,
    applier,
    kinds,
    keys,
    ensureSkeletons: () => skeletons.ensure(),
    rows: <K extends PlanKind>(kind: K) => (byKind.get(kind)?.table.rows() ?? []) as Iterable<PlanRowOf<K>>,
    change(put, remove) {
      database.write(() => {
        for (const row of remove) byKind.get(row.kind)?.table.delete(planKey(row));
        for (const row of put) byKind.get(row.kind)?.table.put(row);
      });
    },
    async drift(node, rows) {
      const only = rows === undefined ? undefined : Map.groupBy(rows, (r) => r.kind);
      const found: Drift[] = [];
      for (const state of kinds) {
        const wanted = only === undefined ? undefined : only.get(state.kind);
        if (only !== undefined && wanted === undefined) continue;
        found.push(...(await driftOf(node, state, wanted)));
      }
      return found;
    },
  };
}

async function driftOf(
  node: string,
  state: PlanKindState,
  only: readonly PlanRow[] | undefined,
): Promise<Drift[]> {
  const { kind, table, ops } = state;
  const actuals = new Map<string, unknown[]>();
  for (const actual of await ops.actual.list(only)) {
    const key = ops.actual.keyOf(actual);
    if (key !== undefined) actuals.set(key, [...(actuals.get(key) ?? []), actual]);
  }
  const found: Drift[] = [];
  for (const row of only ?? table.rows()) {
    const key = planKey(row);
    const candidates = actuals.get(key) ?? [];
    actuals.delete(key);
    const typed = row as PlanRowOf<PlanKind>;
    if (candidates.some((a) => ops.actual.matches(typed, a))) continue;
    const difference = candidates.length === 0 ? "missing" : ops.describe(typed, candidates[0]);
    found.push({ node, kind, key, difference, origin: row.origin });
  }
  if (only !== undefined) return found;
  for (const key of actuals.keys())
    found.push({ node, kind, key, difference: "not asked for", origin: undefined });
  return found;
}
