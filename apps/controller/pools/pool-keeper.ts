/**
 * Keeps address pools: says of each whether it may be used and what is left of it, holds it until nothing of it is, and
 * takes back what nodes have left behind.
 *
 *   IPPools --------+                          +--> finalizer, status (conditions, counts), events
 *   Nodes ----------+--> queue of names -------+
 *   ServiceCIDRs ---+      "pool p", "block b" +--> blocks of nodes that are gone: deleted, or without a node
 *   IPBlocks -------+                          +--> loans to nodes that are gone: returned
 *
 * Level-triggered: whatever is looked at is read, compared and written on condition of its version; a conflict is looked at
 * again. The finalizer is there before a pool is ready, so that no block can be claimed of a pool that is not held. Before
 * it is taken away the blocks are listed afresh: the watch may be behind. Who claims a block after that list reads the pool
 * once more, and finds that it is being deleted.
 */
import { type Clock, hasCode, isNotFound, type Logger, type Prefix, systemClock } from "@weft/base";
import {
  type ApiClient,
  createPoolsApi,
  type EventRecorder,
  getObject,
  IP_BLOCKS,
  IP_POOLS,
  KeyQueue,
  type KubernetesObject,
  listObjects,
  type PoolsApi,
  pathOf,
  type RowBatch,
  timestamp,
  updateObject,
  updateStatus,
} from "@weft/cluster/client";
import { UsageHistory } from "@weft/ipam/inspect";
import { blockName, POOL_FINALIZER } from "@weft/model";
import { recordEvents } from "../events.ts";
import type { PoolGauges } from "../metrics.ts";
import { type Counts, countsOf, type Verdict, verdictOf, type World } from "./accept.ts";
import { BlockIndex } from "./block-index.ts";
import { conditionsWith, readCondition } from "./condition.ts";
import type { BlockRow, PoolRow } from "./decode.ts";
import { fullText } from "./full.ts";
import { actionOf } from "./gone.ts";

export interface PoolKeeperOptions {
  readonly client: ApiClient;
  readonly identity: string;
  /** Milliseconds after which a node whose Node object is not there is taken to be gone. */
  readonly nodeGone: number;
  /** Milliseconds between two writes of numbers alone, 10,000 by default. */
  readonly countsEvery?: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

const RETRY_MS = 2000;
/** What comes in one moment is looked at once: a node's hundred blocks are one look at its pool. */
const GATHER_MS = 20;
/** Between two samples of a pool's use. They are in memory: a leader that is new begins anew. */
const SAMPLE_MS = 30_000;
const FIELD_MANAGER = "weft-controller";

export class PoolKeeper {
  readonly #options: PoolKeeperOptions;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #api: PoolsApi;
  readonly #events: EventRecorder;
  readonly #pools = new Map<string, PoolRow>();
  readonly #blocks = new BlockIndex();
  readonly #services = new Map<string, readonly Prefix[]>();
  readonly #nodes: World["nodes"];
  /** Nodes that blocks or loans name and that are not there, since when by the monotonic clock. */
  readonly #missing = new Map<string, number>();
  readonly #queue: KeyQueue;
  /** When a pool's numbers were written last. */
  readonly #counted = new Map<string, number>();
  /** By uid of the pool. */
  readonly #histories = new Map<string, UsageHistory>();
  #cancelSample: (() => void) | undefined;
  /** False once a server left status.full out: its definitions are of an earlier version. */
  #takesFull = true;
  #started = false;

  /** `nodes` is kept by whoever watches them. */
  constructor(options: PoolKeeperOptions, signal: AbortSignal, nodes: World["nodes"]) {
    this.#options = options;
    this.#signal = signal;
    this.#nodes = nodes;
    this.#clock = options.clock ?? systemClock;
    this.#api = createPoolsApi(options.client);
    this.#events = recordEvents(options, this.#clock);
    this.#queue = new KeyQueue({
      name: "pool",
      look: (key) => this.#keep(key),
      atOnce: 1,
      gather: GATHER_MS,
      retry: { first: RETRY_MS, cap: RETRY_MS },
      // Somebody else was first: the watch tells what it is now, and another look makes sure.
      isExpected: (error) => hasCode(error, "conflict"),
      isFinal: isNotFound,
      signal,
      clock: this.#clock,
      logger: options.logger,
    });
  }

  takePools({ reset, changes }: RowBatch<PoolRow>): void {
    if (reset) this.#pools.clear();
    for (const { key, after } of changes) {
      if (after === undefined) {
        this.#pools.delete(key);
        this.#counted.delete(key);
      } else this.#pools.set(key, after);
    }
    // One pool more or less may be what kept another one from being accepted.
    this.#lookAtPools();
  }

  takeBlocks({ reset, changes }: RowBatch<BlockRow>): void {
    if (reset) this.#blocks.clear();
    for (const { key, before, after } of changes) {
      this.#blocks.put(key, after);
      for (const row of [before, after]) if (row !== undefined) this.#queue.add(`pool ${row.pool}`);
      if (after === undefined) this.#queue.forget(`block ${key}`);
      else this.#consider(key, after);
    }
    // A block that is gone may be what kept a pool from being accepted.
    if (changes.some((c) => c.after === undefined)) this.#lookAtPools();
  }

  takeServices({ reset, changes }: RowBatch<readonly Prefix[]>): void {
    if (reset) this.#services.clear();
    for (const { key, after } of changes) {
      if (after === undefined) this.#services.delete(key);
      else this.#services.set(key, after);
    }
    this.#lookAtPools();
  }

  /** The nodes with these names have come, changed or gone; undefined: any may have. */
  nodesChanged(names: Iterable<string> | undefined): void {
    for (const name of names ?? this.#blocks.nodes()) {
      if (this.#nodes.has(name)) this.#missing.delete(name);
      for (const key of this.#blocks.of(name)) {
        const row = this.#blocks.get(key);
        if (row !== undefined) this.#consider(key, row);
      }
    }
    this.#lookAtPools();
  }

  start(): void {
    this.#started = true;
    this.#lookAtPools();
    for (const [key, row] of this.#blocks.entries()) this.#consider(key, row);
    this.#sample();
    this.#queue.start();
  }

  /** Of each pool that was accepted once. */
  gauges(): PoolGauges[] {
    return [...this.#pools.values()].flatMap((pool): PoolGauges[] => {
      if (pool.accepted === undefined) return [];
      const { used, free, blocks, nodes } = countsOf(pool.accepted, this.#blocks.ofPool(pool.uid));
      const size = Math.min(Number.MAX_SAFE_INTEGER, used + free);
      const ready = readCondition(pool.status)?.status === "True";
      const forecast = this.#histories.get(pool.uid)?.forecast(size) ?? { kind: "unknown" as const };
      return [{ pool: pool.name, size, used, blocks, nodes, ready, forecast }];
    });
  }

  #sample(): void {
    if (this.#signal.aborted) return;
    const uids = new Set([...this.#pools.values()].map((p) => p.uid));
    for (const uid of this.#histories.keys()) if (!uids.has(uid)) this.#histories.delete(uid);
    for (const { uid, name, accepted } of this.#pools.values()) {
      if (accepted === undefined) continue;
      const history = this.#histories.get(uid) ?? new UsageHistory();
      this.#histories.set(uid, history);
      history.add(this.#clock.monotonic(), countsOf(accepted, this.#blocks.ofPool(uid)).used);
      this.#queue.add(`pool ${name}`);
    }
    this.#cancelSample = this.#clock.setTimeout(() => this.#sample(), SAMPLE_MS);
  }

  async stop(): Promise<void> {
    this.#cancelSample?.();
    await this.#queue.stop();
    await this.#events.stop();
  }

  #lookAtPools(): void {
    for (const name of this.#pools.keys()) this.#queue.add(`pool ${name}`);
  }

  /** A block is looked at when a node that it names is missing, or it has none. Most never are. */
  #consider(key: string, row: BlockRow): void {
    if (!this.#started) return;
    const names = [...(row.node === undefined ? [] : [row.node]), ...row.borrowers];
    const missing = names.filter((name) => !this.#nodes.has(name));
    for (const name of missing) {
      if (!this.#missing.has(name)) this.#missing.set(name, this.#clock.monotonic());
    }
    if (missing.length > 0 || row.abandoned) this.#queue.add(`block ${key}`);
    else this.#queue.forget(`block ${key}`);
  }

  /** Milliseconds after which to look again whatever changes. */
  #keep(key: string): Promise<number | undefined> {
    const [kind, name = ""] = key.split(" ");
    return kind === "pool" ? this.#keepPool(name) : this.#keepBlock(name);
  }

  async #keepPool(name: string): Promise<number | undefined> {
    const pool = this.#pools.get(name);
    if (pool === undefined) return undefined;
    const held = pool.finalizers.includes(POOL_FINALIZER);
    const blocks = this.#blocks.ofPool(pool.uid);
    if (pool.deleting && held && blocks.length === 0 && (await this.#isEmpty(pool))) {
      const again = await this.#setFinalizers(
        pool,
        pool.finalizers.filter((f) => f !== POOL_FINALIZER),
      );
      this.#options.logger.info("a pool is gone", { pool: name });
      return again;
    }
    if (!pool.deleting && !held) {
      // The watch tells the new version.
      return this.#setFinalizers(pool, [...pool.finalizers, POOL_FINALIZER]);
    }
    const world: World = {
      pools: [...this.#pools.values()],
      nodes: this.#nodes,
      services: this.#services,
      blocks: this.#blocks.values(),
    };
    return this.#writeStatus(pool, verdictOf(pool, world), blocks);
  }

  async #writeStatus(
    pool: PoolRow,
    verdict: Verdict,
    blocks: readonly BlockRow[],
  ): Promise<number | undefined> {
    const before = readCondition(pool.status);
    const news = before?.status !== (verdict.ready ? "True" : "False") || before.reason !== verdict.reason;
    const range = verdict.accepted;
    const counts: Counts | undefined = range === undefined ? undefined : countsOf(range, blocks);
    const full = counts === undefined || !this.#takesFull ? undefined : this.#full(pool, counts);
    const status = {
      ...(range === undefined ? {} : range),
      ...counts,
      ...(full === undefined ? {} : { full }),
      conditions: conditionsWith(pool.status, verdict, pool.generation, timestamp(this.#clock.now())),
    };
    if (Bun.deepEquals(status, pool.status)) return undefined;
    const { countsEvery = 10_000 } = this.#options;
    const wait =
      (this.#counted.get(pool.name) ?? Number.NEGATIVE_INFINITY) + countsEvery - this.#clock.monotonic();
    if (!news && wait > 0) return wait;
    const { client } = this.#options;
    const object = await this.#current(pool);
    if (object === undefined) return RETRY_MS;
    const written = await updateStatus(
      client,
      IP_POOLS,
      { ...object, status },
      { fieldManager: FIELD_MANAGER, signal: this.#signal },
    );
    this.#counted.set(pool.name, this.#clock.monotonic());
    if (full !== undefined && (written["status"] as { full?: unknown } | undefined)?.full === undefined)
      this.#takesFull = false;
    if (!news) return undefined;
    this.#options.logger.info("a pool was judged", {
      pool: pool.name,
      ready: verdict.ready,
      reason: verdict.reason,
    });
    this.#tell(pool, verdict.ready ? "Normal" : "Warning", verdict.reason, verdict.message);
    return undefined;
  }

  #full(pool: PoolRow, { used, free, blocks, nodes }: Counts): string | undefined {
    const before = (pool.status ?? {}) as Partial<Counts> & { readonly full?: unknown };
    const size = Math.min(Number.MAX_SAFE_INTEGER, used + free);
    const forecast = this.#histories.get(pool.uid)?.forecast(size) ?? { kind: "unknown" as const };
    const same =
      before.used === used && before.free === free && before.blocks === blocks && before.nodes === nodes;
    const was = typeof before.full === "string" ? before.full : undefined;
    return fullText(forecast, this.#clock.now(), was, same);
  }

  /** The object of the version that was judged; undefined when it is another one by now, which the watch will tell. */
  async #current(pool: PoolRow): Promise<KubernetesObject | undefined> {
    const object = await getObject(
      this.#options.client,
      IP_POOLS,
      { name: pool.name },
      { signal: this.#signal },
    );
    return object.metadata.resourceVersion === pool.resourceVersion ? object : undefined;
  }

  async #setFinalizers(pool: PoolRow, finalizers: readonly string[]): Promise<number | undefined> {
    const { client } = this.#options;
    const object = await this.#current(pool);
    if (object === undefined) return RETRY_MS;
    await updateObject(
      client,
      IP_POOLS,
      { ...object, metadata: { ...object.metadata, finalizers } },
      { fieldManager: FIELD_MANAGER, signal: this.#signal },
    );
    return undefined;
  }

  /** As the server has it now, whatever the watch has told. */
  async #isEmpty(pool: PoolRow): Promise<boolean> {
    let left = 0;
    await listObjects(
      { client: this.#options.client, path: pathOf(IP_BLOCKS), signal: this.#signal },
      {
        begin: () => {
          left = 0;
        },
        add: (object) => {
          const spec = object["spec"] as { poolUID?: unknown } | undefined;
          if (spec?.poolUID === pool.uid) left++;
        },
      },
    );
    return left === 0;
  }

  async #keepBlock(name: string): Promise<number | undefined> {
    const row = this.#blocks.get(name);
    if (row === undefined) return undefined;
    const { nodeGone, logger } = this.#options;
    const now = this.#clock.monotonic();
    const names = [...(row.node === undefined ? [] : [row.node]), ...row.borrowers];
    const waits = names.flatMap((n) => {
      const since = this.#missing.get(n);
      return this.#nodes.has(n) || since === undefined || now - since >= nodeGone
        ? []
        : [since + nodeGone - now];
    });
    const again = waits.length > 0 ? Math.min(...waits) : undefined;
    const block = await this.#api.block(name, this.#signal);
    if (block === undefined) return again;
    const action = actionOf(block, (node) => {
      const since = this.#missing.get(node);
      return !this.#nodes.has(node) && since !== undefined && this.#clock.monotonic() - since >= nodeGone;
    });
    if (action.do === "nothing") return again;
    if (action.do === "delete") await this.#api.remove(block, this.#signal);
    else await this.#api.replace(action.block, this.#signal);
    const what = action.do === "delete" ? "went back to its pool" : "was written";
    logger.info("a block was taken care of", { block: name, done: action.do, why: action.why });
    const pool = this.#pools.get(block.pool);
    if (pool !== undefined && pool.uid === block.poolUid) {
      this.#tell(pool, "Normal", "NodeGone", `block ${blockName(block.prefix)} ${what}: ${action.why}`);
    }
    return again;
  }

  #tell({ name, uid }: PoolRow, type: "Normal" | "Warning", reason: string, note: string): void {
    const regarding = { apiVersion: IP_POOLS.apiVersion, kind: IP_POOLS.kind, name, uid };
    this.#events.record({ regarding, type, reason, action: "Reporting", note });
  }
}
