/** The durable address manager: an SQLite file that one process at a time can hold. */
import type { Database } from "bun:sqlite";
import { readFileSync } from "node:fs";
import { type Clock, type IpAddress, type Prefix, systemClock } from "@weft/base";
import type { Workload } from "@weft/model";
import type { AddressManager, AddressRequest, BlockUsage, LedgerEntry } from "./address-manager.ts";
import { isUsable, type OffsetRange, poolRange, usableRange, usageOf } from "./block.ts";
import { type Choice, chooseAddresses, type Memory, REMEMBERED } from "./choose.ts";
import { releasing, unknown, workloadExists } from "./errors.ts";
import { type FormerHolder, SqliteFormer } from "./former.ts";
import { type PoolRecords, SqlitePoolRecords } from "./pool-records.ts";
import { type HostPortColumns, hostPortColumns, parametersOf, type Row, toEntry } from "./rows.ts";
import { asWeftError, openDatabase } from "./schema.ts";

export interface LedgerOptions {
  readonly clock?: Clock;
  /** Identity of the running kernel; /proc/sys/kernel/random/boot_id by default. */
  readonly bootId?: string;
  /** How many freed addresses are remembered, over all blocks; 65,536 by default. */
  readonly remember?: number;
  /** How many leases that have ended; 4,096 by default. */
  readonly rememberHolders?: number;
}

export interface Ledger extends AddressManager {
  readonly path: string;
  /** Grows with every change: what was worked out of the ledger holds as long as this is the same. */
  readonly revision: number;
  /** What it holds of pools. `allocate` gives nothing of a block of theirs that is not open. */
  readonly pools: PoolRecords;
  /**
   * True if the file was last opened, or any of its workloads allocated, under another boot: namespaces of
   * that time are gone. It stays true over restarts until the last such workload is released.
   */
  readonly rebooted: boolean;
  /** Who had that address before, or any address; the latest first, at most `most` (100 by default). */
  former(address?: IpAddress, most?: number): readonly FormerHolder[];
  /** Who was behind that link last. */
  formerOfLink(hostLink: string): FormerHolder | undefined;
}

/**
 * Opens the ledger, or creates it where there is none. Throws "busy" while another process has it open,
 * "unsupported" for the file of a newer version, "invalid" for a damaged one, which is never changed.
 */
export function openLedger(path: string, options: LedgerOptions = {}): Ledger {
  const bootId = options.bootId ?? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const database = openDatabase(path);
  try {
    return new SqliteLedger(path, database, bootId, options);
  } catch (error) {
    database.close();
    throw asWeftError(path, error);
  }
}

class SqliteLedger implements Ledger {
  readonly path: string;
  readonly pools: PoolRecords;
  readonly rebooted: boolean;
  revision = 0;
  readonly #database: Database;
  readonly #statements: Statements;
  readonly #clock: Clock;
  readonly #bootId: string;
  readonly #remember: number;
  readonly #memory: Memory;
  readonly #former: SqliteFormer;
  /** By id, of those that were read before: but for its state nothing of one changes. */
  readonly #read = new Map<string, Workload>();

  constructor(path: string, database: Database, bootId: string, options: LedgerOptions) {
    this.path = path;
    this.#database = database;
    this.#bootId = bootId;
    this.#clock = options.clock ?? systemClock;
    this.#remember = options.remember ?? REMEMBERED;
    const s = prepare(database);
    this.#statements = s;
    this.#former = new SqliteFormer(database, options.rememberHolders);
    this.#memory = {
      range: (block) => this.#range(block),
      holder: (address) => s.holder.get(address)?.workload ?? this.pools.heldBy(address),
      cursor: (block) => {
        const row = s.cursor.get(block);
        return row === null ? undefined : { next: BigInt(row.next), forgotten: row.forgotten === 1 };
      },
      isFreed: (block, address) => s.isFreed.get(address, block) !== null,
      *freed(block) {
        for (const { address } of s.freed.iterate(block)) yield address;
      },
    };
    this.pools = new SqlitePoolRecords(database, {
      memory: this.#memory,
      clock: this.#clock,
      atomically: (action) => this.#atomically(action),
      take: ({ address, block, cursor, passed }) => {
        s.setCursor.run(block, String(cursor.next), cursor.forgotten ? 1 : 0);
        for (const other of passed) this.#remembered(other, block);
        s.unfree.run(address);
      },
      freed: (address) => this.#free(address),
    });
    this.rebooted = this.#atomically(() => {
      const last = s.boot.get()?.value;
      s.setBoot.run(bootId);
      return (last !== undefined && last !== bootId) || s.ofOtherBoot.get(bootId) !== null;
    });
  }

  #range(block: Prefix): OffsetRange {
    const record = this.pools.block(block);
    if (record === undefined) return usableRange(block);
    // What another node lent is one address, and good as it is.
    return record.loan === undefined ? poolRange(block, record.poolCidr) : { first: 0n, last: 0n };
  }

  allocate(
    request: AddressRequest,
    blocks: readonly Prefix[],
    reserved: readonly IpAddress[],
    wanted: readonly IpAddress[] = [],
  ): Workload {
    const s = this.#statements;
    return this.#atomically(() => {
      if (s.row.get(request.id) !== null) throw workloadExists(request.id);
      const choices = chooseAddresses(this.#memory, this.pools.usable(blocks), reserved, wanted);
      const workload = { ...request, addresses: choices.map((c) => c.address), since: this.#clock.now() };
      s.addWorkload.run({ ...parametersOf(workload), boot: this.#bootId });
      for (const { block, cursor } of choices)
        s.setCursor.run(block, String(cursor.next), cursor.forgotten ? 1 : 0);
      for (const [position, choice] of choices.entries()) this.#take(choice, request.id, position);
      for (const [position, port] of request.hostPorts.entries())
        s.addHostPort.run({ workload: request.id, position, ...hostPortColumns(port) });
      return workload;
    });
  }

  #take({ address, block, passed }: Choice, id: string, position: number): void {
    const s = this.#statements;
    for (const other of passed) this.#remembered(other, block);
    s.unfree.run(address);
    s.addLease.run(address, id, position);
  }

  #remembered(address: IpAddress, block: Prefix): void {
    const s = this.#statements;
    s.addFreed.run(block, address);
    const oldest = (s.lastRelease.get()?.release ?? 0) - this.#remember;
    for (const forgotten of s.forget.all(oldest)) s.setForgotten.run(forgotten.block);
  }

  markReady(id: string): void {
    this.#atomically(() => {
      const entry = this.get(id);
      if (entry === undefined) throw unknown(id);
      if (entry.state === "releasing") throw releasing(id);
      this.#statements.setState.run("ready", id);
    });
  }

  beginRelease(id: string): boolean {
    return this.#atomically(() => this.#statements.setState.run("releasing", id).changes > 0);
  }

  release(id: string, why?: string): boolean {
    const s = this.#statements;
    return this.#atomically(() => {
      const entry = this.get(id);
      if (entry === undefined) return false;
      s.dropWorkload.run(id);
      this.#read.delete(id);
      for (const address of entry.workload.addresses) this.#free(address);
      this.#former.remember(entry.workload, this.#clock.now(), why);
      return true;
    });
  }

  former(address?: IpAddress, most = 100): readonly FormerHolder[] {
    return this.#former.list(address, most);
  }

  formerOfLink(hostLink: string): FormerHolder | undefined {
    return this.#former.ofLink(hostLink);
  }

  #free(address: IpAddress): void {
    for (const { prefix } of this.#statements.blocks.all())
      if (isUsable(prefix, address, this.#range(prefix))) this.#remembered(address, prefix);
  }

  get(id: string): LedgerEntry | undefined {
    const row = this.#statements.row.get(id);
    return row === null ? undefined : this.#entry(row);
  }

  workloads(): readonly LedgerEntry[] {
    const { states, row } = this.#statements;
    return states.all().map(({ id, state }) => {
      const known = this.#read.get(id);
      if (known !== undefined) return { workload: known, state };
      const entry = this.#entry(row.get(id) as Row);
      // What is read in the middle of a transaction may never have been.
      if (!this.#database.inTransaction) this.#read.set(id, entry.workload);
      return entry;
    });
  }

  #entry(row: Row): LedgerEntry {
    return toEntry(
      row,
      this.#statements.leases.all(row.id).map((l) => l.address),
      this.#statements.hostPorts.all(row.id),
    );
  }

  usage(blocks: readonly Prefix[]): readonly BlockUsage[] {
    const held = this.#statements.allLeases.all().map((l) => l.address);
    const others = this.pools.held().map((h) => h.address);
    return usageOf(blocks, [...held, ...others], (block) => this.#range(block));
  }

  close(): void {
    this.#database.close();
  }

  /** One transaction; an error leaves everything as it was. */
  #atomically<T>(action: () => T): T {
    this.revision++;
    try {
      return this.#database.transaction(action).immediate();
    } catch (error) {
      throw asWeftError(this.path, error);
    }
  }
}

type Statements = ReturnType<typeof prepare>;

function prepare(db: Database) {
  return {
    boot: db.query<{ value: string }, []>("SELECT value FROM meta WHERE key = 'boot'"),
    setBoot: db.query<void, [string]>("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?)"),
    ofOtherBoot: db.query<{ id: string }, [string]>("SELECT id FROM workload WHERE boot <> ? LIMIT 1"),

    row: db.query<Row, [string]>("SELECT * FROM workload WHERE id = ?"),
    states: db.query<Pick<Row, "id" | "state">, []>("SELECT id, state FROM workload ORDER BY number"),
    addWorkload: db.query<void, Row>(
      `INSERT INTO workload (id, state, boot, network, container_id, interface, namespace_path, namespace_identity,
         pod_namespace, pod_name, pod_uid, mac, host_link, since)
       VALUES ($id, $state, $boot, $network, $container_id, $interface, $namespace_path, $namespace_identity,
         $pod_namespace, $pod_name, $pod_uid, $mac, $host_link, $since)`,
    ),
    setState: db.query<void, [string, string]>("UPDATE workload SET state = ? WHERE id = ?"),
    dropWorkload: db.query<void, [string]>("DELETE FROM workload WHERE id = ?"),

    holder: db.query<{ workload: string }, [string]>("SELECT workload FROM lease WHERE address = ?"),
    leases: db.query<{ address: IpAddress }, [string]>(
      "SELECT address FROM lease WHERE workload = ? ORDER BY position",
    ),
    allLeases: db.query<{ address: IpAddress }, []>("SELECT address FROM lease"),
    addLease: db.query<void, [string, string, number]>(
      "INSERT INTO lease (address, workload, position) VALUES (?, ?, ?)",
    ),

    hostPorts: db.query<HostPortColumns, [string]>(
      "SELECT host_ip, host_port, protocol, container_port FROM host_port WHERE workload = ? ORDER BY position",
    ),
    addHostPort: db.query<void, HostPortColumns & { workload: string; position: number }>(
      `INSERT INTO host_port (workload, position, host_ip, host_port, protocol, container_port)
       VALUES ($workload, $position, $host_ip, $host_port, $protocol, $container_port)`,
    ),

    blocks: db.query<{ prefix: Prefix }, []>("SELECT prefix FROM block"),
    cursor: db.query<{ next: string; forgotten: number }, [string]>(
      "SELECT next, forgotten FROM block WHERE prefix = ?",
    ),
    setCursor: db.query<void, [string, string, number]>(
      `INSERT INTO block (prefix, next, forgotten) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET next = excluded.next, forgotten = excluded.forgotten`,
    ),
    setForgotten: db.query<void, [string]>("UPDATE block SET forgotten = 1 WHERE prefix = ?"),

    isFreed: db.query<{ release: number }, [string, string]>(
      "SELECT release FROM freed WHERE address = ? AND block = ?",
    ),
    freed: db.query<{ address: IpAddress }, [string]>(
      "SELECT address FROM freed WHERE block = ? ORDER BY release",
    ),
    addFreed: db.query<void, [string, string]>("INSERT OR REPLACE INTO freed (block, address) VALUES (?, ?)"),
    unfree: db.query<void, [string]>("DELETE FROM freed WHERE address = ?"),
    lastRelease: db.query<{ release: number | null }, []>("SELECT max(release) AS release FROM freed"),
    forget: db.query<{ block: string }, [number]>("DELETE FROM freed WHERE release <= ? RETURNING block"),
  };
}
