/**
 * Several reconcilers whose rows depend on each other, in order: sets before the chains that name them, links before
 * addresses, neighbours before routes. Updates go in that order and deletes in reverse, so that whatever a row needs is
 * there for as long as the row is.
 */
import { WeftError } from "@weft/base";
import type { Comparison } from "./compare.ts";
import type {
  Applier,
  ApplierOptions,
  KeysByReconciler,
  Reconciler,
  ReconcilerSummary,
  RepairReport,
  RowStatus,
} from "./reconcile-types.ts";
import { ReconcilerCore } from "./reconciler.ts";
import { type Operation, operationOf } from "./row-entry.ts";
import { Scheduler } from "./scheduler.ts";

type Core = ReconcilerCore<unknown, unknown>;

class OrderedApplier implements Applier {
  readonly reconcilers: readonly Reconciler[];
  readonly #parts: readonly Core[];
  readonly #scheduler: Scheduler;

  constructor(parts: readonly Core[], options: ApplierOptions) {
    this.reconcilers = parts;
    this.#parts = parts;
    this.#scheduler = new Scheduler(parts, options.clock, options.logger);
    for (const part of parts) part.join(this.#scheduler);
  }

  start(): void {
    this.#scheduler.start();
  }

  async stop(): Promise<void> {
    for (const part of this.#parts) part.endWatch();
    await this.#scheduler.stop();
  }

  summary(): Readonly<Record<string, ReconcilerSummary>> {
    return Object.fromEntries(this.#parts.map((part) => [part.name, part.summary()]));
  }

  onChange(listener: (reconciler: string, key: string, status: RowStatus | undefined) => void): () => void {
    const ends = this.#parts.map((part) => part.onChange((key, status) => listener(part.name, key, status)));
    return () => {
      for (const end of ends) end();
    };
  }

  async flush(keys?: KeysByReconciler): Promise<void> {
    const wanted = keys === undefined ? this.#pending() : this.#named(keys);
    await this.#apply(wanted, keys === undefined, true);
  }

  async repair(keys?: KeysByReconciler): Promise<Readonly<Record<string, RepairReport>>> {
    const parts =
      keys === undefined ? this.#parts.map((part) => ({ part, keys: undefined })) : this.#named(keys);
    const found: { readonly part: Core; readonly comparison: Comparison }[] = [];
    for (const { part, keys: own } of parts) found.push({ part, comparison: await part.compare(own) });
    const work = found.map(({ part, comparison: { different, leftovers } }) => {
      return { part, keys: [...different, ...leftovers] };
    });
    await this.#apply(work, keys === undefined, false);
    return Object.fromEntries(found.map(({ part, comparison }) => [part.name, part.report(comparison)]));
  }

  requestRepair(): void {
    for (const part of this.#parts) part.requestRepair();
  }

  pause(ms: number): void {
    for (const part of this.#parts) part.pause(ms);
  }

  resume(): void {
    for (const part of this.#parts) part.resume();
  }

  settled(): Promise<void> {
    return this.#scheduler.settled();
  }

  async #apply(
    work: readonly { readonly part: Core; readonly keys: readonly string[] }[],
    inChunks: boolean,
    stopAtError: boolean,
  ): Promise<void> {
    const phase = async (operation: Operation, { part, keys }: (typeof work)[number]): Promise<void> => {
      const mine = keys.filter((key) => {
        part.queue.observe(key);
        const entry = part.queue.entry(key);
        return entry !== undefined && operationOf(entry) === operation;
      });
      await part.apply(mine, inChunks);
      if (stopAtError) part.throwFirst(mine);
    };
    for (const one of work) await phase("update", one);
    for (const one of work.toReversed()) await phase("delete", one);
  }

  #pending(): { part: Core; keys: readonly string[] }[] {
    return this.#parts.map((part) => ({ part, keys: part.pending() }));
  }

  /** In order of reconcilers, whatever the order of names. */
  #named(keys: KeysByReconciler): { part: Core; keys: readonly string[] }[] {
    for (const name of Object.keys(keys)) {
      if (this.#parts.some((part) => part.name === name)) continue;
      throw new WeftError("invalid", `there is no reconciler "${name}"`, {
        hint: `There are: ${this.#parts.map((part) => part.name).join(", ")}.`,
      });
    }
    return this.#parts
      .filter((part) => keys[part.name] !== undefined)
      .map((part) => ({ part, keys: [...(keys[part.name] ?? [])] }));
  }
}

/** Takes over these reconcilers. Throws "invalid" for one that belongs to an applier, and for two of one name. */
export function createApplier(options: ApplierOptions): Applier {
  const parts: Core[] = [];
  for (const part of options.reconcilers) {
    if (!(part instanceof ReconcilerCore) || part.isPart) {
      throw new WeftError("invalid", `reconciler ${part.name} is not free to join an applier`);
    }
    if (parts.some((other) => other.name === part.name)) {
      throw new WeftError("invalid", `two reconcilers are named "${part.name}"`);
    }
    parts.push(part);
  }
  return new OrderedApplier(parts, options);
}
