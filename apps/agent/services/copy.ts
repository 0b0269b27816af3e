/**
 * The last known services of an API, on disk: what an agent goes on with that starts while the API server is away, and
 * what makes its first plan the one that the kernel holds already.
 *
 * One row a row, so that a change writes itself and not thirty thousand services; SQLite in WAL mode, where a commit
 * costs some microseconds. It is a copy: whatever is wrong with it, it is made anew.
 */
import { Database } from "bun:sqlite";
import { rmSync } from "node:fs";
import { describeError, type Logger } from "@weft/base";
import type { Services } from "@weft/compile";
import type { Change } from "@weft/store";

const VERSION = 1;
const TABLES = ["nodes", "pools", "blocks", "ranges", "services", "slices"] as const;
type TableName = (typeof TABLES)[number];

export class ServiceCopy {
  readonly #file: string;
  readonly #logger: Logger;
  #database: Database | undefined;

  constructor(file: string, logger: Logger) {
    this.#file = file;
    this.#logger = logger;
    this.#database = this.#attempt("be opened", () => this.#open());
    if (this.#database !== undefined) return;
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true });
    this.#database = this.#attempt("be made anew", () => this.#open());
  }

  #open(): Database {
    const database = new Database(this.#file, { create: true, strict: true });
    try {
      database.run("PRAGMA journal_mode = WAL");
      database.run("PRAGMA synchronous = NORMAL");
      const { user_version: version } = database.query("PRAGMA user_version").get() as {
        user_version: number;
      };
      if (version !== VERSION) {
        database.run("DROP TABLE IF EXISTS rows");
        database.run(
          "CREATE TABLE rows (kind TEXT, key TEXT, row TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID",
        );
        database.run(`PRAGMA user_version = ${VERSION}`);
      }
      database.query("SELECT count(*) FROM rows").get();
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Puts what is kept into the tables; inside of a write. False when there is nothing. */
  load(services: Services): boolean {
    const rows = this.#attempt("be read", () =>
      this.#database
        ?.query("SELECT kind, row FROM rows")
        .all()
        .map((r) => {
          const { kind, row } = r as { kind: TableName; row: string };
          return { kind, row: JSON.parse(row) as never };
        }),
    );
    for (const { kind, row } of rows ?? []) if (TABLES.includes(kind)) services[kind].put(row);
    return rows !== undefined && rows.length > 0;
  }

  /** Keeps every change of the tables from now on. What is there and not in the tables goes; so it does after a failure. */
  follow(services: Services): void {
    let whole = false;
    const attempt = (write: () => void): void => {
      const written = this.#attempt("be written", () => {
        write();
        return true;
      });
      whole = written === true;
    };
    attempt(() => this.#replace(services));
    for (const kind of TABLES) {
      services[kind].watch(({ changes }) =>
        attempt(() => (whole ? this.#write(kind, changes) : this.#replace(services))),
      );
    }
  }

  #replace(services: Services): void {
    const database = this.#database;
    if (database === undefined) return;
    database.transaction(() => {
      for (const kind of TABLES) {
        const known = new Set(
          database
            .query("SELECT key FROM rows WHERE kind = ?")
            .all(kind)
            .map((r) => (r as { key: string }).key),
        );
        const table = services[kind];
        const gone = [...known].filter((key) => !table.has(key)).map((key) => ({ key, after: undefined }));
        this.#put(database, kind, [...gone, ...table.keys().map((key) => ({ key, after: table.get(key) }))]);
      }
    })();
  }

  #write(kind: TableName, changes: readonly Change<unknown>[]): void {
    const database = this.#database;
    if (database !== undefined) database.transaction(() => this.#put(database, kind, changes))();
  }

  #put(database: Database, kind: TableName, changes: Iterable<Pick<Change<unknown>, "key" | "after">>): void {
    const put = database.query("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)");
    const remove = database.query("DELETE FROM rows WHERE kind = ? AND key = ?");
    for (const { key, after } of changes) {
      if (after === undefined) remove.run(kind, key);
      else put.run(kind, key, JSON.stringify(after));
    }
  }

  #attempt<T>(what: string, action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      this.#logger.warn(`the copy of the services cannot ${what}`, {
        file: this.#file,
        error: describeError(error),
      });
      return undefined;
    }
  }

  close(): void {
    this.#attempt("be closed", () => this.#database?.close());
    this.#database = undefined;
  }
}
