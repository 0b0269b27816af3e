/** Carries out what own-block.ts says, one block after the other, until there is nothing to do. */
import {
  contains,
  describeError,
  familyOf,
  hasCode,
  type IpAddress,
  type Prefix,
  WeftError,
} from "@weft/base";
import { blockName, type IpBlock, type Loan } from "@weft/model";
import type { BlockUsage } from "../address-manager.ts";
import type { BlockRecord, HeldAddress } from "../pool-records.ts";
import { nextForOwn, type OwnBlock, type OwnStep, type OwnWrite } from "./own-block.ts";
import { FAMILIES, holderText, type Parts, usablePoolOf } from "./parts.ts";
import { reportOf } from "./report.ts";
import { type BlockUse, surplusOf } from "./surplus.ts";
import { type TunnelPlace, tunnelHomes } from "./tunnel.ts";

/** More steps than any way through has: whoever needs more goes on in the next pass. */
const MOST_STEPS = 24;

/** A record of the ledger as the choice of blocks sees it. */
interface Place extends TunnelPlace {
  /** Somebody has an address of it, other than the tunnel. */
  readonly used: boolean;
  /** Addresses of it that workloads of this node have. */
  readonly leased: number;
}

interface Survey {
  readonly places: ReadonlyMap<Prefix, Place>;
  readonly homes: ReadonlySet<Prefix>;
}

export class OwnBlocks {
  readonly #p: Parts;
  #last: { readonly from: readonly unknown[]; readonly survey: Survey } | undefined;
  /** Monotonic time since when a block has been empty. */
  readonly #emptySince = new Map<Prefix, number>();
  /** What cannot be cured from here, by block. */
  readonly problems = new Map<Prefix, string>();
  readonly #lostTold = new Set<Prefix>();

  constructor(parts: Parts) {
    this.#p = parts;
  }

  /** Prefixes of this node's blocks, as the ledger or the server has them. */
  prefixes(): Prefix[] {
    const { ledger, known, node } = this.#p;
    const recorded = ledger.pools.blocks().flatMap((r) => (r.loan === undefined ? [r.prefix] : []));
    const told = known.all().flatMap((b) => (b.node === node ? [b.prefix] : []));
    const all = new Set([...recorded, ...told]);
    for (const map of [this.problems, this.#emptySince, this.#lostTold])
      for (const prefix of map.keys()) if (!all.has(prefix)) map.delete(prefix);
    return [...all];
  }

  /** Does all that is to be done with one block. Throws what the server says. */
  async tend(prefix: Prefix): Promise<void> {
    let fresh = false;
    for (let step = 0; step < MOST_STEPS; step++) {
      const state = this.#stateOf(prefix, fresh);
      const next = nextForOwn(state);
      if (next.do === "rest") {
        this.#note(prefix, state, next.problem);
        return;
      }
      fresh = await this.#carryOut(prefix, state, next);
    }
    throw new WeftError("busy", `block ${prefix} changes faster than it is followed`, {
      object: `block ${prefix}`,
    });
  }

  /** Monotonic time of the next block that may go; undefined: none by waiting. */
  nextSurplus(): number | undefined {
    return this.#surplus().next;
  }

  /** Blocks that the node's ends of tunnels are to be in, and single addresses likewise. */
  tunnelHomes(): ReadonlySet<Prefix> {
    return this.#survey().homes;
  }

  /** Worked out anew only when something that it follows from has changed. */
  #survey(): Survey {
    const { ledger, known, view, plain } = this.#p;
    const last = this.#last;
    const from = [ledger.revision, known.revision, view(), [...(plain() ?? ["unknown"])].join()] as const;
    if (last !== undefined && from.every((part, i) => part === last.from[i])) return last.survey;
    const places = this.#places();
    const survey = { places: new Map(places.map((p) => [p.prefix, p])), homes: this.#homes(places) };
    this.#last = { from, survey };
    return survey;
  }

  #homes(places: readonly Place[]): ReadonlySet<Prefix> {
    const { view, plain, ledger } = this.#p;
    const others = plain();
    // Not known yet whether one is needed: all stays as it is.
    if (others === undefined)
      return new Set(ledger.pools.held().flatMap((h) => (h.loan === undefined ? [h.block] : [])));
    return new Set(
      FAMILIES.flatMap((family) => {
        if (others.has(family)) return [];
        const own = places.filter((p) => familyOf(p.prefix) === family);
        const inUse = own.some((p) => p.used);
        const asked = (view()?.otherwise.pools[family] ?? []).length > 0;
        return [...tunnelHomes(own, asked || inUse || own.some((p) => p.usable && !p.borrowed))];
      }),
    );
  }

  #places(): Place[] {
    const { ledger, known, view, node } = this.#p;
    const all = ledger.pools.held();
    const held = all.filter((h) => h.loan === undefined);
    const records = ledger.pools.blocks();
    const usages = ledger.usage(records.map((r) => r.prefix));
    return records.map((r, i) => {
      const own = r.loan === undefined;
      const object = known.of(lenderOf(r));
      const end = held.find((h) => h.block === r.prefix);
      const { used, size } = usages[i] as BlockUsage;
      return {
        prefix: r.prefix,
        usable:
          r.state === "open" && (!own || object?.node === node) && usablePoolOf(view(), r) !== undefined,
        held: end !== undefined,
        written: end !== undefined && saysTunnel(object, r, end.address),
        room: used < size,
        borrowed: !own,
        used: used > (end === undefined ? 0 : 1),
        leased: used - all.filter((h) => h.block === r.prefix).length,
      };
    });
  }

  #surplus(): ReturnType<typeof surplusOf> {
    const { ledger, known, view, clock, times } = this.#p;
    const { homes, places } = this.#survey();
    const now = clock.monotonic();
    const uses = ledger.pools.blocks().flatMap((r): BlockUse[] => {
      if (r.loan !== undefined) return [];
      const asked = known.of(r.prefix)?.loans.some((l) => !l.returned) ?? false;
      const used = places.get(r.prefix)?.used === true || homes.has(r.prefix) || asked;
      if (used) this.#emptySince.delete(r.prefix);
      else if (!this.#emptySince.has(r.prefix)) this.#emptySince.set(r.prefix, now);
      const usable = usablePoolOf(view(), r) !== undefined;
      return [{ prefix: r.prefix, pool: r.pool, usable, used, emptySince: this.#emptySince.get(r.prefix) }];
    });
    return surplusOf(uses, now, times);
  }

  #stateOf(prefix: Prefix, fresh: boolean): OwnBlock {
    const { ledger, known, view, node } = this.#p;
    const record = ledger.pools.block(prefix);
    const held = ledger.pools.held().filter((h) => h.block === prefix);
    return {
      node,
      record,
      object: known.of(prefix),
      fresh,
      held,
      leased: this.#survey().places.get(prefix)?.leased ?? 0,
      poolThere:
        record !== undefined &&
        (view()?.pools.some((p) => p.name === record.pool && p.uid === record.poolUid) ?? false),
      usable: record !== undefined && usablePoolOf(view(), record) !== undefined,
      surplus: record !== undefined && this.#surplus().blocks.has(prefix),
      tunnelHere: record !== undefined && this.tunnelHomes().has(prefix),
    };
  }

  /** True if what is known of the block afterwards is its latest version. */
  async #carryOut(prefix: Prefix, state: OwnBlock, next: Exclude<OwnStep, { do: "rest" }>): Promise<boolean> {
    const { ledger, api, signal, step } = this.#p;
    const { fresh } = state;
    const object = state.object as IpBlock;
    switch (next.do) {
      case "read":
        return this.#read(prefix);
      case "adopt":
        await this.takeOver(object);
        return fresh;
      case "lose":
        ledger.pools.setState(prefix, "lost");
        return fresh;
      case "reclaim":
        return this.#reclaim(prefix, state);
      case "take-back":
        return this.#changed(prefix, () => api.replace({ ...object, node: this.#p.node }, signal));
      case "forget":
        for (const { address } of state.held) ledger.pools.letGo(address);
        ledger.pools.forget(prefix);
        step("release:forgotten");
        return fresh;
      case "let-go":
        for (const address of next.addresses) ledger.pools.letGo(address);
        step("lend:let-go");
        return fresh;
      case "close":
        ledger.pools.setState(prefix, "closed");
        step("release:closed");
        return fresh;
      case "delete":
        return this.#delete(prefix, object);
      case "reopen":
        ledger.pools.setState(prefix, "open");
        return fresh;
      case "touch":
        return this.#changed(prefix, () => api.writeStatus(object, reportOf(this.#p, prefix), signal));
      case "write":
        return this.#write(prefix, state, next);
    }
  }

  async #read(prefix: Prefix): Promise<true> {
    const { api, known, signal, written } = this.#p;
    const name = blockName(prefix);
    const block = await api.block(name, signal);
    known.replace(name, block);
    if (block !== undefined) written(block);
    return true;
  }

  /** A write, and what is there after it, whatever came of it. Throws when the server refuses it for good. */
  async #changed(prefix: Prefix, write: () => Promise<IpBlock>): Promise<true> {
    const { known, written, logger } = this.#p;
    try {
      const block = await write();
      known.replace(block.name, block);
      written(block);
      return true;
    } catch (error) {
      if (hasCode(error, "permission") || hasCode(error, "invalid")) throw error;
      logger.info("a block is read again", { block: prefix, why: describeError(error) });
      return this.#read(prefix);
    }
  }

  /** Asks for its pool once more: from a pool that is going, nothing may be given out that it does not wait for. */
  async takeOver(object: IpBlock): Promise<BlockRecord["state"]> {
    const { api, ledger, signal, step, node } = this.#p;
    const pool = await api.pool(object.pool, signal);
    const good = pool !== undefined && pool.uid === object.poolUid && contains(pool.cidr, object.prefix);
    const state = good && !pool.disabled ? "open" : "closed";
    step("claim:verified");
    const held = ledger.pools.held();
    const leased = new Set(ledger.workloads().flatMap((w) => w.workload.addresses));
    const lent = object.loans.flatMap((l): Omit<HeldAddress, "since">[] =>
      l.address === undefined || l.returned || leased.has(l.address) || held.some((h) => h.loan === l.id)
        ? []
        : [{ address: l.address, block: object.prefix, loan: l.id, node: l.node, pod: l.pod }],
    );
    const end = object.tunnelAddress;
    const isFree = (ip: IpAddress): boolean => !leased.has(ip) && !held.some((h) => h.address === ip);
    if (end !== undefined && isFree(end))
      lent.push({ address: end, block: object.prefix, loan: undefined, node, pod: undefined });
    const { prefix, uid, poolUid } = object;
    const poolCidr = good ? pool.cidr : (ledger.pools.block(prefix)?.poolCidr ?? prefix);
    ledger.pools.put({ prefix, uid, pool: object.pool, poolUid, poolCidr, state, loan: undefined }, lent);
    this.#emptySince.delete(prefix);
    step("claim:opened");
    return state;
  }

  async #reclaim(prefix: Prefix, { record, held }: OwnBlock): Promise<boolean> {
    const { api, signal, node, step } = this.#p;
    const { pool, poolUid } = record as BlockRecord;
    const tunnelAddress = held.find((h) => h.loan === undefined)?.address;
    const loans = held.flatMap((h) => (h.loan === undefined ? [] : [loanOf(h, h.loan)]));
    step("reclaim:create");
    const done = await this.#changed(prefix, () =>
      api.create({ prefix, pool, poolUid, node, tunnelAddress, loans }, signal),
    );
    step("reclaim:created");
    return done;
  }

  async #delete(prefix: Prefix, object: IpBlock): Promise<boolean> {
    const { api, ledger, known, signal, step, gone } = this.#p;
    // Before it is sent: whoever opens the block again must know of a deletion that may still be under way.
    ledger.pools.setState(prefix, "closed", object.resourceVersion);
    step("release:delete");
    try {
      await api.remove(object, signal);
    } catch (error) {
      if (hasCode(error, "permission")) throw error;
      return this.#read(prefix);
    }
    known.replace(object.name, undefined);
    gone(object);
    step("release:deleted");
    return true;
  }

  async #write(prefix: Prefix, state: OwnBlock, next: OwnWrite): Promise<boolean> {
    const { api, ledger, signal, step, node } = this.#p;
    const object = state.object as IpBlock;
    const answers = new Map(next.answer.map((loan) => [loan.id, this.#answer(prefix, state, loan)]));
    if (next.answer.length > 0) step("lend:held");
    let { tunnelAddress } = object;
    if (next.tunnel === "clear") tunnelAddress = undefined;
    if (next.tunnel === "put") {
      tunnelAddress =
        state.held.find((h) => h.loan === undefined)?.address ??
        ledger.pools.hold({ block: prefix, loan: undefined, node, pod: undefined });
      step("tunnel:held");
    }
    const dropped = new Set(next.drop.map((l) => l.id));
    const loans = object.loans.filter((l) => !dropped.has(l.id)).map((l) => answers.get(l.id) ?? l);
    const done = await this.#changed(prefix, () => api.replace({ ...object, tunnelAddress, loans }, signal));
    step("lend:written");
    return done;
  }

  /** Holds an address for a loan, or says why not. One that was granted before is held again, or none is. */
  #answer(prefix: Prefix, { usable, record }: OwnBlock, loan: Loan): Loan {
    const { id, node, pod, wanted } = loan;
    const no = (why: string): Loan => ({ ...loan, address: undefined, refused: why });
    if (!usable && loan.address === undefined)
      return no(`no address of pool ${record?.pool} is given out any more`);
    try {
      const address = this.#p.ledger.pools.hold(
        { block: prefix, loan: id, node, pod },
        loan.address ?? wanted,
      );
      return { ...loan, address };
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return no(wanted === undefined ? describeError(error) : this.whoHas(wanted, error));
    }
  }

  /** "10.0.0.9 is in use by pod shop/web on node a", or what else is said of it. */
  whoHas(address: IpAddress, error: unknown): string {
    const { ledger, node } = this.#p;
    const workload = ledger.workloads().find((w) => w.workload.addresses.includes(address))?.workload;
    if (workload !== undefined) return `${address} is in use by ${holderText(workload)} on node ${node}`;
    const holder = ledger.pools.heldBy(address);
    return holder === undefined ? describeError(error) : `${address} is in use by ${holder}`;
  }

  #note(prefix: Prefix, { record, object }: OwnBlock, problem: string | undefined): void {
    if (problem === undefined) {
      this.problems.delete(prefix);
      this.#lostTold.delete(prefix);
      return;
    }
    this.problems.set(prefix, problem);
    if (record?.state !== "lost" || this.#lostTold.has(prefix)) return;
    this.#lostTold.add(prefix);
    const pods = this.#p.ledger
      .workloads()
      .filter((w) => w.workload.addresses.some((a) => contains(prefix, a)))
      .map((w) => holderText(w.workload));
    this.#p.tell({ type: "lost", block: prefix, to: object?.node, pods });
  }
}

const loanOf = ({ address, node, pod }: HeldAddress, id: string): Loan => ({
  id,
  node,
  wanted: undefined,
  address,
  refused: undefined,
  returned: false,
  tunnel: false,
  pod,
});

/** Whether everybody can read there that the address is the end of a tunnel. */
const saysTunnel = (object: IpBlock | undefined, { loan }: BlockRecord, address: IpAddress): boolean =>
  loan === undefined
    ? object?.tunnelAddress === address
    : (object?.loans.some((l) => l.id === loan.id && l.tunnel && l.address === address) ?? false);

/** The block whose object speaks for a record: its own, or the lender's. */
const lenderOf = (record: BlockRecord): Prefix => record.loan?.lender ?? record.prefix;
