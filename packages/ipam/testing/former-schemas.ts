/** What ledgers of earlier versions were made by, for tests: there are such ledgers on nodes, whatever this version has. */
export const SCHEMA_1 = `
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
  PRAGMA application_id = ${0x57656674};
  PRAGMA user_version = 1;
`;

/** What version 2 added to one of version 1. */
export const SCHEMA_2 = `
  CREATE TABLE host_port (
    workload TEXT NOT NULL REFERENCES workload (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,           -- in the workload's list of host ports
    host_ip TEXT,                        -- null: all addresses of the node
    host_port INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    container_port INTEGER NOT NULL CHECK (container_port BETWEEN 1 AND 65535),
    PRIMARY KEY (workload, position)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 2;
`;
