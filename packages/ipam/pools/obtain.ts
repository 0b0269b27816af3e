/**
 * The addresses of a pod: of each family from a block that this node has, from one that is claimed for it, or lent by
 * another node, in that order; all families or none. Nothing waits for the API server while the node's blocks have room.
 */
import {
  contains,
  type Family,
  familyOf,
  hasCode,
  hostPrefix,
  type IpAddress,
  type Prefix,
  unlessAborted,
  WeftError,
} from "@weft/base";
import { blockOf, type IpPool, type PodAddressing, type Workload } from "@weft/model";
import type { AddressRequest } from "../address-manager.ts";
import { isUsable, poolRange } from "../block.ts";
import type { Borrowing, LoanAnswer } from "./borrowing.ts";
import type { Claims } from "./claims.ts";
import { FAMILIES, type Found, type Parts, usablePool, usablePoolOf } from "./parts.ts";

export interface AddressWish {
  readonly request: AddressRequest;
  readonly addressing: PodAddressing;
  /** Blocks that are no pool's, and the addresses of theirs that no pod may have. */
  readonly plain: readonly Prefix[];
  readonly reserved: readonly IpAddress[];
  /** Called right before the addresses are taken, in the same turn: what it throws ends it. */
  readonly before?: () => void;
}

/** What one family is to come from. */
interface Need {
  readonly family: Family;
  readonly pools: readonly string[];
  readonly wanted: IpAddress | undefined;
}

/** How often it begins anew because others were faster, before it says so. */
const MOST_ROUNDS = 50;
const LOOK_MS = 100;

export class Obtaining {
  readonly #p: Parts;
  readonly #claims: Claims;
  readonly #borrowing: Borrowing;
  /** Who has an address of this node, in words. */
  readonly #whoHas: (address: IpAddress, error: unknown) => string;

  constructor(
    parts: Parts,
    claims: Claims,
    borrowing: Borrowing,
    whoHas: (address: IpAddress, error: unknown) => string,
  ) {
    this.#p = parts;
    this.#claims = claims;
    this.#borrowing = borrowing;
    this.#whoHas = whoHas;
  }

  /** Throws as `AddressManager.allocate`, and "unavailable" when the server is needed and away. */
  async allocate(wish: AddressWish, signal: AbortSignal): Promise<Workload> {
    const { addressing } = wish;
    const needs = FAMILIES.flatMap((family): Need[] => {
      const pools = addressing.pools[family];
      const wanted = addressing.wanted.find((a) => familyOf(a) === family);
      return pools === undefined || pools.length === 0 ? [] : [{ family, pools, wanted }];
    });
    for (const { pools, wanted } of needs) {
      if (wanted === undefined) continue;
      const pool = pools.map((n) => usablePool(this.#p.view(), n)).find((p) => p && contains(p.cidr, wanted));
      if (pool !== undefined) mustBeUsable(pool, wanted);
    }
    const loans: string[] = [];
    const until = this.#p.clock.monotonic() + this.#p.times.wanted;
    try {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        signal.throwIfAborted();
        let lacking = needs.find((need) => this.#blocks(need).length === 0);
        if (lacking === undefined) {
          const done = this.#take(wish, needs, until);
          if (typeof done === "object") return done;
          // Nobody was faster: there is a time for this of its own.
          if (done === "taken") round--;
          // Only now it is counted: mostly there is room.
          if (done === "full") lacking = needs.find((need) => !this.#hasRoom(need));
        }
        if (lacking === undefined) await this.#sleep(LOOK_MS);
        else if (lacking.wanted !== undefined)
          await this.#obtainWanted(lacking, lacking.wanted, wish, loans, signal);
        else await this.#obtainAny(lacking, wish, loans, signal);
      }
      throw new WeftError("busy", "other pods of this node take every address that is found", {
        hint: "It is tried again.",
      });
    } finally {
      for (const id of loans) this.#borrowing.settled(id);
    }
  }

  /** Blocks that a need can be met from, in order. */
  #blocks({ family, pools, wanted }: Need): Prefix[] {
    const { ledger, view } = this.#p;
    const open = ledger.pools
      .blocks()
      .filter(
        (r) => r.state === "open" && familyOf(r.prefix) === family && usablePoolOf(view(), r) !== undefined,
      );
    if (wanted !== undefined) return open.filter((r) => contains(r.prefix, wanted)).map((r) => r.prefix);
    return pools.flatMap((pool) => {
      const own = open.filter((r) => r.pool === pool && r.loan?.wanted !== true);
      const whole = own.filter((r) => r.loan === undefined);
      return [...whole, ...own.filter((r) => r.loan !== undefined)].map((r) => r.prefix);
    });
  }

  #hasRoom(need: Need): boolean {
    const blocks = this.#blocks(need);
    if (need.wanted !== undefined) return blocks.length > 0;
    return this.#p.ledger.usage(blocks).some(({ used, size }) => used < size);
  }

  /** "taken" when the address that is wanted is in use and there is time to wait for it; "full" when blocks are. */
  #take(wish: AddressWish, needs: readonly Need[], until: number): Workload | "taken" | "full" {
    const { ledger, clock } = this.#p;
    const blocks = FAMILIES.flatMap((family) => {
      const need = needs.find((n) => n.family === family);
      return need === undefined ? wish.plain.filter((p) => familyOf(p) === family) : this.#blocks(need);
    });
    wish.before?.();
    try {
      return ledger.allocate(wish.request, blocks, wish.reserved, wish.addressing.wanted);
    } catch (error) {
      if (hasCode(error, "exhausted") && needs.some((need) => !this.#hasRoom(need))) return "full";
      if (!hasCode(error, "busy")) throw error;
      if (clock.monotonic() < until) return "taken";
      const taken = wish.addressing.wanted.find((a) => ledger.usage([hostPrefix(a)])[0]?.used === 1);
      throw taken === undefined ? error : addressTaken(taken, this.#whoHas(taken, error));
    }
  }

  async #obtainWanted(
    need: Need,
    wanted: IpAddress,
    wish: AddressWish,
    loans: string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { ledger, node } = this.#p;
    const pool = need.pools.map((name) => this.#pool(name)).find((p) => contains(p.cidr, wanted));
    if (pool === undefined) {
      throw new WeftError("invalid", `${wanted} is in none of the pod's pools (${need.pools.join(", ")})`, {
        object: wanted,
        hint: "Ask for an address of them, or name the pool that it is of (annotation weft.network/pools).",
      });
    }
    mustBeUsable(pool, wanted);
    const block = blockOf(pool, wanted);
    const record = ledger.pools.block(block);
    if (record?.state === "lost") {
      throw new WeftError("unavailable", `block ${block} was taken from node ${node}`, {
        object: `block ${block}`,
        hint: "See `weft status` and `weft ipam show`.",
      });
    }
    // It is going back: it is nobody's in a moment.
    if (record !== undefined && record.loan === undefined && record.state === "closed")
      return this.#sleep(LOOK_MS);
    const answer = await unlessAborted(
      this.#borrowing.wanted(pool, block, { wanted, tunnel: false, pod: podOf(wish), signal }),
      signal,
    );
    if ("address" in answer) loans.push(answer.id);
    else if ("free" in answer) await unlessAborted(this.#claims.exactly(pool, block), signal);
    else if (this.#p.known.of(block)?.node === node) {
      // Claimed by an earlier life of this agent, and about to be in the ledger.
      this.#p.wake();
      await this.#sleep(LOOK_MS);
    } else throw addressTaken(wanted, answer.refused);
  }

  async #obtainAny(need: Need, wish: AddressWish, loans: string[], signal: AbortSignal): Promise<void> {
    const pools = need.pools.map((name) => this.#pool(name));
    const found = new Map<IpPool, Found>();
    for (const pool of pools) {
      const claimed = await unlessAborted(this.#claims.any(pool), signal);
      if ("block" in claimed) return;
      found.set(pool, claimed.none);
      // What was freed or lent meanwhile is nearer than another pool.
      if (this.#hasRoom(need)) return;
    }
    let why = "";
    for (const pool of pools) {
      const answer: LoanAnswer = await unlessAborted(
        this.#borrowing.any(pool, { wanted: undefined, tunnel: false, pod: podOf(wish), signal }),
        signal,
      );
      if ("address" in answer) {
        loans.push(answer.id);
        return;
      }
      if ("free" in answer) {
        await unlessAborted(this.#claims.exactly(pool, answer.free), signal);
        return;
      }
      why = answer.by === undefined ? answer.refused : `node ${answer.by}: ${answer.refused}`;
      if (this.#hasRoom(need)) return;
    }
    const [pool] = pools as [IpPool];
    const { used = 0, size = 0 } = found.get(pool) ?? {};
    this.#p.tell({ type: "exhausted", pool, used, size });
    throw poolFull(pools, used, size, why);
  }

  /** Throws when addresses of it cannot be given out here, and says why. */
  #pool(name: string): IpPool {
    const view = this.#p.view();
    const usable = usablePool(view, name);
    if (usable !== undefined) return usable;
    const pool = view?.pools.find((p) => p.name === name);
    const object = `IPPool ${name}`;
    if (pool === undefined) {
      throw new WeftError("unavailable", `there is no pool ${name}`, {
        object,
        hint: "Create it, or correct the pod's or its namespace's annotation weft.network/pools.",
      });
    }
    const why = pool.disabled
      ? "is disabled or being removed"
      : pool.ready
        ? `is not for node ${this.#p.node} (its nodeSelector)`
        : "is not ready";
    throw new WeftError("unavailable", `pool ${name} ${why}`, {
      object,
      hint: `See \`kubectl describe ippool ${name}\`.`,
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#p.clock.setTimeout(resolve, ms);
    });
  }
}

const podOf = ({ request }: AddressWish): string | undefined =>
  request.podName === undefined ? undefined : `${request.podNamespace ?? "default"}/${request.podName}`;

/** Whoever has its block, and be it this node. */
function mustBeUsable(pool: IpPool, wanted: IpAddress): void {
  const block = blockOf(pool, wanted);
  if (isUsable(block, wanted, poolRange(block, pool.cidr))) return;
  throw new WeftError(
    "invalid",
    `${wanted} is an end of pool ${pool.name} (${pool.cidr}), which no pod gets`,
    {
      object: wanted,
      hint: "Ask for another address.",
    },
  );
}

const addressTaken = (address: IpAddress, why: string): WeftError =>
  new WeftError("busy", why.includes(address) ? why : `${address} cannot be had: ${why}`, {
    object: address,
    hint: "It is free when that pod is gone: see `weft ipam show`. Or ask for another address (annotation weft.network/addresses).",
  });

/** What others use is known from what they report, a few seconds late. */
export const useOf = (used: number, size: number): string =>
  `${used} of ${size} addresses are in use${used < size ? ", as nodes told last" : ""}`;

const poolFull = (pools: readonly IpPool[], used: number, size: number, why: string): WeftError => {
  const names = pools.map((p) => p.name).join(", ");
  const [first] = pools;
  const counts = size === 0 ? "" : `: of pool ${first?.name} ${useOf(used, size)}`;
  const rest = why === "" ? "" : `; ${why}`;
  return new WeftError("exhausted", `no address is to be had of pool ${names}${counts}${rest}`, {
    object: `IPPool ${first?.name}`,
    hint: "`weft ipam show` says who has them. Add a pool, or remove pods that are no longer needed.",
  });
};
