/**
 * How one kind of plan row reaches the kernel: the operations of its reconciler, and words for what differs.
 * One file a kind under kinds/, one line in registry.ts.
 */

import type { Kernel } from "@weft/kernel/port";
import type { PlanKind, PlanRow, PlanRowOf } from "@weft/model";
import type { ReadableTable, ReconcilerOps } from "@weft/store";
import type { Skeletons } from "./skeleton.ts";

/** What a kind's operations stand on. */
export interface KindContext<K extends PlanKind> {
  readonly kernel: Kernel;
  /** The rows that are wanted: kinds whose objects cannot be listed look there for what to read. */
  readonly table: ReadableTable<PlanRowOf<K>>;
  /** Rows of all kinds of this plan. */
  wanted(): Iterable<PlanRow>;
  /** What several kinds of a plan have in common: made by the first that asks with this function. */
  shared<T>(make: (context: SharedContext) => T): T;
  /** For kinds whose objects are elements of nftables: makes the tables around them. */
  readonly skeletons: Skeletons;
  /** A link of ours was made again or lost what hangs on it: resolves when its rows of later kinds are back. */
  disturbed(link: string): Promise<void>;
}

export type SharedContext = Pick<KindContext<PlanKind>, "kernel" | "wanted">;

export interface KindOps<K extends PlanKind, Actual> extends ReconcilerOps<PlanRowOf<K>, Actual> {
  readonly actual: NonNullable<ReconcilerOps<PlanRowOf<K>, Actual>["actual"]>;
  /** What is different from the row, in a few words: "mtu is 1400, not 1450". */
  describe(row: PlanRowOf<K>, actual: Actual): string;
}

/** "x is A, not B" for each property that differs. */
export function differences(
  pairs: readonly (readonly [name: string, is: unknown, wanted: unknown])[],
): string[] {
  return pairs
    .filter(([, is, wanted]) => is !== wanted)
    .map(([name, is, wanted]) => `${name} is ${is ?? "absent"}, not ${wanted ?? "absent"}`);
}
