/**
 * The engine of a node's pools: what the node has of them is brought to what it should have, again and again.
 *
 *   watches --view--> KnownBlocks --+--> OwnBlocks (own-block.ts): adopt, lend, place the tunnel's end, give back
 *   ledger ------------------------ +--> Loans (borrowed.ts): what other nodes lent, and its return
 *                                   '--> Reports: copies for people
 *   an ADD --allocate--> Obtaining --> ledger, or Claims and Borrowing --> ledger
 *
 * Nothing is remembered of how far something was: each pass looks at the view, the ledger and the server, so that an
 * engine that was killed anywhere goes on where it was. What is given out is decided by the ledger alone, and what is in
 * the ledger was written to the server before, or is written there before anybody hears of it:
 *
 *   a block     created on the server, then in the ledger, then given out of; closed in the ledger, then deleted
 *   a loan      held in the lender's ledger, then granted; in the borrower's ledger, then given out; closed there,
 *               then returned; out of the object, then free in the lender's ledger
 */
import {
  compareIp,
  describeError,
  type Family,
  familyOf,
  type Prefix,
  prefixIp,
  WeftError,
} from "@weft/base";
import type { PoolsStatus, Workload } from "@weft/model";
import type { BlockRecord } from "../pool-records.ts";
import { Borrowing } from "./borrowing.ts";
import { Claims } from "./claims.ts";
import { KnownBlocks } from "./known-blocks.ts";
import { Loans } from "./loans.ts";
import { type AddressWish, Obtaining } from "./obtain.ts";
import { OwnBlocks } from "./own-blocks.ts";
import {
  type EngineOptions,
  FAMILIES,
  type Parts,
  POOL_TIMES,
  type PoolView,
  usablePool,
  usablePoolOf,
} from "./parts.ts";
import { Reports } from "./report.ts";

/** Changes of the ledger that come together are looked at together. */
const GATHER_MS = 50;
const LONGEST_RETRY_MS = 10_000;

export class PoolEngine {
  readonly #p: Parts;
  readonly #own: OwnBlocks;
  readonly #loans: Loans;
  readonly #claims: Claims;
  readonly #borrowing: Borrowing;
  readonly #obtaining: Obtaining;
  readonly #reports: Reports;
  readonly #abort = new AbortController();
  #view: PoolView | undefined;
  #dirty = false;
  #pass: Promise<void> | undefined;
  readonly #timers = new Map<string, { readonly at: number; readonly cancel: () => void }>();
  /** What failed, how often in a row, and when it is tried again. */
  readonly #failures = new Map<string, { count: number; at: number; error: unknown }>();
  readonly #ensuring = new Set<Family>();

  constructor(options: EngineOptions) {
    const { step = () => {}, newId = () => crypto.randomUUID(), plain = () => new Set(), times } = options;
    this.#p = {
      ...options,
      step,
      newId,
      plain,
      times: { ...POOL_TIMES, ...times },
      known: new KnownBlocks(),
      signal: this.#abort.signal,
      view: () => this.#view,
      wake: () => this.#wake(),
    };
    this.#own = new OwnBlocks(this.#p);
    this.#claims = new Claims(this.#p, (object) => this.#own.takeOver(object));
    this.#borrowing = new Borrowing(this.#p);
    this.#loans = new Loans(this.#p, {
      awaited: this.#borrowing.awaited,
      promised: this.#borrowing.promised,
      tunnelHomes: () => this.#own.tunnelHomes(),
    });
    this.#obtaining = new Obtaining(this.#p, this.#claims, this.#borrowing, (a, e) => this.#own.whoHas(a, e));
    this.#reports = new Reports(this.#p);
  }

  /** What watches tell now. */
  take(view: PoolView): void {
    this.#view = view;
    this.#p.known.take(view.blocks);
    this.#borrowing.told();
    this.#wake();
  }

  /** The ledger has changed: somebody has taken or freed an address. */
  changed(): void {
    this.#later("changed", GATHER_MS);
  }

  /** True when pods of this node may get addresses of pools. */
  get enabled(): boolean {
    return this.#view?.enabled ?? this.#p.ledger.pools.blocks().length > 0;
  }

  get view(): PoolView | undefined {
    return this.#view;
  }

  /** Addresses for a pod, held by it in the ledger: see Obtaining. */
  async allocate(wish: AddressWish, signal: AbortSignal): Promise<Workload> {
    const workload = await this.#obtaining.allocate(wish, AbortSignal.any([signal, this.#abort.signal]));
    this.changed();
    return workload;
  }

  /** What keeps pods of this node from getting addresses, of those that nothing special is known of. */
  get waitingFor(): string | undefined {
    const view = this.#view;
    if (view === undefined || !view.enabled) return undefined;
    for (const family of FAMILIES) {
      const pools = view.otherwise.pools[family] ?? [];
      if (pools.length === 0 || this.#isServed(family) || this.#p.plain()?.has(family) === true) continue;
      const failure = this.#failures.get(`family ${family}`);
      const why =
        failure === undefined
          ? view.current
            ? "one is being claimed"
            : "the API server is away"
          : describeError(failure.error);
      return `this node has no block of pool ${pools.join(", ")} yet: ${why}`;
    }
    return undefined;
  }

  status(): PoolsStatus {
    const { ledger, known, node } = this.#p;
    const records = [...ledger.pools.blocks()].sort((a, b) =>
      compareIp(prefixIp(a.prefix), prefixIp(b.prefix)),
    );
    const usages = ledger.usage(records.map((r) => r.prefix));
    const held = ledger.pools.held();
    const failed = [...this.#failures].map(([what, { error }]) => `${what}: ${describeError(error)}`);
    return {
      enabled: this.enabled,
      current: this.#view?.current ?? false,
      blocks: records.flatMap((r, i) => {
        if (r.loan !== undefined) return [];
        const { used, size } = usages[i] as (typeof usages)[number];
        return [
          {
            prefix: r.prefix,
            pool: r.pool,
            state: r.state,
            used,
            free: size - used,
            tunnelAddress: held.find((h) => h.block === r.prefix && h.loan === undefined)?.address,
            lent: held.flatMap((h) =>
              h.block === r.prefix && h.loan !== undefined
                ? [{ address: h.address, node: h.node, pod: h.pod }]
                : [],
            ),
          },
        ];
      }),
      borrowed: records.flatMap((r, i) => {
        if (r.loan === undefined) return [];
        const lender = known.of(r.loan.lender);
        return [
          {
            address: prefixIp(r.prefix),
            pool: r.pool,
            block: r.loan.lender,
            lender: lender?.node,
            state: r.state,
            used: (usages[i]?.used ?? 0) > 0,
            pod: lender?.loans.find((l) => l.id === r.loan?.id && l.node === node)?.pod,
          },
        ];
      }),
      waitingFor: this.waitingFor,
      problems: [...this.#own.problems.values(), ...this.#loans.problems.values(), ...failed],
    };
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#abort.abort(new WeftError("unavailable", "the agent is being stopped"));
    this.#reports.stop();
    for (const { cancel } of this.#timers.values()) cancel();
    this.#borrowing.told();
    await this.#pass?.catch(() => {});
  }

  #wake(): void {
    this.#dirty = true;
    if (this.#pass !== undefined || this.#abort.signal.aborted) return;
    this.#pass = this.#passes().finally(() => {
      this.#pass = undefined;
      if (this.#dirty) this.#wake();
    });
  }

  async #passes(): Promise<void> {
    // What comes in one turn of the event loop is looked at together.
    await Promise.resolve();
    while (this.#dirty && !this.#abort.signal.aborted) {
      this.#dirty = false;
      this.#reports.due();
      // Nothing can be read or written, and what is known grows old.
      if (this.#view?.current !== true) return;
      const tended = new Set<string>(FAMILIES.map((family) => `family ${family}`));
      for (const prefix of this.#own.prefixes()) {
        const what = `block ${prefix}`;
        tended.add(what);
        if (!this.#claims.busy(prefix)) await this.#try(what, () => this.#own.tend(prefix));
      }
      for (const lender of this.#loans.lenders()) {
        const what = `loans of block ${lender}`;
        tended.add(what);
        await this.#try(what, () => this.#loans.tend(lender));
      }
      // What is not there any more cannot be wrong with it.
      for (const what of this.#failures.keys()) if (!tended.has(what)) this.#failures.delete(what);
      for (const family of FAMILIES) this.#ensure(family);
      const next = this.#own.nextSurplus();
      if (next !== undefined) this.#later("surplus", next - this.#p.clock.monotonic());
    }
  }

  /** Runs it unless it failed a moment ago; a failure is tried again later, and later still. */
  async #try(what: string, work: () => Promise<void>): Promise<boolean> {
    const failure = this.#failures.get(what);
    const now = this.#p.clock.monotonic();
    if (failure !== undefined && failure.at > now) return false;
    try {
      await work();
      this.#failures.delete(what);
      return true;
    } catch (error) {
      if (this.#abort.signal.aborted) return false;
      const count = (failure?.count ?? 0) + 1;
      const wait = Math.min(LONGEST_RETRY_MS, this.#p.times.retry * 2 ** (count - 1));
      this.#failures.set(what, { count, at: this.#p.clock.monotonic() + wait, error });
      // Once, and not at each attempt: status has it as long as it lasts.
      if (count === 1) this.#p.logger.warn("pools: not done yet", { what, error: describeError(error) });
      this.#later(what, wait);
      return false;
    }
  }

  /** One timer a name: the nearest of its times counts. */
  #later(what: string, ms: number): void {
    const { clock } = this.#p;
    const wait = Math.max(1, Math.ceil(ms));
    const at = clock.monotonic() + wait;
    const before = this.#timers.get(what);
    if (this.#abort.signal.aborted || (before !== undefined && before.at <= at)) return;
    before?.cancel();
    const cancel = clock.setTimeout(() => {
      this.#timers.delete(what);
      this.#wake();
    }, wait);
    this.#timers.set(what, { at, cancel });
  }

  /** The node has a block of that family, or at least an end for its tunnels. */
  #isServed(family: Family): boolean {
    const { ledger, view } = this.#p;
    const isOf = (prefix: Prefix): boolean => familyOf(prefix) === family;
    const records = ledger.pools.blocks().filter((r) => isOf(r.prefix));
    const isUsable = (r: BlockRecord): boolean => r.state === "open" && usablePoolOf(view(), r) !== undefined;
    if (records.some((r) => r.loan === undefined && isUsable(r))) return true;
    const ends = ledger.pools.held().filter((h) => h.loan === undefined);
    return records.some(
      (r) =>
        r.loan !== undefined &&
        usablePoolOf(view(), r) !== undefined &&
        ends.some((h) => h.block === r.prefix),
    );
  }

  /** The first block of a family that any pod here may get addresses of; not waited for by the rest of the pass. */
  #ensure(family: Family): void {
    const pools = (this.#view?.otherwise.pools[family] ?? []).flatMap(
      (name) => usablePool(this.#view, name) ?? [],
    );
    const plain = this.#p.plain();
    if (plain === undefined) return;
    if (pools.length === 0 || this.#isServed(family)) {
      this.#failures.delete(`family ${family}`);
      return;
    }
    const failure = this.#failures.get(`family ${family}`);
    if (this.#ensuring.has(family) || (failure !== undefined && failure.at > this.#p.clock.monotonic()))
      return;
    this.#ensuring.add(family);
    const work = this.#try(`family ${family}`, async () => {
      for (const pool of pools) if ("block" in (await this.#claims.any(pool))) return;
      let why = "none is needed";
      for (const pool of plain.has(family) ? [] : pools) {
        const wish = { wanted: undefined, tunnel: true, pod: undefined, signal: this.#abort.signal };
        const answer = await this.#borrowing.any(pool, wish);
        if ("refused" in answer) why = answer.refused;
        else if ("free" in answer) await this.#claims.exactly(pool, answer.free);
        else this.#borrowing.settled(answer.id);
        if (this.#isServed(family)) return;
      }
      throw new WeftError("exhausted", `no block is free, and no address is lent: ${why}`);
    });
    void work
      .catch(() => {})
      .finally(() => {
        this.#ensuring.delete(family);
        this.#wake();
      });
  }
}
