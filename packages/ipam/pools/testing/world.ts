/**
 * Engines of several nodes with real ledgers around one server, for tests: what watches tell them comes late or not at
 * all, they are killed and started again, and an observer sees over all ledgers that no address has two holders.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  contains,
  type Family,
  familyOf,
  type IpAddress,
  overlaps,
  type Prefix,
  prefixLength,
  silentLogger,
  subnetAt,
  systemClock,
} from "@weft/base";
import { blockCount, type IpBlock, type IpPool, type PodAddressing } from "@weft/model";
import { poolRange, rangeSize } from "../../block.ts";
import { request } from "../../fixtures.ts";
import { type Ledger, openLedger } from "../../ledger.ts";
import { PoolEngine } from "../engine.ts";
import type { Found, PoolEvent, PoolStep, PoolTimes, PoolView } from "../parts.ts";
import type { PoolApi } from "../port.ts";

/** Objects as the server has them, or as somebody saw them last. */
export interface Snapshot {
  readonly pools: readonly IpPool[];
  readonly blocks: readonly IpBlock[];
}

export interface WorldOptions {
  readonly nodes: number;
  readonly api: (node: string) => PoolApi;
  readonly snapshot: () => Snapshot | Promise<Snapshot>;
  /** False: nodes have watches of their own, and `deliver` only reads. */
  readonly tells?: boolean;
  readonly random?: () => number;
  readonly times?: Partial<PoolTimes>;
}

/** What an engine that was killed throws, and nobody catches. */
export class Killed extends Error {}

const QUICK: PoolTimes = {
  idle: 60,
  drained: 5,
  report: 100,
  answer: 1_500,
  poll: 40,
  retry: 10,
  wanted: 200,
};

export class WorldNode {
  readonly name: string;
  readonly path: string;
  readonly events: PoolEvent[] = [];
  /** Called at each step; throws Killed to end the engine there. */
  atStep: (step: PoolStep) => void = () => {};
  ledger!: Ledger;
  engine!: PoolEngine;
  alive = false;
  /** The view that it was told last, and what it has itself seen since. */
  #view: PoolView | undefined;
  #seen: Snapshot = { pools: [], blocks: [] };
  readonly #world: World;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.path = join(world.directory, `${name}.db`);
  }

  start(): void {
    this.ledger = openLedger(this.path, { bootId: "test" });
    const world = this.#world;
    const mine = { alive: true };
    this.alive = true;
    this.#life = mine;
    this.#guard();
    this.engine = new PoolEngine({
      node: this.name,
      ledger: this.ledger,
      api: mortal(world.options.api(this.name), mine),
      finder: {
        freeBlocks: async (pool, count) =>
          this.#found(pool, (p) => world.free(p, count, this.name, this.#seen)),
        lenders: async (pool) => this.#found(pool, (p) => world.lenders(p, this.name, this.#seen)),
      },
      clock: systemClock,
      logger: silentLogger,
      written: () => {},
      gone: () => {},
      tell: (event) => this.events.push(event),
      step: (step) => {
        if (!mine.alive) throw new Killed();
        this.atStep(step);
        if (!mine.alive) throw new Killed();
      },
      times: { ...QUICK, ...world.options.times },
    });
    // What was half made is taken back, as the agent does at its start.
    for (const { workload, state } of this.ledger.workloads())
      if (state !== "ready") this.ledger.release(workload.id);
    world.observe();
    // From its copy on disk, or from a watch that has listed already.
    if (this.#view !== undefined) this.engine.take(this.#view);
  }
  #life = { alive: false };

  /** kill -9: what it has sent is done or not, and nothing else is. */
  kill(): void {
    if (!this.alive) return;
    this.#world.observe();
    this.alive = false;
    this.#life.alive = false;
    void this.engine.stop();
    this.ledger.close();
  }

  /** What its watches tell now. */
  take(seen: Snapshot): void {
    this.#seen = seen;
    this.#view = this.#world.viewOf(this.name, seen);
    if (this.alive) this.engine.take(this.#view);
  }

  async add(
    id: string,
    addressing: PodAddressing,
    signal = AbortSignal.timeout(30_000),
  ): Promise<readonly IpAddress[]> {
    const life = this.#life;
    const { addresses } = await this.engine.allocate(
      { request: request(id), addressing, plain: [], reserved: [] },
      signal,
    );
    if (!life.alive) throw new Killed();
    this.ledger.markReady(id);
    return addresses;
  }

  del(id: string): void {
    if (!this.alive || this.ledger.get(id) === undefined) return;
    this.ledger.beginRelease(id);
    this.ledger.release(id);
    this.engine.changed();
  }

  /** Each lease is told to the observer in the moment in which it is there. */
  #guard(): void {
    const { ledger } = this;
    const allocate = ledger.allocate.bind(ledger);
    ledger.allocate = (...given) => {
      const workload = allocate(...given);
      this.#world.observe();
      return workload;
    };
  }

  async #found(pool: string, find: (pool: IpPool) => readonly Prefix[]): Promise<Found> {
    await Bun.sleep(0);
    const known = this.#view?.pools.find((p) => p.name === pool);
    if (known === undefined) return { prefixes: [], used: 0, size: 0 };
    const told = this.#seen.blocks.filter((b) => b.pool === pool).map((b) => b.allocations.length);
    return { prefixes: find(known), used: told.reduce((a, b) => a + b, 0), size: capacityOf(known) };
  }
}

/** The port of one life: when that ends, its answers are heard by nobody. */
function mortal(api: PoolApi, life: { readonly alive: boolean }): PoolApi {
  const wrap =
    <A extends unknown[], T>(call: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      const never = new Promise<never>(() => {});
      if (!life.alive) return never;
      try {
        const result = await call(...args);
        return life.alive ? result : await never;
      } catch (error) {
        if (!life.alive) return never;
        throw error;
      }
    };
  return {
    pool: wrap(api.pool.bind(api)),
    block: wrap(api.block.bind(api)),
    create: wrap(api.create.bind(api)),
    replace: wrap(api.replace.bind(api)),
    remove: wrap(api.remove.bind(api)),
    writeStatus: wrap(api.writeStatus.bind(api)),
  };
}

export class World {
  readonly directory = mkdtempSync(join(tmpdir(), "weft-pools-"));
  readonly options: WorldOptions;
  readonly nodes: WorldNode[];
  readonly random: () => number;
  /** Violations that were seen, in words. */
  readonly faults: string[] = [];
  /** How often it was looked over all ledgers. */
  looks = 0;
  snapshot: Snapshot = { pools: [], blocks: [] };
  /** Chance that a node is not told of a change this time. */
  deaf = 0;
  readonly #last = new Map<string, ReadonlyMap<string, string>>();

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = options.random ?? Math.random;
    this.nodes = Array.from({ length: options.nodes }, (_, i) => new WorldNode(this, `n${i}`));
  }

  start(): void {
    for (const node of this.nodes) node.start();
  }

  /** Reads the server and tells all, or some, of the nodes. */
  async deliver(all = false): Promise<void> {
    this.snapshot = await this.options.snapshot();
    if (this.options.tells === false) return;
    for (const node of this.nodes) if (all || this.random() >= this.deaf) node.take(this.snapshot);
  }

  /** Tells everybody everything, again and again, until the work is done. */
  async telling<T>(work: () => Promise<T>): Promise<T> {
    let done = false;
    const telling = (async () => {
      while (!done) {
        await this.deliver(true);
        await Bun.sleep(5);
      }
    })();
    try {
      return await work();
    } finally {
      done = true;
      await telling;
    }
  }

  viewOf(name: string, { pools, blocks } = this.snapshot): PoolView {
    const usable = pools.filter((p) => p.ready && !p.disabled).map((p) => p.name);
    const own = blocks.filter((b) => b.node === name || b.loans.some((l) => l.node === name));
    return {
      pools,
      usable,
      blocks: own,
      otherwise: addressingOf(
        pools.filter((p) => usable.includes(p.name) && p.namespaceSelector.length === 0),
      ),
      current: true,
      enabled: pools.length > 0 || own.length > 0,
    };
  }

  /** As a node's cluster thread finds them, from what was known when it was told last. */
  free(pool: IpPool, count: number, node: string, seen = this.snapshot): Prefix[] {
    const taken = seen.blocks.map((b) => b.prefix);
    const total = Number(blockCount(pool));
    const start = Bun.hash(node);
    const found: Prefix[] = [];
    for (let i = 0n; i < total && found.length < count; i++) {
      const prefix = subnetAt(pool.cidr, pool.blockSize, (BigInt(start) + i) % BigInt(total));
      if (!taken.some((t) => overlaps(t, prefix))) found.push(prefix);
    }
    return found;
  }

  lenders(pool: IpPool, node: string, seen = this.snapshot): Prefix[] {
    const others = seen.blocks.filter((b) => b.pool === pool.name && b.node !== node && b.node !== undefined);
    return others
      .map((b) => ({ prefix: b.prefix, free: freeIn(b, pool) + this.random() / 2 }))
      .sort((a, b) => b.free - a.free)
      .map((b) => b.prefix);
  }

  /** Over all ledgers: nobody has what another has, and what is borrowed is held by its lender. */
  observe(): void {
    this.looks++;
    for (const node of this.nodes) if (node.alive) this.#last.set(node.name, holdersOf(node));
    const seen = new Map<string, string>();
    for (const [node, holders] of this.#last) {
      for (const [address, who] of holders) {
        const other = seen.get(address);
        if (other !== undefined) this.faults.push(`${address} is ${who}'s on ${node}, and ${other}`);
        seen.set(address, `${who}'s on ${node}`);
      }
    }
  }

  /** Waits until the condition holds, telling everybody everything meanwhile. */
  async until(what: string, condition: () => boolean | Promise<boolean>, limit = 60_000): Promise<void> {
    const end = performance.now() + limit;
    for (;;) {
      await this.deliver(true);
      if (await condition()) return;
      if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what}\n${this.describe()}`);
      await Bun.sleep(10);
    }
  }

  describe(): string {
    const blocks = this.snapshot.blocks.map(
      (b) =>
        `${b.prefix} ${b.node} ${b.tunnelAddress ?? "-"} ${JSON.stringify(b.loans.map((l) => ({ ...l, id: l.id.slice(0, 4) })))}`,
    );
    const nodes = this.nodes
      .filter((n) => n.alive)
      .map(
        (n) =>
          `${n.name}: ${JSON.stringify(n.engine.status())} ${n.ledger.workloads().map((w) => w.workload.addresses)}`,
      );
    return [...blocks, ...nodes].join("\n");
  }

  async end(): Promise<void> {
    for (const node of this.nodes) node.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function addressingOf(pools: readonly IpPool[], wanted: readonly IpAddress[] = []): PodAddressing {
  const of = (family: Family): string[] =>
    [...pools]
      .sort((a, b) => a.created - b.created || (a.name < b.name ? -1 : 1))
      .flatMap((p) => (familyOf(p.cidr) === family ? [p.name] : []));
  const [four, six] = [of(4), of(6)];
  return {
    pools: { ...(four.length > 0 && { 4: four }), ...(six.length > 0 && { 6: six }) },
    wanted,
    problem: undefined,
  };
}

/** Whatever a ledger says is in use on its node, by address. */
function holdersOf({ ledger }: WorldNode): ReadonlyMap<string, string> {
  const holders = new Map<string, string>();
  for (const { workload } of ledger.workloads())
    for (const a of workload.addresses) holders.set(a, workload.id);
  for (const h of ledger.pools.held()) if (h.loan === undefined) holders.set(h.address, "the tunnel");
  return holders;
}

const freeIn = (block: IpBlock, pool: IpPool): number =>
  rangeSize(poolRange(block.prefix, pool.cidr)) -
  block.loans.filter((l) => l.address !== undefined).length -
  block.allocations.length;

export function poolOf(name: string, cidr: string, blockSize: number, more: Partial<IpPool> = {}): IpPool {
  if (prefixLength(cidr) > blockSize) throw new Error(`${cidr} has no /${blockSize}`);
  return {
    name,
    uid: `uid-${name}`,
    cidr: cidr as Prefix,
    blockSize,
    nodeSelector: [],
    namespaceSelector: [],
    natOutgoing: undefined,
    disabled: false,
    ready: true,
    created: 1,
    origin: { kind: "IPPool", name },
    ...more,
  };
}

/** Addresses of a pool that somebody can have. */
export const capacityOf = (pool: IpPool): number => rangeSize(poolRange(pool.cidr, pool.cidr));
export const isIn = (pool: IpPool, address: string): boolean => contains(pool.cidr, address);
