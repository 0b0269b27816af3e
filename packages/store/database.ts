/**
 * A database commits in four steps: the written tables say what the transaction came to; every derived table, in order,
 * works out what that means for it; the revision moves; and listeners hear of it, one commit after another. The first
 * three happen in one go, so nobody ever reads a derived table that lags behind its inputs.
 */
import { WeftError } from "@weft/base";
import type { TableBase } from "./table-base.ts";
import type { Change, Commit, Database, DatabaseOptions, ReadableTable } from "./types.ts";

export type ChangesByTable = ReadonlyMap<TableBase<unknown>, readonly Change<unknown>[]>;

/** A table that follows others. */
export interface Follower extends TableBase<unknown> {
  /** Takes in what has changed so far in this commit. */
  follow(changes: ChangesByTable): Change<unknown>[];
}

interface QueuedCommit {
  readonly revision: number;
  readonly changes: ChangesByTable;
}

export class DatabaseCore implements Database {
  readonly freeze: boolean;
  readonly onError: (error: unknown, where: string) => void;
  revision = 0;
  readonly #tables: TableBase<unknown>[] = [];
  readonly #followers: Follower[] = [];
  readonly #listeners = new Set<{ hear(commit: Commit): void; since: number }>();
  readonly #queue: QueuedCommit[] = [];
  #state: "idle" | "writing" | "computing" = "idle";
  /** What an inner write threw: the outer one cannot succeed any more. */
  #failure: { readonly error: unknown } | undefined;
  #delivering = false;

  constructor(options: DatabaseOptions) {
    this.freeze = options.freeze ?? true;
    this.onError = options.onError;
  }

  get isWriting(): boolean {
    return this.#state === "writing";
  }

  tables(): readonly ReadableTable<unknown>[] {
    return [...this.#tables];
  }

  /** Adds a table; a name counts once. */
  add(table: TableBase<unknown>): void {
    if (this.#tables.some((other) => other.name === table.name)) {
      throw new WeftError("exists", `the database has a table "${table.name}" already`);
    }
    this.#tables.push(table);
  }

  /** Adds a derived table and computes it for the first time. */
  addFollower(follower: Follower): void {
    if (this.#state !== "idle") {
      throw new WeftError("invalid", `table "${follower.name}" cannot be derived during a write`);
    }
    this.add(follower);
    this.#followers.push(follower);
    this.#compute(() => follower.follow(new Map()));
    follower.revision = this.revision;
  }

  /** Rank of the next derived table. */
  get nextRank(): number {
    return this.#followers.length + 1;
  }

  watch(listener: (commit: Commit) => void): () => void {
    const entry = { hear: listener, since: this.revision };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  write<T>(fn: () => T): T {
    if (this.#state === "computing") {
      throw new WeftError("invalid", "a derived table's computation cannot write", {
        hint: "Return rows instead.",
      });
    }
    if (this.#state === "writing") {
      try {
        return synchronous(fn());
      } catch (error) {
        this.#failure ??= { error };
        throw error;
      }
    }
    this.#state = "writing";
    this.#failure = undefined;
    let result: T;
    try {
      result = synchronous(fn());
      if (this.#failure !== undefined) throw (this.#failure as { error: unknown }).error;
    } catch (error) {
      for (const table of this.#tables) table.rollBack();
      this.#state = "idle";
      throw error;
    }
    this.#commit();
    return result;
  }

  #commit(): void {
    const changes = new Map<TableBase<unknown>, readonly Change<unknown>[]>();
    const note = (table: TableBase<unknown>, list: readonly Change<unknown>[]): void => {
      if (list.length > 0) changes.set(table, list);
    };
    for (const table of this.#tables) if (table.rank === 0) note(table, table.takeChanges());
    this.#compute(() => {
      if (changes.size > 0) for (const table of this.#followers) note(table, table.follow(changes));
    });
    if (changes.size === 0) return;
    this.revision++;
    for (const table of changes.keys()) table.revision = this.revision;
    this.#queue.push({ revision: this.revision, changes });
    this.#deliver();
  }

  #compute(fn: () => void): void {
    this.#state = "computing";
    try {
      fn();
    } finally {
      this.#state = "idle";
    }
  }

  /** A listener that writes comes back here and leaves its commit in the queue. */
  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { revision, changes } = next;
      const tables = Array.from(changes, ([table, list]) => ({ table, changes: list }));
      for (const entry of [...this.#listeners]) {
        if (entry.since >= revision || !this.#listeners.has(entry)) continue;
        try {
          entry.hear({ revision, tables });
        } catch (error) {
          this.onError(error, "commit");
        }
      }
      for (const [table, list] of changes) table.deliver({ revision, changes: list });
    }
    this.#delivering = false;
  }
}

/** Refuses a promise: what comes after its first await would be outside the transaction. */
function synchronous<T>(result: T): T {
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new WeftError("invalid", "a write must be synchronous", {
      hint: "Await what is needed first, then write.",
    });
  }
  return result;
}

export function createDatabase(options: DatabaseOptions): Database {
  return new DatabaseCore(options);
}
