/**
 * Asking other nodes for single addresses. Requests for one pool go together: one write to a lender's block asks for all
 * that wait, and one answer gives as many as it has. A lender that does not answer in time is left, and what was asked of
 * it is returned, granted or not (loans.ts).
 */
import { describeError, hasCode, hostPrefix, type IpAddress, News, type Prefix } from "@weft/base";
import { blockName, type IpBlock, type IpPool, type Loan } from "@weft/model";
import { isOlder } from "./known-blocks.ts";
import type { Parts } from "./parts.ts";

/** Requests in one write, and lenders that one request is put to. */
const BATCH = 16;
const LENDERS = 6;
const ATTEMPTS = 8;

export interface LoanWish {
  readonly wanted: IpAddress | undefined;
  readonly tunnel: boolean;
  readonly pod: string | undefined;
  readonly signal: AbortSignal;
}

/** An address that is in the ledger now; or why there is none. */
export type LoanAnswer =
  | { readonly address: IpAddress; readonly lender: string; readonly id: string }
  | { readonly refused: string; readonly by: string | undefined }
  /** Nobody has that block: it can be claimed. */
  | { readonly free: Prefix };

/** A wish as it is put to one lender: to the next one it goes with another id, so that each answer is told apart. */
interface Asked extends LoanWish {
  readonly id: string;
}

interface Queued {
  readonly wish: LoanWish;
  readonly done: (answer: LoanAnswer) => void;
  readonly failed: (error: unknown) => void;
}

export class Borrowing {
  readonly #p: Parts;
  /** Requests whose answer somebody waits for. */
  readonly #awaited = new Set<string>();
  readonly #promised = new Set<string>();
  readonly #queues = new Map<string, Queued[]>();
  readonly #news: News;

  constructor(parts: Parts) {
    this.#p = parts;
    this.#news = new News(parts.clock);
  }

  awaited = (id: string): boolean => this.#awaited.has(id);
  /** Granted, and about to be taken by who asked. */
  promised = (id: string): boolean => this.#promised.has(id);

  /** Whoever asked has taken what was granted, or does not want it any more. */
  settled(id: string): void {
    if (this.#promised.delete(id)) this.#p.wake();
  }

  /** Blocks are known anew: there may be answers. */
  told(): void {
    this.#news.tell();
  }

  /** Any address of the pool. */
  any(pool: IpPool, wish: LoanWish): Promise<LoanAnswer> {
    return new Promise((done, failed) => {
      const queue = this.#queues.get(pool.name);
      const queued = { wish, done, failed };
      if (queue !== undefined) {
        queue.push(queued);
        return;
      }
      this.#queues.set(pool.name, [queued]);
      // Those that come in the same moment are asked for together.
      this.#p.clock.setTimeout(() => void this.#serve(pool), 1);
    });
  }

  /** That very address, of whoever has its block. */
  async wanted(pool: IpPool, block: Prefix, wish: LoanWish): Promise<LoanAnswer> {
    const [answer] = await this.#ask(pool, block, [wish]);
    return answer as LoanAnswer;
  }

  async #serve(pool: IpPool): Promise<void> {
    for (;;) {
      const round = this.#queues.get(pool.name)?.splice(0) ?? [];
      if (round.length === 0) break;
      try {
        await this.#round(pool, round);
      } catch (error) {
        for (const { failed } of round) failed(error);
      }
    }
    this.#queues.delete(pool.name);
  }

  async #round(pool: IpPool, round: readonly Queued[]): Promise<void> {
    const { prefixes } = await this.#p.finder.lenders(pool.name);
    let open = [...round];
    const why: { refused: string; by: string | undefined }[] = [];
    for (const lender of prefixes.slice(0, LENDERS)) {
      open = open.filter(({ wish }) => !wish.signal.aborted);
      const batch = open.slice(0, BATCH);
      if (batch.length === 0) break;
      const answers = await this.#ask(
        pool,
        lender,
        batch.map((q) => q.wish),
      );
      for (const [i, queued] of batch.entries()) {
        const answer = answers[i] as LoanAnswer;
        if ("refused" in answer) {
          why.push(answer);
          continue;
        }
        open.splice(open.indexOf(queued), 1);
        queued.done(answer);
      }
    }
    const last = why.at(-1) ?? { refused: "no other node has a block of it", by: undefined };
    for (const { done } of open) done(last);
  }

  /** The answers to these wishes, in their order. */
  async #ask(pool: IpPool, lender: Prefix, wishes: readonly LoanWish[]): Promise<LoanAnswer[]> {
    const { step, wake, newId } = this.#p;
    const asked = wishes.map((wish): Asked => ({ ...wish, id: newId() }));
    for (const { id } of asked) this.#awaited.add(id);
    try {
      const written = await this.#write(pool, lender, asked);
      if (written === undefined) return asked.map(() => ({ free: lender }));
      if (typeof written === "string") return asked.map(() => ({ refused: written, by: undefined }));
      const block = await this.#answered(written, asked);
      step("borrow:granted");
      const answers = asked.map((one) => this.#answerTo(one, pool, lender, block));
      if (answers.some((a) => "address" in a)) step("borrow:opened");
      return answers;
    } finally {
      for (const { id } of asked) this.#awaited.delete(id);
      wake();
    }
  }

  #answerTo(one: Asked, pool: IpPool, lender: Prefix, block: IpBlock | undefined): LoanAnswer {
    if (block === undefined) return { free: lender };
    const by = block.node;
    const entry = block.loans.find((l) => l.id === one.id && !l.returned);
    if (entry === undefined) return { refused: "the request was taken out of the block", by };
    if (entry.address === undefined) return { refused: entry.refused ?? `node ${by} has not answered`, by };
    this.#take(pool, block, one, entry.address);
    return { address: entry.address, lender: by ?? "", id: one.id };
  }

  #take(pool: IpPool, block: IpBlock, { id, wanted, tunnel, pod, signal }: Asked, address: IpAddress): void {
    const { ledger, node } = this.#p;
    const prefix = hostPrefix(address);
    // Whoever has given up takes it no more, and nobody would say that it is settled.
    if (!signal.aborted) this.#promised.add(id);
    ledger.pools.put(
      {
        prefix,
        uid: block.uid,
        pool: pool.name,
        poolUid: block.poolUid,
        poolCidr: pool.cidr,
        state: "open",
        loan: { id, lender: block.prefix, wanted: wanted !== undefined },
      },
      tunnel ? [{ address, block: prefix, loan: undefined, node, pod: undefined }] : [],
    );
    this.#p.tell({
      type: "borrowed",
      address,
      pool: pool.name,
      lender: block.node ?? "",
      pod,
      wanted: wanted !== undefined,
    });
  }

  /** The block with the requests in it; undefined when there is none; a text when it is nobody's to ask. */
  async #write(
    pool: IpPool,
    lender: Prefix,
    wishes: readonly Asked[],
  ): Promise<IpBlock | string | undefined> {
    const { api, node, signal, known, written, step, logger } = this.#p;
    let last: unknown;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const block = await api.block(blockName(lender), signal);
      if (block === undefined) return undefined;
      known.learn(block);
      written(block);
      if (block.node === undefined) return `the node of block ${lender} is gone`;
      if (block.poolUid !== pool.uid) return `block ${lender} is of an earlier pool ${pool.name}`;
      if (block.node === node) return `block ${lender} is this node's own`;
      const missing = wishes.filter((w) => !block.loans.some((l) => l.id === w.id));
      if (missing.length === 0) return block;
      step("borrow:ask");
      try {
        const asked = await api.replace(
          { ...block, loans: [...block.loans, ...missing.map((w) => requestOf(w, node))] },
          signal,
        );
        step("borrow:asked");
        known.learn(asked);
        written(asked);
        return asked;
      } catch (error) {
        if (hasCode(error, "permission") || hasCode(error, "invalid")) throw error;
        last = error;
        logger.info("a lender's block is read again", { block: lender, why: describeError(error) });
      }
    }
    throw last;
  }

  /** The block once all of these are answered, or as it is when the time is up. */
  async #answered(asked: IpBlock, wishes: readonly Asked[]): Promise<IpBlock | undefined> {
    const { api, clock, times, signal, known, written } = this.#p;
    const until = clock.monotonic() + times.answer;
    let block: IpBlock | undefined = asked;
    let read = clock.monotonic();
    for (;;) {
      const open = wishes.filter((w) => !isAnswered(block, w.id));
      const waiting = open.some((w) => !w.signal.aborted);
      if (open.length === 0 || !waiting || clock.monotonic() >= until) return block;
      await this.#news.next(Math.max(1, Math.min(times.poll, until - clock.monotonic())));
      signal.throwIfAborted();
      const told = known.get(asked.name);
      if (told !== undefined && block !== undefined && !isOlder(told.resourceVersion, block.resourceVersion))
        block = told;
      if (clock.monotonic() - read < times.poll) continue;
      block = await api.block(asked.name, signal);
      read = clock.monotonic();
      known.replace(asked.name, block);
      if (block !== undefined) written(block);
    }
  }
}

function isAnswered(block: IpBlock | undefined, id: string): boolean {
  const entry = block?.loans.find((l) => l.id === id);
  return entry === undefined || entry.address !== undefined || entry.refused !== undefined || entry.returned;
}

const requestOf = ({ id, wanted, tunnel, pod }: Asked, node: string): Loan => ({
  id,
  node,
  wanted,
  address: undefined,
  refused: undefined,
  returned: false,
  tunnel,
  pod,
});
