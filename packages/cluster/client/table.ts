/** Rows of a watch into a table of the store. */
import type { RowBatch } from "./watch.ts";

/** What is needed of a store's table. */
export interface RowTable<Row> {
  readonly database: { write<T>(fn: () => T): T };
  keyOf(row: Row): string;
  put(row: Row): boolean;
  delete(key: string): boolean;
  replaceAll(rows: Iterable<Row>): void;
}

/** An `onChange` that keeps `table` equal to what is watched, one commit a batch. Nobody else may write to it. */
export function intoTable<Row>(
  table: RowTable<Row>,
): (batch: Pick<RowBatch<Row>, "reset" | "changes">) => void {
  return ({ reset, changes }) =>
    table.database.write(() => {
      if (reset) {
        table.replaceAll(changes.flatMap(({ after }) => (after === undefined ? [] : [after])));
        return;
      }
      // First what goes: an object that was replaced may leave its key to another one.
      for (const { before, after } of changes) {
        if (before === undefined) continue;
        const key = table.keyOf(before);
        if (after === undefined || table.keyOf(after) !== key) table.delete(key);
      }
      for (const { after } of changes) if (after !== undefined) table.put(after);
    });
}
