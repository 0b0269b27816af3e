/**
 * Claiming blocks: making the object is claiming it. Calls for one pool are one claim, however many wait for it.
 *
 * The pool is asked for once more after that (OwnBlocks.takeOver), and only then the block is in the ledger and its
 * addresses are given out. A claim whose answer was lost shows itself as a block of ours that the ledger does not know.
 */
import { addressAt, familyOf, hasCode, type IpAddress, type Prefix, WeftError } from "@weft/base";
import { blockName, type IpBlock, type IpPool } from "@weft/model";
import { poolRange, rangeSize } from "../block.ts";
import type { BlockRecord } from "../pool-records.ts";
import type { Found, Parts } from "./parts.ts";

/** How many blocks are tried before it is asked for others, and how often that is done. */
const CANDIDATES = 8;
const ROUNDS = 4;

/** "claimed", or nobody's block was to be had: then what was found of the pool. */
export type Claimed = { readonly block: Prefix } | { readonly none: Found };

export class Claims {
  readonly #p: Parts;
  readonly #takeOver: (object: IpBlock) => Promise<BlockRecord["state"]>;
  readonly #running = new Map<string, Promise<Claimed>>();
  readonly #exact = new Map<string, Promise<IpBlock>>();

  constructor(parts: Parts, takeOver: (object: IpBlock) => Promise<BlockRecord["state"]>) {
    this.#p = parts;
    this.#takeOver = takeOver;
  }

  /** True while a claim of that block is under way: it is nobody else's to tend. */
  busy(prefix: Prefix): boolean {
    return this.#exact.has(blockName(prefix));
  }

  /** Any block of the pool. */
  any(pool: IpPool): Promise<Claimed> {
    return merged(this.#running, pool.name, () => this.#any(pool));
  }

  /** That very block, or whose it is. Its state in the ledger says whether it may be used. */
  exactly(pool: IpPool, prefix: Prefix): Promise<IpBlock> {
    return merged(this.#exact, blockName(prefix), () => this.#claim(pool, prefix));
  }

  async #any(pool: IpPool): Promise<Claimed> {
    const { finder, ledger, node } = this.#p;
    let found: Found = { prefixes: [], used: 0, size: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      found = await finder.freeBlocks(pool.name, CANDIDATES);
      const free = found.prefixes.filter(
        (p) => rangeSize(poolRange(p, pool.cidr)) > 0 && ledger.pools.block(p) === undefined,
      );
      if (free.length === 0) break;
      for (const prefix of free) {
        const block = await this.exactly(pool, prefix);
        if (block.node !== node) continue;
        if (ledger.pools.block(prefix)?.state === "open") return { block: prefix };
        throw unusable(pool);
      }
    }
    return { none: found };
  }

  async #claim(pool: IpPool, prefix: Prefix): Promise<IpBlock> {
    const { api, node, signal, step, known, written, ledger, tell } = this.#p;
    const tunnelAddress = this.#tunnelIn(prefix, pool);
    const wanted = { prefix, pool: pool.name, poolUid: pool.uid, node, tunnelAddress, loans: [] };
    step("claim:create");
    let block: IpBlock | undefined;
    try {
      block = await api.create(wanted, signal);
    } catch (error) {
      block = await api.block(blockName(prefix), signal);
      if (block === undefined) {
        // Whoever had it has just given it back; anything else is for whoever asked.
        if (!hasCode(error, "exists")) throw error;
        block = await api.create(wanted, signal);
      }
    }
    step("claim:created");
    known.learn(block);
    written(block);
    if (block.node !== node || ledger.pools.block(prefix) !== undefined) return block;
    if ((await this.#takeOver(block)) === "open") tell({ type: "claimed", block: prefix, pool: pool.name });
    return block;
  }

  /** The first block of a family has the tunnel's end from the start. */
  #tunnelIn(prefix: Prefix, pool: IpPool): IpAddress | undefined {
    const family = familyOf(prefix);
    if (this.#p.plain()?.has(family) !== false) return undefined;
    const held = this.#p.ledger.pools.held();
    if (held.some((h) => h.loan === undefined && familyOf(h.address) === family)) return undefined;
    return addressAt(prefix, poolRange(prefix, pool.cidr).first);
  }
}

function merged<T>(running: Map<string, Promise<T>>, key: string, work: () => Promise<T>): Promise<T> {
  const before = running.get(key);
  if (before !== undefined) return before;
  const mine = work().finally(() => running.delete(key));
  running.set(key, mine);
  return mine;
}

const unusable = (pool: IpPool): WeftError =>
  new WeftError("unavailable", `pool ${pool.name} is being removed or was disabled`, {
    object: `IPPool ${pool.name}`,
    hint: "Enable it, or give the pod or its namespace another pool (annotation weft.network/pools).",
  });
