/**
 * The race: nodes of a pool that is too small for them take and free addresses at random, are killed and started again
 * at random steps, while the server loses answers, refuses, and tells late or not at all. Shared by the tests that run
 * it around a server in memory and around the real one.
 */
import { type IpAddress, WeftError } from "@weft/base";
import type { IpPool, PodAddressing } from "@weft/model";
import { POOL_STEPS, type PoolStep } from "../parts.ts";
import { addressingOf, capacityOf, isIn, Killed, type World, type WorldNode } from "./world.ts";

export interface RaceOptions {
  readonly world: World;
  readonly pools: readonly IpPool[];
  /** Turns of all nodes together. */
  readonly turns: number;
  /** Chances of each turn: that a node is killed at its next step, and that it is started again. */
  readonly kills: number;
  readonly random: () => number;
  /** Ends all faults of the server. */
  readonly calm: () => void;
  /** Disables all pools. */
  readonly disable: () => Promise<void>;
}

export interface RaceReport {
  readonly given: number;
  readonly refused: number;
  readonly borrowed: number;
  readonly claimed: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly looks: number;
}

export async function race(options: RaceOptions): Promise<RaceReport> {
  const { world } = options;
  const runner = new Racer(options);
  world.start();
  await world.deliver(true);
  await runner.run();
  await runner.calm();
  await world.telling(() => runner.fill());
  await runner.empty();
  const events = world.nodes.flatMap((n) => n.events);
  if (world.faults.length > 0) throw new Error(world.faults.slice(0, 5).join("\n"));
  return {
    given: runner.given,
    refused: runner.refused,
    borrowed: events.filter((e) => e.type === "borrowed").length,
    claimed: events.filter((e) => e.type === "claimed").length,
    kills: Object.fromEntries([...runner.kills].sort()),
    looks: world.looks,
  };
}

class Racer {
  given = 0;
  refused = 0;
  readonly kills = new Map<string, number>();
  readonly #o: RaceOptions;
  readonly #pods = new Map<string, Set<string>>();
  #sequence = 0;

  constructor(options: RaceOptions) {
    this.#o = options;
    for (const node of options.world.nodes) this.#pods.set(node.name, new Set());
  }

  /** Everybody does something at every turn, and nobody waits for another. */
  async run(): Promise<void> {
    const { world, turns, kills, random } = this.#o;
    const underWay = new Set<Promise<void>>();
    for (let turn = 0; turn < turns; turn++) {
      const node = this.#pick(world.nodes);
      if (!node.alive) {
        if (random() < 0.3) this.#start(node);
      } else if (random() < kills) this.#killSoon(node);
      else {
        const work = this.#act(node).finally(() => underWay.delete(work));
        underWay.add(work);
      }
      if (world.options.tells !== false && random() < 0.5) await world.deliver();
      await Bun.sleep(Math.floor(random() * 3));
      if (underWay.size > 3 * world.nodes.length) await Promise.race(underWay);
      if (world.faults.length > 0) return;
    }
    await Promise.race([Promise.all(underWay), Bun.sleep(10_000)]);
  }

  #pick = <T>(list: readonly T[]): T => list[Math.floor(this.#o.random() * list.length)] as T;

  #start(node: WorldNode): void {
    node.atStep = () => {};
    node.start();
    const pods = this.#podsOf(node);
    pods.clear();
    for (const { workload } of node.ledger.workloads()) pods.add(workload.id);
  }

  #podsOf = (node: WorldNode): Set<string> => this.#pods.get(node.name) as Set<string>;

  /** At the next step of that name, or, if it does not come there in a while, at any. */
  #killSoon(node: WorldNode): void {
    const { random } = this.#o;
    const wanted = this.#pick(POOL_STEPS);
    const patience = Math.floor(random() * 12);
    let passed = 0;
    node.atStep = (step: PoolStep) => {
      if (step !== wanted && passed++ < patience) return;
      this.kills.set(step, (this.kills.get(step) ?? 0) + 1);
      node.kill();
      throw new Killed();
    };
  }

  async #act(node: WorldNode): Promise<void> {
    const { random } = this.#o;
    const pods = this.#podsOf(node);
    if (pods.size > 0 && random() < 0.45) {
      const id = this.#pick([...pods]);
      pods.delete(id);
      node.del(id);
      return;
    }
    await this.#add(node, this.#addressing());
  }

  /** Mostly any address of the pools; now and then a certain one. */
  #addressing(): PodAddressing {
    const { pools, random } = this.#o;
    if (random() > 0.15) return addressingOf(pools);
    const wanted = pools.flatMap((pool): IpAddress[] => {
      const taken = this.#o.world.nodes.flatMap((n) =>
        n.alive ? n.ledger.workloads().flatMap((w) => w.workload.addresses.filter((a) => isIn(pool, a))) : [],
      );
      return taken.length === 0 ? [] : [this.#pick(taken)];
    });
    return addressingOf(pools, wanted);
  }

  async #add(node: WorldNode, addressing: PodAddressing): Promise<boolean> {
    const id = `${node.name}-${this.#sequence++}`;
    try {
      await node.add(id, addressing, AbortSignal.timeout(4_000));
      this.#podsOf(node).add(id);
      this.given++;
      return true;
    } catch (error) {
      this.refused++;
      const known = error instanceof WeftError || error instanceof Killed || isTimeout(error);
      // A ledger that was closed under it: it was killed.
      if (!known && node.alive && !/closed/i.test(String(error))) throw error;
      return false;
    }
  }

  /** No more faults: what is under way comes to its end. */
  async calm(): Promise<void> {
    const { world, calm } = this.#o;
    world.deaf = 0;
    calm();
    for (const node of world.nodes) {
      node.atStep = () => {};
      if (!node.alive) this.#start(node);
    }
    let looks = 0;
    await world.until(
      "all nodes are served, and no request is open",
      () => {
        const quiet =
          this.#onlyEnds() ||
          (world.nodes.every((n) => n.engine.status().problems.length === 0) &&
            world.snapshot.blocks.every((b) => b.loans.every((l) => l.address !== undefined && !l.returned)));
        // A pool that pods have all of has none for the end of a tunnel: somebody has to make room.
        if (!quiet && ++looks % 50 === 0 && world.nodes.some((n) => n.engine.waitingFor !== undefined))
          this.#freeOne();
        return quiet;
      },
      120_000,
    );
  }

  /** A pool of fewer addresses than nodes: when all of it is ends of tunnels, the others wait for ever, and ask. */
  #onlyEnds(): boolean {
    const held = this.#o.world.nodes.flatMap((n) => n.ledger.pools.held());
    return this.#o.pools.some(
      (pool) =>
        held.filter((h) => h.loan === undefined && isIn(pool, h.address)).length === capacityOf(pool) &&
        capacityOf(pool) < this.#o.world.nodes.length,
    );
  }

  #freeOne(): void {
    const node = this.#pick(this.#o.world.nodes.filter((n) => n.ledger.workloads().length > 0));
    const id = node?.ledger.workloads()[0]?.workload.id;
    if (node === undefined || id === undefined) return;
    node.del(id);
    this.#podsOf(node).delete(id);
  }

  /** Every address that is not a tunnel's can be had by somebody. */
  async fill(): Promise<void> {
    const { world, pools } = this.#o;
    const used = (): number => world.nodes.flatMap((n) => n.ledger.workloads()).length;
    const ends = (): number =>
      world.nodes.flatMap((n) => n.ledger.pools.held().filter((h) => h.loan === undefined)).length /
      pools.length;
    const capacity = Math.min(...pools.map(capacityOf));
    // One after the other, and the last ones ask many lenders.
    const end = performance.now() + 120_000 + 1_000 * capacity;
    for (let i = 0; used() + ends() < capacity; i++) {
      if (performance.now() > end) {
        throw new Error(
          `${used()} pods and ${ends()} tunnels of ${capacity} addresses, and no more to be had\n${world.describe()}`,
        );
      }
      const node = world.nodes[i % world.nodes.length] as WorldNode;
      await this.#add(node, addressingOf(pools));
    }
    if (world.faults.length > 0) throw new Error(world.faults.slice(0, 5).join("\n"));
  }

  /** All are freed, the pools disabled: no block is left, and no ledger holds anything. */
  async empty(): Promise<void> {
    const { world, disable } = this.#o;
    for (const node of world.nodes) {
      for (const { workload } of node.ledger.workloads()) node.del(workload.id);
      this.#podsOf(node).clear();
    }
    await disable();
    await world.until("no block is left", () => world.snapshot.blocks.length === 0, 120_000);
    await world.until("no ledger holds anything", () =>
      world.nodes.every((n) => n.ledger.pools.blocks().length === 0 && n.ledger.pools.held().length === 0),
    );
  }
}

const isTimeout = (error: unknown): boolean => (error as { name?: string }).name === "TimeoutError";
