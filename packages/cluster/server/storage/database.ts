/**
 * The file that holds everything: SQLite in WAL mode with full sync, so that an answered write is on the disk.
 *
 * A new file is made under another name and renamed when it is whole; a data file that is there and is none of ours,
 * empty, cut off or damaged is reported, and never replaced. One server has a file: it holds a lock on `FILE.lock`,
 * which the kernel takes back from a process that was killed. Readers of the file itself (backup) need no lock.
 */
import { Database } from "bun:sqlite";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import { describeError, WeftError } from "@weft/base";

/** "Weft", in the header of the file. */
const APPLICATION_ID = 0x57656674;
const FORMAT = 1;

/**
 * One row a change: the object as it was from then on (`deleted`: as it was last). The newest row of a key is its
 * state. `previous` is the revision of the state before, `time` in milliseconds, `digest` a CRC-32 of the value.
 */
const TABLES = `
  CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    storage TEXT NOT NULL,
    key TEXT NOT NULL,
    previous INTEGER,
    deleted INTEGER NOT NULL,
    time INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    value TEXT NOT NULL
  ) STRICT;
  CREATE INDEX log_by_key ON log (storage, key, revision);
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  INSERT INTO counters VALUES ('revision', 1), ('compacted', 0);
`;

export interface OpenDatabase {
  readonly database: Database;
  /** Why what is written would be lost, or undefined: somebody has removed or replaced a file that is open. */
  lost(): string | undefined;
  close(): void;
}

/** Opens the file for a server, or makes it. Throws "busy", "invalid" (damaged), "unsupported" (a later format). */
export function openDatabase(file: string): OpenDatabase {
  makeDirectory(dirname(file));
  const lock = takeLock(file);
  try {
    if (!existsSync(file)) createFile(file);
    // Earlier versions and a copy by hand leave it open to others.
    else if (statSync(file).isFile()) chmodSync(file, 0o600);
    const database = openChecked(file);
    return {
      database,
      lost: watchPlaces([file, `${file}-wal`]),
      close() {
        database.close();
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** SQLite goes on with files that have no name any more: what it commits to them is gone when it closes them. */
function watchPlaces(files: readonly string[]): () => string | undefined {
  const inode = (file: string): string => {
    const found = statSync(file, { throwIfNoEntry: false });
    return found === undefined ? "" : `${found.dev}:${found.ino}`;
  };
  const held = files.map((file) => [file, inode(file)] as const);
  return () => {
    const gone = held.find(([file, before]) => inode(file) !== before);
    return gone && `${gone[0]} was removed or replaced while the server has it open`;
  };
}

/** For its owner alone, as far as it is not there. Throws "unavailable". */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new WeftError("unavailable", `cannot make the directory: ${describeError(cause)}`, {
      object: path,
      hint: "Give another one with --data, or make it as somebody who may.",
      cause,
    });
  }
}

const OTHER_SERVER = {
  message: "another server has this file open",
  hint: "Stop that server, or give this one a directory of its own with --data.",
};

/** Holds `FILE.lock` until closed, or this process ends. Throws "busy" when another process has it. */
export function takeLock(file: string, { message, hint } = OTHER_SERVER): { close(): void } {
  let lock: Database | undefined;
  try {
    lock = new Database(`${file}.lock`, { create: true });
    lock.run("PRAGMA busy_timeout = 0");
    lock.run("PRAGMA locking_mode = EXCLUSIVE");
    lock.run("BEGIN EXCLUSIVE");
    const held = lock;
    return { close: () => held.close() };
  } catch (cause) {
    lock?.close();
    if (/locked|busy/i.test(describeError(cause)))
      throw new WeftError("busy", message, { object: file, hint, cause });
    throw new WeftError("unavailable", `cannot be locked: ${describeError(cause)}`, {
      object: `${file}.lock`,
      hint: "This file only holds a lock: remove it when no server runs, and see that its directory can be written.",
      cause,
    });
  }
}

function createFile(file: string): void {
  for (const left of [`${file}-wal`, `${file}-shm`]) {
    if (existsSync(left)) {
      throw new WeftError("invalid", `the data file is missing, but ${left} is there`, {
        object: file,
        hint: "Restore a backup with `weft server restore`, or remove that file to start empty.",
      });
    }
  }
  const made = `${file}.new`;
  beginFile(made);
  const database = new Database(made, { create: true, strict: true });
  database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
  database.run(`PRAGMA user_version = ${FORMAT}`);
  database.transaction(() => database.run(TABLES))();
  database.close();
  publishFile(made, file);
}

/**
 * An empty file for SQLite to fill, which only its owner may read: among the objects are Secrets. What SQLite puts
 * beside a file has the mode of the file.
 */
export function beginFile(made: string): void {
  rmSync(made, { force: true });
  closeSync(openSync(made, "wx", 0o600));
}

/** Puts a finished file in place, durably. */
export function publishFile(made: string, file: string): void {
  sync(made);
  renameSync(made, file);
  sync(dirname(file));
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openChecked(file: string): Database {
  const database = openExisting(file);
  try {
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
    // Bytes of the write-ahead log that are kept after a checkpoint.
    database.run("PRAGMA journal_size_limit = 16777216");
    database.run("PRAGMA cache_size = -16384");
    // The write-ahead log is made by a first write; its name must be as durable as what comes into it.
    database.run("UPDATE counters SET value = value");
    sync(dirname(file));
    return database;
  } catch (error) {
    database.close();
    throw damaged(file, error);
  }
}

/** Opens a data file that must be there and be whole; every live object is read and compared with its digest. */
export function openExisting(file: string, { readonly = false } = {}): Database {
  if (statSync(file, { throwIfNoEntry: false }) === undefined) {
    throw new WeftError("not-found", "there is no such file", {
      object: file,
      hint: "Check the path: --data is the directory of a server, and `weft server` makes one that is not there.",
    });
  }
  if (statSync(file).size === 0) throw damaged(file, new Error("it is empty"));
  let database: Database;
  try {
    database = new Database(file, readonly ? { readonly, strict: true } : { readwrite: true, strict: true });
  } catch (error) {
    throw damaged(file, error);
  }
  try {
    const application = pragma(database, "application_id");
    if (application !== APPLICATION_ID) throw new Error("it is not a file of this server");
    const format = pragma(database, "user_version");
    if (format > FORMAT) {
      throw new WeftError("unsupported", `the file has format ${format}, this version knows ${FORMAT}`, {
        object: file,
        hint: "Use the version of weft that wrote it, or a later one.",
      });
    }
    verify(database);
    return database;
  } catch (error) {
    database.close();
    if (error instanceof WeftError) throw error;
    throw damaged(file, error);
  }
}

const pragma = (database: Database, name: string): number =>
  Object.values(database.query(`PRAGMA ${name}`).get() as Record<string, number>)[0] ?? 0;

function verify(database: Database): void {
  const found = database.query("PRAGMA quick_check(3)").values().flat().join("; ");
  if (found !== "ok") throw new Error(found);
  for (const row of database.query("SELECT revision, digest, value FROM log").iterate()) {
    const { revision, digest, value } = row as { revision: number; digest: number; value: string };
    if (digestOf(value) !== digest)
      throw new Error(`the object of revision ${revision} is not as it was written`);
  }
}

export const digestOf = (value: string): number => Bun.hash.crc32(value);

function damaged(file: string, cause: unknown): WeftError {
  return new WeftError("invalid", "the data file is damaged, and is left as it is", {
    object: file,
    hint: "Restore a backup with `weft server restore`, or move the file away to start empty.",
    cause,
  });
}
