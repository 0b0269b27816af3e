/**
 * Objects by storage ("pods", "apps/deployments") and key ("namespace/name", "name"), with one revision that counts all
 * changes of all storages.
 *
 * Writes that arrive while the event loop is busy are one transaction and one sync: `transact` queues, and the queue is
 * run and committed at once, each member in a savepoint of its own. Nobody is answered and no listener is told before
 * the commit. A member sees what those before it wrote.
 *
 * What was overwritten stays until it is compacted: that is what watches resume from, and what the later pages of a
 * list are read from.
 */
import type { Database, Statement } from "bun:sqlite";
import { describeError } from "@weft/base";
import { expired, type Failure, internal, overloaded } from "../errors.ts";
import type { ApiObject } from "../values.ts";
import { Change } from "./change.ts";
import { digestOf, type OpenDatabase } from "./database.ts";

export interface Stored {
  readonly key: string;
  readonly revision: number;
  /** The object in JSON. */
  readonly value: string;
}

export interface Transaction {
  get(storage: string, key: string): Stored | undefined;
  /** Sets metadata.resourceVersion, and keeps the object. */
  put(storage: string, key: string, object: ApiObject): void;
  /** Sets metadata.resourceVersion of the deletion. Nothing happens to what is not there. */
  delete(storage: string, key: string, object: ApiObject): void;
}

export interface Range {
  /** Keys that begin with this. */
  readonly prefix?: string;
  /** Keys greater than this, which itself begins with `prefix`. */
  readonly after?: string;
}

export type Listener = (change: Change) => void;

/** Thrown inside of a transaction to have its result without its effect. */
export class Rollback {
  readonly result: unknown;
  constructor(result: unknown) {
    this.result = result;
  }
}

interface Queued {
  readonly run: (tx: Transaction) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Above every character of a key. */
const LAST = "￿";
const MOST_QUEUED = 5000;
/** Rows a round of compaction looks at: it must not hold up the event loop. */
const COMPACTION_ROWS = 2000;

type Row = { revision: number; key: string; value: string; deleted: number; previous: number | null };

export class Store {
  readonly #open: OpenDatabase;
  readonly #database: Database;
  readonly #now: () => number;
  #revision: number;
  #compacted: number;
  #queue: Queued[] = [];
  #pending: Change[] = [];
  #closed = false;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #latest: Statement;
  readonly #insert: Statement;

  constructor(open: OpenDatabase, now: () => number = Date.now) {
    this.#open = open;
    this.#database = open.database;
    this.#now = now;
    const counter = this.#database.query("SELECT value FROM counters WHERE name = ?");
    const newest = this.#database.query("SELECT max(revision) AS value FROM log").get() as {
      value: number | null;
    };
    this.#revision = Math.max((counter.get("revision") as { value: number }).value, newest.value ?? 0);
    this.#compacted = (counter.get("compacted") as { value: number }).value;
    this.#latest = this.#database.query(
      "SELECT revision, key, value, deleted FROM log WHERE storage = ? AND key = ? ORDER BY revision DESC LIMIT 1",
    );
    this.#insert = this.#database.query(
      "INSERT INTO log (revision, storage, key, previous, deleted, time, digest, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
  }

  /** Why nothing can be written any more, or undefined. */
  get lost(): string | undefined {
    return this.#open.lost();
  }

  /** Of the newest change. */
  get revision(): number {
    return this.#revision;
  }

  /** Changes up to this one are forgotten. */
  get compacted(): number {
    return this.#compacted;
  }

  get(storage: string, key: string): Stored | undefined {
    const row = this.#latest.get(storage, key) as Row | null;
    return row === null || row.deleted === 1 ? undefined : row;
  }

  /** Pages of what was there at `revision`, by key. Throws 410 when that was compacted. */
  *pages(storage: string, range: Range = {}, revision = this.#revision, size = 500): Generator<Stored[]> {
    const { prefix = "", after } = range;
    // A whole key never equals a prefix, which ends in a slash or is empty.
    let from = after ?? prefix;
    const query = this.#database.query(
      `SELECT log.revision, log.key, log.value, log.deleted FROM
         (SELECT max(revision) AS newest FROM log
          WHERE storage = ?1 AND key > ?2 AND key < ?3 AND revision <= ?4 GROUP BY key ORDER BY key LIMIT ?5)
       JOIN log ON log.revision = newest ORDER BY log.key`,
    );
    for (;;) {
      if (revision < this.#compacted) throw tooOld(revision, this.#compacted);
      const rows = query.all(storage, from, prefix + LAST, revision, size) as Row[];
      const last = rows.at(-1);
      if (last === undefined) return;
      from = last.key;
      const live = rows.filter((row) => row.deleted === 0);
      if (live.length > 0) yield live;
      if (rows.length < size) return;
    }
  }

  /** Changes of a storage after a revision, oldest first. Throws 410 when they were compacted. */
  *changes(storage: string, since: number): Generator<Change> {
    let from = since;
    const query = this.#database.query(
      `SELECT log.revision, log.key, log.value, log.deleted, old.value AS before FROM log
       LEFT JOIN log AS old ON old.revision = log.previous
       WHERE log.revision > ?1 AND log.storage = ?2 ORDER BY log.revision LIMIT 500`,
    );
    for (;;) {
      if (since < this.#compacted) throw tooOld(since, this.#compacted);
      const rows = query.all(from, storage) as (Row & { before: string | null })[];
      for (const { revision, key, value, deleted, before } of rows) {
        yield new Change(storage, key, revision, deleted === 1, value, before ?? undefined);
        from = revision;
      }
      if (rows.length < 500) return;
    }
  }

  /** Keys of a storage whose last write is older than `time`, some hundred at a time. */
  *writtenBefore(storage: string, time: number): Generator<string[]> {
    const query = this.#database.query(
      `SELECT key FROM (SELECT key, max(revision) AS newest, time, deleted FROM log WHERE storage = ?1 AND key > ?2 GROUP BY key)
       WHERE deleted = 0 AND time < ?3 ORDER BY key LIMIT 200`,
    );
    for (let after = ""; ; ) {
      const keys = (query.all(storage, after, time) as { key: string }[]).map(({ key }) => key);
      const last = keys.at(-1);
      if (last === undefined) return;
      yield keys;
      after = last;
    }
  }

  /** Hears of the changes of a storage, or of all ("*"), after they are committed, in order. */
  subscribe(storage: string, listener: Listener): () => void {
    const known = this.#listeners.get(storage) ?? new Set<Listener>();
    this.#listeners.set(storage, known);
    known.add(listener);
    return () => known.delete(listener);
  }

  /** Resolves to what `run` returned, once it is on the disk; a Rollback's result, without any effect. */
  transact<T>(run: (tx: Transaction) => T): Promise<T> {
    if (this.#closed) return Promise.reject(overloaded("the server is stopping"));
    if (this.#queue.length >= MOST_QUEUED) return Promise.reject(overloaded("too many writes at once"));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#queue.push({ run, resolve: resolve as Queued["resolve"], reject });
    if (this.#queue.length === 1) setImmediate(() => this.#flush());
    return promise;
  }

  #flush(): void {
    const batch = this.#queue;
    this.#queue = [];
    if (batch.length === 0) return;
    const before = this.#revision;
    const answers: (() => void)[] = [];
    try {
      const lost = this.#open.lost();
      if (lost !== undefined) throw new Error(`${lost}; stop the server and restore a backup`);
      this.#database.run("BEGIN IMMEDIATE");
      for (const queued of batch) answers.push(this.#member(queued));
      this.#database.run("COMMIT");
    } catch (error) {
      if (this.#database.inTransaction) this.#database.run("ROLLBACK");
      this.#revision = before;
      this.#pending = [];
      const failure = unwritable(error);
      for (const { reject } of batch) reject(failure);
      return;
    }
    const changes = this.#pending;
    this.#pending = [];
    for (const change of changes) this.#tell(change);
    for (const answer of answers) answer();
  }

  /** Runs one member; what it throws is its own answer, and takes back only its own writes. */
  #member({ run, resolve, reject }: Queued): () => void {
    const [revision, pending] = [this.#revision, this.#pending.length];
    this.#database.run("SAVEPOINT member");
    try {
      const result = run(this.#transaction);
      this.#database.run("RELEASE member");
      return () => resolve(result);
    } catch (error) {
      this.#database.run("ROLLBACK TO member");
      this.#database.run("RELEASE member");
      this.#revision = revision;
      this.#pending.length = pending;
      return error instanceof Rollback ? () => resolve(error.result) : () => reject(error);
    }
  }

  readonly #transaction: Transaction = {
    get: (storage, key) => this.get(storage, key),
    put: (storage, key, object) => this.#write(storage, key, object, false),
    delete: (storage, key, object) => this.#write(storage, key, object, true),
  };

  #write(storage: string, key: string, object: ApiObject, deleted: boolean): void {
    const held = this.get(storage, key);
    if (deleted && held === undefined) return;
    const revision = ++this.#revision;
    object.metadata.resourceVersion = String(revision);
    const value = JSON.stringify(object);
    const previous = held?.revision ?? null;
    this.#insert.run(revision, storage, key, previous, deleted ? 1 : 0, this.#now(), digestOf(value), value);
    this.#pending.push(new Change(storage, key, revision, deleted, value, held?.value));
  }

  #tell(change: Change): void {
    for (const name of [change.storage, "*"]) {
      for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(change);
    }
  }

  /**
   * Forgets overwritten states from before `time`, a bounded number of them; true when there is more. Each step is a
   * transaction of its own, and states what is forgotten before it forgets.
   */
  compact(time: number): boolean {
    if (this.#closed) return false;
    const newest = this.#database
      .query(
        "SELECT max(revision) AS newest, count(*) AS rows FROM (SELECT revision FROM log WHERE revision > ? AND time < ? ORDER BY revision LIMIT ?)",
      )
      .get(this.#compacted, time, COMPACTION_ROWS) as { newest: number | null; rows: number };
    const target = Math.min(newest.newest ?? 0, this.#revision);
    if (target <= this.#compacted) return false;
    this.#database.transaction(() => {
      this.#database.query("UPDATE counters SET value = ? WHERE name = 'compacted'").run(target);
      this.#database.query("UPDATE counters SET value = ? WHERE name = 'revision'").run(this.#revision);
      // What a change overwrote goes once the change itself is old; a deletion goes then too.
      this.#database
        .query(
          `DELETE FROM log WHERE revision IN
             (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2 AND previous IS NOT NULL
              UNION ALL SELECT revision FROM log WHERE revision > ?1 AND revision <= ?2 AND deleted = 1)`,
        )
        .run(this.#compacted, target);
    })();
    this.#compacted = target;
    return newest.rows === COMPACTION_ROWS;
  }

  /** Ends what was begun, and closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#open.close();
  }
}

export const tooOld = (revision: number, compacted: number): Failure =>
  expired(`too old resource version: ${revision} (${compacted})`);

const unwritable = (error: unknown): Failure => {
  const why = describeError(error);
  return /full|readonly|i\/o/i.test(why)
    ? overloaded(`the data file cannot be written: ${why}`)
    : internal(`the data file: ${why}`);
};
