/**
 * Derived tables: each row of the input table yields output rows, computed by a pure function that may read other
 * tables. What it read is remembered, and the input row is computed again when, and only when, one of these readings
 * may have changed. So the table always equals a computation from scratch, for work in proportion to the change.
 *
 * Decisions:
 * - Several input rows with one output key: the smallest input key wins. When it goes, the next one's row appears.
 *   One input row that yields a key twice: the first counts.
 * - A computation that throws yields nothing, and its former rows go: a stale row would be wrong in silence, and a
 *   computation from scratch would not have it. The error stays in `errors` until the next success.
 * - Derived tables are computed in order of creation, once per commit, and may only read tables created before.
 */
import { describeError, WeftError } from "@weft/base";
import { Claims } from "./claims.ts";
import type { ChangesByTable, Follower } from "./database.ts";
import { Dependencies, type Readings, RecordingReader } from "./dependencies.ts";
import { sameRow } from "./row.ts";
import { TableBase } from "./table-base.ts";
import type { Change, DerivedTable, DeriveOptions } from "./types.ts";

interface Computation<Out> {
  readonly outputs: ReadonlyMap<string, Out>;
  readonly readings: Readings | undefined;
  readonly error: WeftError | undefined;
}

const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();

class ComputedTable<In, Out> extends TableBase<Out> implements DerivedTable<Out> {
  readonly rank: number;
  readonly #input: TableBase<In>;
  readonly #compute: DeriveOptions<In, Out>["rows"];
  readonly #outputs = new Map<string, ReadonlyMap<string, Out>>();
  readonly #errors = new Map<string, WeftError>();
  readonly #dependencies = new Dependencies();
  readonly #claims = new Claims();
  #started = false;

  constructor(input: TableBase<In>, options: DeriveOptions<In, Out>) {
    super(input.database, options);
    this.rank = input.database.nextRank;
    this.#input = input;
    this.#compute = options.rows;
  }

  errors(): ReadonlyMap<string, WeftError> {
    return this.#errors;
  }

  conflicts(): ReadonlyMap<string, readonly string[]> {
    const conflicts = new Map<string, readonly string[]>();
    for (const [outputKey, inputKeys] of this.#claims.contested()) {
      const [first, ...others] = inputKeys.map((inputKey) => this.#outputs.get(inputKey)?.get(outputKey));
      if (!others.every((row) => sameRow(first, row))) conflicts.set(outputKey, inputKeys);
    }
    return conflicts;
  }

  follow(changes: ChangesByTable): Change<Out>[] {
    const dirty = new Set<string>();
    if (!this.#started) for (const key of this.#input.keys()) dirty.add(key);
    this.#started = true;
    for (const [table, list] of changes) {
      if (table === this.#input) for (const { key } of list) dirty.add(key);
      this.#dependencies.collect(table, list, dirty);
    }
    if (dirty.size === 0) return [];
    const touched = new Set<string>();
    for (const inputKey of dirty) this.#refresh(inputKey, touched);
    for (const outputKey of touched) {
      const winner = this.#claims.winner(outputKey);
      this.assign(outputKey, winner === undefined ? undefined : this.#outputs.get(winner)?.get(outputKey));
    }
    return this.takeChanges();
  }

  /** Computes one input row and adds to `touched` the output keys whose claimants or rows changed. */
  #refresh(inputKey: string, touched: Set<string>): void {
    const row = this.#input.get(inputKey);
    const { outputs, readings, error } = row === undefined ? ABSENT : this.#run(inputKey, row);
    this.#dependencies.set(inputKey, readings);
    if (error === undefined) this.#errors.delete(inputKey);
    else this.#errors.set(inputKey, error);
    const former = this.#outputs.get(inputKey) ?? NOTHING;
    for (const outputKey of former.keys()) {
      if (outputs.has(outputKey)) continue;
      this.#claims.remove(outputKey, inputKey);
      touched.add(outputKey);
    }
    for (const outputKey of outputs.keys()) {
      if (!former.has(outputKey)) this.#claims.add(outputKey, inputKey);
      touched.add(outputKey);
    }
    if (outputs.size === 0) this.#outputs.delete(inputKey);
    else this.#outputs.set(inputKey, outputs);
  }

  #run(inputKey: string, row: In): Computation<Out> {
    const reader = new RecordingReader(this as TableBase<unknown>);
    try {
      const outputs = new Map<string, Out>();
      for (const output of this.#compute(row, reader)) {
        const key = this.check(output);
        if (!outputs.has(key)) outputs.set(key, output);
      }
      return { outputs, readings: reader.readings, error: undefined };
    } catch (cause) {
      // What was read up to the error is what can make it go away.
      return { outputs: NOTHING, readings: reader.readings, error: this.#wrap(inputKey, cause) };
    } finally {
      reader.close();
    }
  }

  #wrap(inputKey: string, cause: unknown): WeftError {
    if (cause instanceof WeftError) return cause;
    const object = `${this.#input.name} ${inputKey}`;
    return new WeftError("internal", `${this.name} from ${object}: ${describeError(cause)}`, {
      object,
      cause,
    });
  }
}

const ABSENT: Computation<never> = { outputs: NOTHING, readings: undefined, error: undefined };

/**
 * Adds a derived table to the input's database and computes it.
 *
 * @example
 * const routes = derive<Pod, Route>({
 *   name: "routes",
 *   input: pods,
 *   key: (route) => route.destination,
 *   rows: (pod, read) => {
 *     const node = read.get(nodes, pod.node);
 *     return node === undefined ? [] : pod.ips.map((ip) => ({ destination: ip, via: node.address }));
 *   },
 * });
 */
export function derive<In, Out>(options: DeriveOptions<In, Out>): DerivedTable<Out> {
  const { input, name } = options;
  if (!(input instanceof TableBase)) {
    throw new WeftError("invalid", `${name}: the input table was not made by createTable or derive`);
  }
  const table = new ComputedTable<In, Out>(input, options);
  table.database.addFollower(table as unknown as Follower);
  return table;
}
