/**
 * Copies of the data file. A backup is one consistent moment, also of a server that runs; restoring needs the server
 * to be stopped.
 *
 * A restored state is older than what clients have seen, and the same revision may come to mean something else. So a
 * restored file counts on from far above, with all before compacted: every watch is told 410 and lists again.
 */
import { Database } from "bun:sqlite";
import { existsSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { describeError, WeftError } from "@weft/base";
import { beginFile, openExisting, publishFile, takeLock } from "./database.ts";

/** More revisions than a server writes between a backup and its loss: a thousand a second for eleven days. */
const JUMP = 1_000_000_000;

export interface CopyReport {
  readonly file: string;
  readonly objects: number;
  readonly revision: number;
}

/** Writes a copy of `file` to `target`, which must not be there. */
export function backup(file: string, target: string): CopyReport {
  refuseExisting(target, "Choose another name, or remove that file.");
  const source = openExisting(file, { readonly: true });
  const made = `${target}.new`;
  try {
    beginFile(made);
    source.query("VACUUM INTO ?").run(made);
  } catch (error) {
    rmSync(made, { force: true });
    throw new WeftError("unavailable", `cannot write it: ${describeError(error)}`, {
      object: target,
      hint: "Check that the directory is there and that there is room.",
      cause: error,
    });
  } finally {
    source.close();
  }
  const copy = openExisting(made, { readonly: true });
  const report = reportOf(copy, target);
  copy.close();
  publishFile(made, resolve(target));
  return report;
}

/** Makes `file` from a backup. What is there is only replaced with `replace`. */
export function restore(source: string, file: string, { replace = false } = {}): CopyReport {
  if (!replace) refuseExisting(file, "Add --replace to replace the server's data.");
  const lock = takeLock(file);
  const made = `${file}.new`;
  try {
    const from = openExisting(source, { readonly: true });
    try {
      beginFile(made);
      from.query("VACUUM INTO ?").run(made);
    } finally {
      from.close();
    }
    const database = new Database(made, { readwrite: true, strict: true });
    database.transaction(() => {
      database.run(
        "DELETE FROM log WHERE deleted = 1 OR revision NOT IN (SELECT max(revision) FROM log GROUP BY storage, key)",
      );
      const revision = newestRevision(database) + JUMP;
      database.query("UPDATE counters SET value = ?").run(revision);
    })();
    const report = reportOf(database, file);
    database.close();
    // The log of the file that goes must never be applied to the one that comes.
    for (const left of [`${file}-wal`, `${file}-shm`]) rmSync(left, { force: true });
    publishFile(made, resolve(file));
    return report;
  } finally {
    rmSync(made, { force: true });
    lock.close();
  }
}

function refuseExisting(path: string, hint: string): void {
  if (!existsSync(dirname(resolve(path)))) {
    throw new WeftError("not-found", "there is no such directory", {
      object: dirname(resolve(path)),
      hint: "Make it first, or give a path in another one.",
    });
  }
  if (existsSync(path)) {
    throw new WeftError("exists", "the file is there already", {
      object: path,
      hint,
    });
  }
}

function reportOf(database: Database, file: string): CopyReport {
  const { objects } = database
    .query(
      "SELECT count(*) AS objects FROM (SELECT max(revision), deleted FROM log GROUP BY storage, key) WHERE deleted = 0",
    )
    .get() as { objects: number };
  return { file, objects, revision: newestRevision(database) };
}

const newestRevision = (database: Database): number =>
  (
    database
      .query(
        "SELECT max(value) AS newest FROM (SELECT value FROM counters UNION ALL SELECT max(revision) FROM log)",
      )
      .get() as { newest: number }
  ).newest;
