/** Tables that are written by hand. */
import { WeftError } from "@weft/base";
import { DatabaseCore } from "./database.ts";
import { TableBase } from "./table-base.ts";
import type { Database, Table, TableOptions } from "./types.ts";

class WrittenTable<Row> extends TableBase<Row> implements Table<Row> {
  readonly rank = 0;

  put(row: Row): boolean {
    this.#mustBeWriting();
    return this.assign(this.keyOf(row), row);
  }

  delete(key: string): boolean {
    this.#mustBeWriting();
    return this.assign(key, undefined);
  }

  replaceAll(rows: Iterable<Row>): void {
    this.#mustBeWriting();
    const wanted = new Map<string, Row>();
    for (const row of rows) wanted.set(this.keyOf(row), row);
    for (const key of this.keys()) if (!wanted.has(key)) this.assign(key, undefined);
    for (const [key, row] of wanted) this.assign(key, row);
  }

  #mustBeWriting(): void {
    if (this.database.isWriting) return;
    throw new WeftError("invalid", `table ${this.name} can only be written inside database.write`);
  }
}

/** Adds an empty table to the database. Throws "exists" when it has one of that name. */
export function createTable<Row>(database: Database, options: TableOptions<Row>): Table<Row> {
  if (!(database instanceof DatabaseCore)) {
    throw new WeftError("invalid", `table ${options.name}: the database was not made by createDatabase`);
  }
  const table = new WrittenTable(database, options);
  database.add(table as TableBase<unknown>);
  return table;
}
