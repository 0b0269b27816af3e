/** Counts what was put right: rows that had been done, had drifted and are done again, and leftovers removed. */
import type { PlanKind, PlanRow } from "@weft/model";
import { type Reconciler, sameRow, type Table } from "@weft/store";
import type { KindOps } from "./kind.ts";

export interface Repairs {
  repaired: number;
  pruned: number;
}

/** A row that is done again without having changed was repaired, however many attempts that took. */
export function countRepairs(table: Table<PlanRow>, reconciler: Reconciler, count: Repairs): void {
  const done = new Map<string, PlanRow>();
  reconciler.onChange((key, status) => {
    const row = table.get(key);
    if (status === undefined) done.delete(key);
    else if (status.state === "done" && row !== undefined) {
      const before = done.get(key);
      if (before !== undefined && sameRow(before, row)) count.repaired++;
      done.set(key, row);
    }
  });
}

/** `before` hears of each leftover, by its key, while it is still there. */
export function countingPrunes(
  ops: KindOps<PlanKind, unknown>,
  count: Repairs,
  before: (key: string) => void,
): KindOps<PlanKind, unknown> {
  return {
    ...ops,
    actual: {
      ...ops.actual,
      delete(actual) {
        const key = ops.actual.keyOf(actual);
        if (key !== undefined) before(key);
        const result = ops.actual.delete(actual);
        const removed = (): void => {
          count.pruned++;
        };
        return result instanceof Promise ? result.then(removed) : removed();
      },
    },
  };
}
