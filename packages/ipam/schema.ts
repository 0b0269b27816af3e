/**
 * The ledger's file: opening it, and its tables.
 *
 * Write-ahead log, synchronous NORMAL: a commit is in the page cache when it returns, so a killed process loses
 * nothing. A power loss can lose the last commits (never consistency); but it ends the network namespaces too,
 * so the workloads that the lost commits were about are gone with them.
 *
 * locking_mode EXCLUSIVE holds the file for as long as it is open, so that two agents cannot share one. The
 * lock is one of the process (fcntl): no other code of this process may open and close the file.
 */
import { Database } from "bun:sqlite";
import { linkSync, rmSync, statSync } from "node:fs";
import { WeftError } from "@weft/base";

export const SCHEMA_VERSION = 4;
/** "Weft": marks the file as ours (PRAGMA application_id). */
const APPLICATION_ID = 0x57656674;

/** New with version 2: a ledger of version 1 gets it when it is opened. */
const HOST_PORTS = `
  CREATE TABLE host_port (
    workload TEXT NOT NULL REFERENCES workload (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,           -- in the workload's list of host ports
    host_ip TEXT,                        -- null: all addresses of the node
    host_port INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    container_port INTEGER NOT NULL CHECK (container_port BETWEEN 1 AND 65535),
    PRIMARY KEY (workload, position)
  ) STRICT, WITHOUT ROWID;
`;

/** New with version 3. */
const POOLS = `
  CREATE TABLE pool_block (               -- blocks of pools that this node gives out, and addresses that it borrowed
    number INTEGER PRIMARY KEY,          -- the order in which they were opened
    prefix TEXT NOT NULL UNIQUE,
    uid TEXT NOT NULL,                   -- of the IPBlock; of a borrowed address, of the lender's
    pool TEXT NOT NULL,
    pool_uid TEXT NOT NULL,
    pool_cidr TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'lost')),
    deleting TEXT,                       -- the version whose deletion was sent last
    loan TEXT UNIQUE,                    -- of a borrowed address: id of the loan
    lent_from TEXT,                      -- of a borrowed address: the lender's block
    wanted INTEGER                       -- of a borrowed address: 1 if somebody asked for this very one
  ) STRICT;

  CREATE TABLE held (                    -- addresses of those that no workload of this node has
    address TEXT PRIMARY KEY,
    block TEXT NOT NULL REFERENCES pool_block (prefix),
    loan TEXT UNIQUE,                    -- null: this node's own end of its tunnels
    node TEXT NOT NULL,                  -- who has it
    pod TEXT,
    since INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TRIGGER lease_of_held BEFORE INSERT ON lease
  WHEN EXISTS (SELECT 1 FROM held WHERE address = NEW.address)
  BEGIN SELECT RAISE(ABORT, 'the address is held for another node or a tunnel'); END;

  CREATE TRIGGER held_of_lease BEFORE INSERT ON held
  WHEN EXISTS (SELECT 1 FROM lease WHERE address = NEW.address)
  BEGIN SELECT RAISE(ABORT, 'a workload has the address'); END;
`;

/** New with version 4. No key leads to a workload: these are gone. */
const FORMER = `
  CREATE TABLE former (                  -- the last holders of addresses, the oldest of which are forgotten
    number INTEGER PRIMARY KEY,          -- ascending: the order of release
    address TEXT NOT NULL,
    pod_namespace TEXT,
    pod_name TEXT,
    pod_uid TEXT,
    container_id TEXT NOT NULL,
    interface TEXT NOT NULL,
    host_link TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    why TEXT                             -- null: the runtime said so
  ) STRICT;
  CREATE INDEX former_by_address ON former (address, number);
`;

const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE workload (
    number INTEGER PRIMARY KEY,          -- the order of allocation
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('allocating', 'ready', 'releasing')),
    boot TEXT NOT NULL,                  -- the boot under which it was allocated
    network TEXT NOT NULL,
    container_id TEXT NOT NULL,
    interface TEXT NOT NULL,
    namespace_path TEXT NOT NULL,
    namespace_identity TEXT NOT NULL,
    pod_namespace TEXT,
    pod_name TEXT,
    pod_uid TEXT,
    mac TEXT NOT NULL,
    host_link TEXT NOT NULL,
    since INTEGER NOT NULL               -- milliseconds since the epoch
  ) STRICT;

  CREATE TABLE lease (
    address TEXT PRIMARY KEY,            -- an address is held once, whatever the code does
    workload TEXT NOT NULL REFERENCES workload (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,           -- in the workload's list of addresses
    UNIQUE (workload, position)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE block (
    prefix TEXT PRIMARY KEY,
    next TEXT NOT NULL,                  -- offset of the cursor; text, for it can pass 2^63
    forgotten INTEGER NOT NULL           -- 1 if freed addresses were forgotten since the cursor's last start
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE freed (
    release INTEGER PRIMARY KEY,         -- ascending: the order of release
    block TEXT NOT NULL REFERENCES block (prefix) ON DELETE CASCADE,
    address TEXT NOT NULL,
    UNIQUE (address, block)
  ) STRICT;
  CREATE INDEX freed_in_order ON freed (block, release);
${HOST_PORTS}${POOLS}${FORMER}`;

/** Opens or creates the file, and holds its lock. Throws "busy", "unsupported", "invalid" or "unavailable". */
export function openDatabase(path: string): Database {
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) create(path);
    // A ledger is put in place complete, so an empty file is one that lost its content.
    if (statSync(path).size === 0) throw damaged(path, "it is empty");
    return checked(path, connect(path, false));
  } catch (error) {
    throw asWeftError(path, error);
  }
}

function connect(path: string, create: boolean): Database {
  const database = new Database(path, { create, readwrite: true, strict: true });
  try {
    // Before the first access to the log, or the log would be shared.
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    // Before the first write: what is not ours stays as it is.
    if (!create) checkHeader(path, database);
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run("PRAGMA foreign_keys = ON");
    // Takes the lock that is then kept.
    database.run("BEGIN EXCLUSIVE");
    database.run("COMMIT");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Makes the file beside its place and moves it there when it is complete. */
function create(path: string): void {
  const draft = `${path}.new-${process.pid}`;
  const clear = (): void => {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(draft + suffix, { force: true });
  };
  clear();
  try {
    const database = connect(draft, true);
    try {
      database.run(`BEGIN; ${TABLES} COMMIT`);
      database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
      database.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    } finally {
      database.close();
    }
    // A link fails where a rename would replace what another process has just made.
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    clear();
  }
}

function checkHeader(path: string, database: Database): void {
  if (pragma(database, "application_id") !== APPLICATION_ID) {
    throw new WeftError("invalid", `${path} is a database, but no ledger of addresses`, {
      object: path,
      hint: "Give the ledger a path of its own.",
    });
  }
  const version = Number(pragma(database, "user_version"));
  if (version > SCHEMA_VERSION) {
    throw new WeftError(
      "unsupported",
      `${path} was written by a newer version: its schema is ${version}, and this one knows ${SCHEMA_VERSION}`,
      { object: path, hint: "Run the newer version again, or drain the node and move the file away." },
    );
  }
  if (version < 1) throw damaged(path, `there is no schema version ${version}`);
}

/** From an earlier version to this one, whole or not at all. Only of a ledger that was found sound. */
function migrate(database: Database): void {
  const version = Number(pragma(database, "user_version"));
  if (version === SCHEMA_VERSION) return;
  database
    .transaction(() => {
      if (version < 2) database.run(HOST_PORTS);
      if (version < 3) database.run(POOLS);
      database.run(FORMER);
      database.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    })
    .immediate();
}

function checked(path: string, database: Database): Database {
  try {
    const fault = pragma(database, "quick_check");
    if (fault !== "ok") throw damaged(path, String(fault));
    if (database.query("PRAGMA foreign_key_check").get() !== null) {
      throw damaged(
        path,
        "it has leases or ports of workloads, or addresses of blocks, that it does not know",
      );
    }
    migrate(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const pragma = (database: Database, name: string): unknown =>
  Object.values(database.query<Record<string, unknown>, []>(`PRAGMA ${name}`).get() ?? {})[0];

const damaged = (path: string, why: string, cause?: unknown): WeftError =>
  new WeftError("invalid", `the ledger ${path} is damaged: ${why}`, {
    object: path,
    hint:
      "Nothing was removed from it. Restore the file from a copy; or drain the node, move the file away together with " +
      `${path}-wal, and start again with an empty ledger.`,
    ...(cause === undefined ? {} : { cause }),
  });

/** SQLite's result codes (https://www.sqlite.org/rescode.html) as ours. */
export function asWeftError(path: string, error: unknown): WeftError {
  if (error instanceof WeftError) return error;
  const { code = "", message = String(error) } = error as { code?: string; message?: string };
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return new WeftError("busy", `the ledger ${path} is in use by another process`, {
      object: path,
      hint: "Only one agent can run on a node's ledger: stop the other one, or give this one another path.",
      cause: error,
    });
  }
  if (/^SQLITE_(NOTADB|CORRUPT|ERROR)/.test(code)) return damaged(path, message, error);
  if (/^SQLITE_(CONSTRAINT|MISMATCH|MISUSE|RANGE)/.test(code)) {
    return new WeftError("internal", `the ledger ${path} refused a change: ${message}`, {
      object: path,
      hint: "Nothing was changed. This is a defect: please report it with the message.",
      cause: error,
    });
  }
  if (/^(SQLITE_(PERM|READONLY|AUTH)|EACCES|EPERM|EROFS)/.test(code)) {
    return new WeftError("permission", `the ledger ${path} cannot be written: ${message}`, {
      object: path,
      hint: "Run as root, and look at the permissions of the file and its directory.",
      cause: error,
    });
  }
  return new WeftError("unavailable", `the ledger ${path} cannot be used: ${message}`, {
    object: path,
    hint: "See that its directory exists and that the filesystem has space.",
    cause: error,
  });
}
