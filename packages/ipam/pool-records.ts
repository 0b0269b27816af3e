/**
 * What a ledger holds of pools: blocks that this node gives out, single addresses that it borrowed, and addresses of its
 * blocks that no workload of its own has, because they are lent to another node or are its end of a tunnel.
 *
 * open: addresses of it are given to workloads.
 * closed: none is given any more; it is going back. `deleting` says for which version that was asked of the server.
 * lost: the server has no such block of this node. What was given stays given, and nothing more is.
 */
import type { Database } from "bun:sqlite";
import { type Clock, contains, type IpAddress, type Prefix, WeftError } from "@weft/base";
import { type Choice, chooseAddresses, type Memory } from "./choose.ts";

export type BlockState = "open" | "closed" | "lost";

/** A block of a pool, or a borrowed address as a block of one. */
export interface BlockRecord {
  readonly prefix: Prefix;
  /** uid of its IPBlock; of a borrowed address, of the one that it is lent from. */
  readonly uid: string;
  readonly pool: string;
  readonly poolUid: string;
  readonly poolCidr: Prefix;
  readonly state: BlockState;
  readonly deleting: string | undefined;
  /** Of a borrowed address. */
  readonly loan: BorrowedFrom | undefined;
}

export interface BorrowedFrom {
  readonly id: string;
  readonly lender: Prefix;
  /** Somebody asked for this very address: it is nobody else's. */
  readonly wanted: boolean;
}

/** An address of one of these blocks that no workload of this node has. */
export interface HeldAddress {
  readonly address: IpAddress;
  readonly block: Prefix;
  /** Undefined: this node's own end of its tunnels. */
  readonly loan: string | undefined;
  /** Who has it. */
  readonly node: string;
  readonly pod: string | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** For whom an address is held. */
export type HoldRequest = Pick<HeldAddress, "block" | "loan" | "node" | "pod">;

export interface PoolRecords {
  /** All, in the order in which they came. */
  blocks(): readonly BlockRecord[];
  block(prefix: Prefix): BlockRecord | undefined;
  /** Takes a block in, or gives one that is there another uid and state; together with what is held in it. */
  put(record: Omit<BlockRecord, "deleting">, held?: readonly Omit<HeldAddress, "since">[]): void;
  /** `deleting` is kept unless it is given. False when there is no such block. */
  setState(prefix: Prefix, state: BlockState, deleting?: string): boolean;
  /** Throws "busy" while anybody has an address of it. False when there was none. */
  forget(prefix: Prefix): boolean;

  held(): readonly HeldAddress[];
  /** In words, for messages; undefined when nobody holds it here. */
  heldBy(address: IpAddress): string | undefined;
  /**
   * Takes an address of that block, which must be open, for somebody else than a workload. The same loan gets the same
   * address again. Throws as `AddressManager.allocate`.
   */
  hold(request: HoldRequest, wanted?: IpAddress): IpAddress;
  /** False when it was not held. */
  letGo(address: IpAddress): boolean;

  /** Those of the blocks that are no pool's, or open. */
  usable(blocks: readonly Prefix[]): Prefix[];
}

/** What the ledger itself does for them. */
interface Surroundings {
  readonly memory: Memory;
  readonly clock: Clock;
  readonly atomically: <T>(action: () => T) => T;
  /** Remembers a choice, all but its holder. */
  readonly take: (choice: Choice) => void;
  /** Remembers an address as freed. */
  readonly freed: (address: IpAddress) => void;
}

type BlockRow = {
  prefix: Prefix;
  uid: string;
  pool: string;
  pool_uid: string;
  pool_cidr: Prefix;
  state: BlockState;
  deleting: string | null;
  loan: string | null;
  lent_from: Prefix | null;
  wanted: number | null;
};
type HeldRow = {
  address: IpAddress;
  block: Prefix;
  loan: string | null;
  node: string;
  pod: string | null;
  since: number;
};

export class SqlitePoolRecords implements PoolRecords {
  readonly #s: ReturnType<typeof prepare>;
  readonly #around: Surroundings;
  /** Copies of the two tables, which only this class writes: every allocation looks into them. */
  #blocks: Map<Prefix, BlockRecord> | undefined;
  #held: Map<IpAddress, HeldAddress> | undefined;

  constructor(database: Database, around: Surroundings) {
    this.#s = prepare(database);
    this.#around = around;
  }

  get #blockMap(): Map<Prefix, BlockRecord> {
    this.#blocks ??= new Map(this.#s.blocks.all().map((row) => [row.prefix, toRecord(row)]));
    return this.#blocks;
  }

  get #heldMap(): Map<IpAddress, HeldAddress> {
    this.#held ??= new Map(this.#s.held.all().map((row) => [row.address, toHeld(row)]));
    return this.#held;
  }

  /** Copies are of committed tables alone: a transaction that is rolled back leaves none behind. */
  #change<T>(action: () => T): T {
    this.#blocks = undefined;
    this.#held = undefined;
    try {
      return this.#around.atomically(action);
    } finally {
      this.#blocks = undefined;
      this.#held = undefined;
    }
  }

  blocks(): readonly BlockRecord[] {
    return [...this.#blockMap.values()];
  }

  block(prefix: Prefix): BlockRecord | undefined {
    return this.#blockMap.get(prefix);
  }

  put(record: Omit<BlockRecord, "deleting">, held: readonly Omit<HeldAddress, "since">[] = []): void {
    const { prefix, uid, pool, poolUid, poolCidr, state, loan } = record;
    this.#change(() => {
      this.#s.put.run({
        prefix,
        uid,
        pool,
        pool_uid: poolUid,
        pool_cidr: poolCidr,
        state,
        deleting: null,
        loan: loan?.id ?? null,
        lent_from: loan?.lender ?? null,
        wanted: loan === undefined ? null : Number(loan.wanted),
      });
      for (const one of held) this.#insert(one);
    });
  }

  setState(prefix: Prefix, state: BlockState, deleting?: string): boolean {
    return this.#change(() => this.#s.setState.run(state, deleting ?? null, prefix).changes > 0);
  }

  forget(prefix: Prefix): boolean {
    return this.#change(() => {
      const used = this.#s.leases.all().find(({ address }) => contains(prefix, address))?.address;
      const holder = used ?? this.#s.held.all().find((h) => h.block === prefix)?.address;
      if (holder !== undefined) {
        throw new WeftError("busy", `block ${prefix} cannot go: ${holder} of it is in use`, {
          object: `block ${prefix}`,
          hint: "Wait until all of its addresses are free.",
        });
      }
      this.#s.dropCursor.run(prefix);
      return this.#s.drop.run(prefix).changes > 0;
    });
  }

  held(): readonly HeldAddress[] {
    return [...this.#heldMap.values()];
  }

  heldBy(address: IpAddress): string | undefined {
    const held = this.#heldMap.get(address);
    if (held === undefined) return undefined;
    if (held.loan === undefined) return `the tunnel of node ${held.node}`;
    return held.pod === undefined ? `node ${held.node}` : `pod ${held.pod} on node ${held.node}`;
  }

  hold(request: HoldRequest, wanted?: IpAddress): IpAddress {
    const { block, loan } = request;
    return this.#change(() => {
      const before = loan === undefined ? undefined : this.held().find((h) => h.loan === loan);
      if (before !== undefined) return before.address;
      if (this.block(block)?.state !== "open") {
        throw new WeftError("exhausted", `block ${block} gives no address out`, { object: `block ${block}` });
      }
      const [choice] = chooseAddresses(
        this.#around.memory,
        [block],
        [],
        wanted === undefined ? [] : [wanted],
      ) as [Choice];
      this.#around.take(choice);
      this.#insert({ ...request, address: choice.address });
      return choice.address;
    });
  }

  letGo(address: IpAddress): boolean {
    return this.#change(() => {
      const was = this.#s.letGo.run(address).changes > 0;
      if (was) this.#around.freed(address);
      return was;
    });
  }

  usable(blocks: readonly Prefix[]): Prefix[] {
    return blocks.filter((prefix) => {
      const record = this.block(prefix);
      return record === undefined || record.state === "open";
    });
  }

  #insert({ address, block, loan, node, pod }: Omit<HeldAddress, "since">): void {
    const since = this.#around.clock.now();
    this.#s.hold.run({ address, block, loan: loan ?? null, node, pod: pod ?? null, since });
  }
}

const toRecord = (row: BlockRow): BlockRecord => ({
  prefix: row.prefix,
  uid: row.uid,
  pool: row.pool,
  poolUid: row.pool_uid,
  poolCidr: row.pool_cidr,
  state: row.state,
  deleting: row.deleting ?? undefined,
  loan:
    row.loan === null || row.lent_from === null
      ? undefined
      : { id: row.loan, lender: row.lent_from, wanted: row.wanted === 1 },
});

const toHeld = ({ loan, pod, ...row }: HeldRow): HeldAddress => ({
  ...row,
  loan: loan ?? undefined,
  pod: pod ?? undefined,
});

function prepare(db: Database) {
  return {
    blocks: db.query<BlockRow, []>("SELECT * FROM pool_block ORDER BY number"),
    put: db.query<void, BlockRow>(
      `INSERT INTO pool_block (prefix, uid, pool, pool_uid, pool_cidr, state, deleting, loan, lent_from, wanted)
       VALUES ($prefix, $uid, $pool, $pool_uid, $pool_cidr, $state, $deleting, $loan, $lent_from, $wanted)
       ON CONFLICT (prefix) DO UPDATE SET uid = excluded.uid, pool = excluded.pool, pool_uid = excluded.pool_uid,
         pool_cidr = excluded.pool_cidr, state = excluded.state, loan = excluded.loan,
         deleting = CASE WHEN uid = excluded.uid THEN deleting END,
         lent_from = excluded.lent_from, wanted = excluded.wanted`,
    ),
    setState: db.query<void, [string, string | null, string]>(
      "UPDATE pool_block SET state = ?, deleting = coalesce(?, deleting) WHERE prefix = ?",
    ),
    drop: db.query<void, [string]>("DELETE FROM pool_block WHERE prefix = ?"),
    dropCursor: db.query<void, [string]>("DELETE FROM block WHERE prefix = ?"),
    leases: db.query<{ address: IpAddress }, []>("SELECT address FROM lease"),

    held: db.query<HeldRow, []>("SELECT * FROM held ORDER BY since, address"),
    hold: db.query<void, HeldRow>(
      "INSERT INTO held (address, block, loan, node, pod, since) VALUES ($address, $block, $loan, $node, $pod, $since)",
    ),
    letGo: db.query<void, [string]>("DELETE FROM held WHERE address = ?"),
  };
}
