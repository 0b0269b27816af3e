/** Carries out what borrowed.ts says: of each lender's block all loans of this node at once, with one write. */
import { describeError, hasCode, type Prefix, WeftError } from "@weft/base";
import { blockName, type IpBlock, type Loan } from "@weft/model";
import { type Borrowed, type BorrowedStep, nextForBorrowed } from "./borrowed.ts";
import type { Parts } from "./parts.ts";

const MOST_STEPS = 12;

export class Loans {
  readonly #p: Parts;
  readonly #awaited: (id: string) => boolean;
  readonly #promised: (id: string) => boolean;
  readonly #tunnelHomes: () => ReadonlySet<Prefix>;
  readonly problems = new Map<string, string>();

  constructor(
    parts: Parts,
    asks: {
      readonly awaited: (id: string) => boolean;
      readonly promised: (id: string) => boolean;
      readonly tunnelHomes: () => ReadonlySet<Prefix>;
    },
  ) {
    this.#p = parts;
    this.#awaited = asks.awaited;
    this.#promised = asks.promised;
    this.#tunnelHomes = asks.tunnelHomes;
  }

  /** Blocks of other nodes that this one has loans of, or had. */
  lenders(): Prefix[] {
    const { ledger, known, node } = this.#p;
    const recorded = ledger.pools.blocks().flatMap((r) => (r.loan === undefined ? [] : [r.loan.lender]));
    const told = known
      .all()
      .flatMap((b) => (b.loans.some((l) => l.node === node && !l.returned) ? [b.prefix] : []));
    const all = new Set([...recorded, ...told]);
    const ids = new Set(ledger.pools.blocks().map((r) => r.loan?.id));
    for (const id of this.problems.keys()) if (!ids.has(id)) this.problems.delete(id);
    return [...all];
  }

  async tend(lender: Prefix): Promise<void> {
    let fresh = false;
    for (let turn = 0; turn < MOST_STEPS; turn++) {
      this.#leaveTunnels(lender);
      const object = this.#p.known.of(lender);
      const steps = this.#statesOf(lender, object, fresh).map((b) => ({ b, next: nextForBorrowed(b) }));
      if (steps.some(({ next }) => next.do === "read")) {
        fresh = await this.#read(lender);
        continue;
      }
      const local = steps.filter(({ b, next }) => this.#carryOut(b, next));
      const writes = steps.filter(({ next }) => next.do === "return" || next.do === "mark");
      if (writes.length > 0 && object !== undefined) fresh = await this.#write(object, writes);
      else if (local.length === 0) return;
    }
    throw new WeftError("busy", `block ${lender} changes faster than it is followed`, {
      object: `block ${lender}`,
    });
  }

  /** The tunnel has a better place: what was borrowed for it is free. */
  #leaveTunnels(lender: Prefix): void {
    const { ledger } = this.#p;
    const homes = this.#tunnelHomes();
    for (const { address, block, loan } of ledger.pools.held()) {
      if (loan !== undefined || homes.has(block)) continue;
      if (ledger.pools.block(block)?.loan?.lender === lender) ledger.pools.letGo(address);
    }
  }

  #statesOf(lender: Prefix, object: IpBlock | undefined, fresh: boolean): Borrowed[] {
    const { ledger, node } = this.#p;
    const records = ledger.pools.blocks().filter((r) => r.loan?.lender === lender);
    const told = (object?.loans ?? []).filter((l) => l.node === node).map((l) => l.id);
    const held = ledger.pools.held();
    const usages = ledger.usage(records.map((r) => r.prefix));
    return [...new Set([...records.map((r) => r.loan?.id as string), ...told])].map((id) => {
      const at = records.findIndex((r) => r.loan?.id === id);
      const record = records[at];
      return {
        node,
        id,
        record,
        object,
        fresh,
        used: (usages[at]?.used ?? 0) > 0 || this.#promised(id),
        tunnel: held.some((h) => h.block === record?.prefix && h.loan === undefined),
        awaited: this.#awaited(id),
      };
    });
  }

  /** What is done in the ledger alone. True if it was something. */
  #carryOut({ id, record }: Borrowed, next: BorrowedStep): boolean {
    const { pools } = this.#p.ledger;
    if (next.do === "rest" && next.problem !== undefined) this.problems.set(id, next.problem);
    else this.problems.delete(id);
    if (record === undefined) return false;
    const { prefix } = record;
    if (next.do === "close") {
      pools.setState(prefix, "closed");
      this.#p.step("return:closed");
    } else if (next.do === "forget") {
      pools.forget(prefix);
      this.#p.step("return:forgotten");
    } else if (next.do === "lose") pools.setState(prefix, "lost");
    else if (next.do === "reopen") pools.setState(prefix, "open");
    else return false;
    return true;
  }

  async #write(
    object: IpBlock,
    writes: readonly { readonly b: Borrowed; readonly next: BorrowedStep }[],
  ): Promise<boolean> {
    const { api, known, signal, written, step, logger } = this.#p;
    const changes = new Map(
      writes.map(({ b, next }): [string, Partial<Loan>] => [
        b.id,
        next.do === "mark" ? { tunnel: b.tunnel } : { returned: true },
      ]),
    );
    const loans = object.loans.map((l) => ({ ...l, ...changes.get(l.id) }));
    step("return:write");
    try {
      const block = await api.replace({ ...object, loans }, signal);
      known.replace(block.name, block);
      written(block);
      step("return:written");
      return true;
    } catch (error) {
      if (hasCode(error, "permission") || hasCode(error, "invalid")) throw error;
      logger.info("a lender's block is read again", { block: object.prefix, why: describeError(error) });
      return this.#read(object.prefix);
    }
  }

  async #read(lender: Prefix): Promise<true> {
    const { api, known, signal, written } = this.#p;
    const block = await api.block(blockName(lender), signal);
    known.replace(blockName(lender), block);
    if (block !== undefined) written(block);
    return true;
  }
}
