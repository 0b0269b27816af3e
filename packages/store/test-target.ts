/** For tests: a target in memory, with foreign objects, failures and a record of every write. */
import { WeftError } from "@weft/base";
import type { ReconcilerOps } from "./reconcile-types.ts";
import { nextTurn } from "./turn.ts";

export interface Item {
  readonly key: string;
  readonly value: number;
}
export interface Held {
  readonly id: string;
  readonly value: number;
}

export interface TargetOptions {
  /** Operations return promises, and take effect after that many turns of the event loop. */
  readonly turns?: { readonly update: number; readonly delete: number };
  readonly withMany?: boolean;
  /** Shared by targets whose order of writes matters. */
  readonly writes?: string[];
}

/** Objects of ours are named "<name>:<key>"; all others are foreign. */
export class TestTarget {
  readonly objects = new Map<string, number>();
  readonly writes: string[];
  readonly failing = new Set<string>();
  /** Once for each operation, before the failing keys are looked at. */
  before: (operation: string) => void = () => {};
  failsToList = false;
  readonly ops: ReconcilerOps<Item, Held>;
  readonly #prefix: string;

  constructor(name: string, options: TargetOptions = {}) {
    this.#prefix = `${name}:`;
    this.writes = options.writes ?? [];
    const { turns } = options;
    const effect = (kind: "update" | "delete", fn: () => void): void | Promise<void> => {
      return turns === undefined ? fn() : wait(turns[kind]).then(fn);
    };
    const set = (rows: readonly Item[], how: string): void => {
      this.#write(`${how} ${rows.map((row) => this.id(row.key))}`, rows);
      for (const row of rows) this.objects.set(this.id(row.key), row.value);
    };
    const remove = (rows: readonly { readonly key: string }[], how: string): void => {
      this.#write(`${how} ${rows.map((row) => this.id(row.key))}`, rows);
      for (const row of rows) this.objects.delete(this.id(row.key));
    };
    this.ops = {
      update: (row) => effect("update", () => set([row], "set")),
      delete: (row) => effect("delete", () => remove([row], "delete")),
      ...(options.withMany === true && {
        updateMany: (rows: readonly Item[]) => effect("update", () => set(rows, "set-many")),
        deleteMany: (rows: readonly Item[]) => effect("delete", () => remove(rows, "delete-many")),
      }),
      actual: {
        list: (rows) => {
          if (this.failsToList) throw new WeftError("unavailable", "cannot list");
          const all = Array.from(this.objects, ([id, value]) => ({ id, value }));
          const wanted = rows && new Set(rows.map((row) => this.id(row.key)));
          const listing = all.filter(({ id }) => wanted === undefined || wanted.has(id));
          return turns !== undefined ? Promise.resolve(listing) : listing;
        },
        keyOf: ({ id }) => (id.startsWith(this.#prefix) ? id.slice(this.#prefix.length) : undefined),
        matches: (row, held) => row.value === held.value,
        delete: ({ id }) => effect("delete", () => remove([{ key: id.slice(this.#prefix.length) }], "prune")),
      },
    };
  }

  id(key: string): string {
    return this.#prefix + key;
  }

  #write(text: string, rows: readonly { readonly key: string }[]): void {
    this.before(text);
    for (const { key } of rows) {
      if (this.failing.has(key)) throw new WeftError("busy", `${key} is busy`, { hint: "Wait." });
    }
    this.writes.push(text);
  }
}

async function wait(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await nextTurn();
}
