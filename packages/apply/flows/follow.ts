/**
 * Hears what becomes of frontends in the kernel: operations of a reconciler that tell of each row once it stands there.
 *
 *     followFrontends(frontendOps(context), (before, after) => cleaner.changed(before, after))
 *
 * A row that stands already when it is first looked at is known from then on, and no change. One that is found otherwise
 * is told of without what was there before: sweep() sees to that.
 */
import { type FrontendRow, servicePlanKey } from "@weft/model";
import type { KindOps } from "../kind.ts";

export type FrontendListener = (before: FrontendRow | undefined, after: FrontendRow | undefined) => void;

export function followFrontends<Actual>(
  ops: KindOps<"frontend", Actual>,
  changed: FrontendListener,
): KindOps<"frontend", Actual> {
  const standing = new Map<string, FrontendRow>();
  const updated = (row: FrontendRow): void => {
    const key = servicePlanKey(row);
    const before = standing.get(key);
    standing.set(key, row);
    changed(before, row);
  };
  const deleted = (row: FrontendRow): void => {
    const key = servicePlanKey(row);
    const before = standing.get(key) ?? row;
    standing.delete(key);
    changed(before, undefined);
  };
  const { updateMany, deleteMany, actual } = ops;
  return {
    ...ops,
    async update(row, previous) {
      await ops.update(row, previous);
      updated(row);
    },
    async delete(row) {
      await ops.delete(row);
      deleted(row);
    },
    ...(updateMany === undefined
      ? {}
      : {
          async updateMany(rows) {
            await updateMany(rows);
            for (const row of rows) updated(row);
          },
        }),
    ...(deleteMany === undefined
      ? {}
      : {
          async deleteMany(rows) {
            await deleteMany(rows);
            for (const row of rows) deleted(row);
          },
        }),
    actual: {
      ...actual,
      matches(row, held) {
        const matches = actual.matches(row, held);
        if (matches) standing.set(servicePlanKey(row), row);
        return matches;
      },
    },
  };
}
