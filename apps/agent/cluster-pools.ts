/**
 * Address pools as the cluster thread has them: what there is, what of it this node and its pods may use, and where a
 * block could be had.
 *
 *   IPPools, IPBlocks, Namespaces --watches--+
 *   labels of the own Node, own pods --------+--> "pools", "pods", Block rows
 *   what the engine wrote (main thread) -----+
 *
 * What concerns this node is kept on disk: an agent that starts while the API is away gives out the same addresses from
 * the same blocks. A cluster without pools costs two watches and nothing else.
 */
import { type Logger, type Prefix, prefixLength, prefixSize, subnetAt } from "@weft/base";
import { type AllBlocks, blockCombiner, Ranges } from "@weft/cluster";
import { type ApiClient, type BlockRow, type PoolsWatch, watchPools } from "@weft/cluster/client";
import { PLAIN, podAddressing, type Selection, usablePools } from "@weft/compile";
import { poolRange, rangeSize } from "@weft/ipam";
import {
  type Block,
  blockCount,
  blockName,
  type IpBlock,
  type IpPool,
  type Pod,
  type PodAddressing,
} from "@weft/model";
import type { KnownPod } from "./known-pods.ts";
import type { PoolsFromCluster } from "./messages.ts";
import { type PoolsCopy, PoolsCopyFile } from "./pools-copy.ts";

export type PoolsMessage = Extract<PoolsFromCluster, { type: "pools" }>;
export type BlocksFound = Omit<Extract<PoolsFromCluster, { type: "blocks-found" }>, "type" | "id">;

export interface ClusterPoolsOptions {
  readonly client: ApiClient;
  readonly node: string;
  /** File of the last state. */
  readonly copy: string;
  /** Block rows of pools that were known last, of all nodes. */
  readonly lastBlocks: readonly Block[];
  readonly onMessage: (message: PoolsMessage) => void;
  /** Rows, pods or errors may be others now. */
  readonly onChange: () => void;
  readonly logger: Logger;
}

/** How long a pod waits for its namespace to be known, in milliseconds: the one watch may be behind the other. */
const NAMESPACE_PATIENCE_MS = 2000;
/** More lenders than any borrower asks. */
const MOST_LENDERS = 256;

export class ClusterPools {
  readonly answered: Promise<void>;
  readonly #options: ClusterPoolsOptions;
  readonly #watch: PoolsWatch;
  readonly #combine = blockCombiner();
  readonly #copy: PoolsCopyFile;
  readonly #last: PoolsCopy | undefined;
  #labels: Readonly<Record<string, string>>;
  /** Pools that pods and this node choose from: told once namespaces are known too. */
  #pools: readonly IpPool[];
  #told: PoolsMessage | undefined;
  #selection: Selection | undefined;
  #by:
    | {
        readonly selection: Selection;
        readonly namespaces: ReadonlyMap<string, unknown>;
        readonly found: Readonly<Record<string, PodAddressing>>;
      }
    | undefined;
  /** Pods of namespaces that are not known, and since when. */
  readonly #waiting = new Map<string, number>();

  constructor(options: ClusterPoolsOptions) {
    this.#options = options;
    const { client, node, copy, logger } = options;
    this.#watch = watchPools({
      client,
      node,
      namespaces: true,
      onChange: () => this.#changed(),
      onStatus: () => this.tell(),
      logger,
    });
    this.answered = this.#watch.answered;
    this.#copy = new PoolsCopyFile(copy, logger);
    this.#last = this.#copy.read();
    this.#labels = this.#last?.labels ?? {};
    this.#pools = this.#last?.pools ?? [];
    for (const block of this.#last?.own ?? []) this.#watch.blocks.write(block);
  }

  /** Pods as they were known last, with where they get their addresses from. */
  get lastPods(): readonly KnownPod[] {
    return this.#last?.pods ?? [];
  }

  get enabled(): boolean {
    return this.#pools.length > 0 || this.#own().length > 0;
  }

  set labels(labels: Readonly<Record<string, string>> | undefined) {
    // A Node that vanished for a moment has not lost its labels.
    if (labels !== undefined) this.#labels = labels;
  }

  /** Tells the message when it is another one than before. */
  tell(): void {
    this.#select();
    const selection = this.#selectionNow();
    const message: PoolsMessage = {
      type: "pools",
      pools: this.#pools,
      usable: usablePools(selection).map((p) => p.name),
      blocks: this.#own(),
      otherwise: podAddressing(selection, undefined, undefined),
      byNamespace: this.#byNamespace(selection),
      current: this.#watch.complete && this.#watch.current,
      enabled: this.enabled,
    };
    if (Bun.deepEquals(message, this.#told)) return;
    this.#told = message;
    this.#options.onMessage(message);
  }

  /** Blocks of nodes and of pools together. */
  blocks(ofNodes: readonly Block[]): AllBlocks {
    return this.#combine(ofNodes, this.#rows());
  }

  /** For the compiler: what the ranges of pools are, and whose packets are translated. */
  get pools(): readonly IpPool[] {
    return this.#watch.complete ? this.#watch.pools : this.#pools;
  }

  /** True when the node has addresses of pools: it needs no podCIDRs. */
  serves(node: string): boolean {
    for (const rows of this.#rows()) if (rows.some((b) => b.node === node)) return true;
    return false;
  }

  errors(): readonly string[] {
    return this.#watch.errors();
  }

  known(pods: readonly Pod[]): KnownPod[] {
    const selection = this.#selectionNow();
    const { namespaces } = this.#watch;
    const uids = new Set(pods.map((p) => p.uid));
    for (const uid of this.#waiting.keys()) if (!uids.has(uid)) this.#waiting.delete(uid);
    return pods.flatMap(({ namespace, name, uid, runtimeUid, asks }) => {
      const found = namespaces?.get(namespace);
      if (this.#pools.length > 0 && namespaces !== undefined && found === undefined && this.#isEarly(uid))
        return [];
      const addressing = podAddressing(selection, asks, found);
      return [
        {
          namespace,
          name,
          uid,
          ...(runtimeUid === undefined ? {} : { runtimeUid }),
          ...(Bun.deepEquals(addressing, PLAIN) ? {} : { addressing }),
        },
      ];
    });
  }

  keep(pods: readonly KnownPod[]): void {
    if (!this.#watch.complete) return;
    const byNamespace = this.#told?.byNamespace ?? {};
    const state = { pools: this.#pools, own: this.#own(), labels: this.#labels, byNamespace, pods };
    this.#copy.write(this.enabled ? state : undefined);
  }

  /**
   * Blocks that nobody has, as far as is known. They begin at a place that follows from the node's name, so that nodes
   * which ask at one moment do not all try the same ones.
   */
  freeBlocks(name: string, count: number): BlocksFound {
    const pool = this.#named(name);
    if (pool === undefined) return { prefixes: [], used: 0, size: 0 };
    const taken = this.#taken();
    const all = blockCount(pool);
    const start = BigInt(Bun.hash(`${this.#options.node} ${pool.uid}`)) % all;
    const prefixes: Prefix[] = [];
    // Each block that is taken, or overlaps one that is, costs one step; more than these are never needed.
    const steps = BigInt(this.#watch.blocks.size + count) + 4096n;
    for (let i = 0n; i < all && i < steps && prefixes.length < count; i++) {
      const prefix = subnetAt(pool.cidr, pool.blockSize, (start + i) % all);
      if (!taken(prefix)) prefixes.push(prefix);
    }
    return { prefixes, ...this.#usage(pool) };
  }

  /** Blocks of other nodes, those with most free addresses first; nothing reported counts as empty. */
  lenders(name: string): BlocksFound {
    const pool = this.#named(name);
    if (pool === undefined) return { prefixes: [], used: 0, size: 0 };
    const free = (row: BlockRow): number => row.free ?? Number(prefixSize(row.prefix));
    const rows = [...this.#watch.blocks.values()].filter(
      (row) => row.pool === name && row.node !== undefined && row.node !== this.#options.node,
    );
    const prefixes = rows.sort((a, b) => free(b) - free(a)).map((row) => row.prefix);
    return { prefixes: prefixes.slice(0, MOST_LENDERS), ...this.#usage(pool) };
  }

  written(block: IpBlock): void {
    this.#watch.written(block);
    this.#changed();
  }

  removed(name: string, uid: string): void {
    this.#watch.removed(name, uid);
    this.#changed();
  }

  reconnect(reason: string): void {
    this.#watch.reconnect(reason);
  }

  #changed(): void {
    this.tell();
    this.#options.onChange();
  }

  #select(): void {
    if (this.#watch.complete && this.#watch.namespaces !== undefined) this.#pools = this.#watch.pools;
  }

  #selectionNow(): Selection {
    const now = { pools: this.#pools, labels: this.#labels };
    if (this.#selection?.pools !== now.pools || this.#selection.labels !== now.labels) this.#selection = now;
    return this.#selection;
  }

  /** Those that differ from what a namespace without labels and annotations gives; before any is known, the copy's. */
  #byNamespace(selection: Selection): Readonly<Record<string, PodAddressing>> {
    const { namespaces } = this.#watch;
    if (namespaces === undefined || !this.#watch.complete) return this.#last?.byNamespace ?? {};
    const by = this.#by;
    if (by?.selection === selection && by.namespaces === namespaces) return by.found;
    const otherwise = podAddressing(selection, undefined, undefined);
    const found: Record<string, PodAddressing> = {};
    for (const row of namespaces.values()) {
      const addressing = podAddressing(selection, undefined, row);
      if (!Bun.deepEquals(addressing, otherwise)) found[row.name] = addressing;
    }
    this.#by = { selection, namespaces, found };
    return found;
  }

  #named(name: string): IpPool | undefined {
    return this.#pools.find((p) => p.name === name);
  }

  *#rows(): Generator<readonly Block[]> {
    const own = new Set<string>();
    for (const row of this.#watch.blocks.values()) {
      own.add(blockName(row.prefix));
      yield row.rows;
    }
    if (this.#watch.complete) return;
    yield this.#options.lastBlocks.filter((b) => !own.has(blockName(b.lentFrom ?? b.prefix)));
  }

  #own(): IpBlock[] {
    const found: IpBlock[] = [];
    for (const { full } of this.#watch.blocks.values()) if (full !== undefined) found.push(full);
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #taken(): (prefix: Prefix) => boolean {
    const prefixes = new Set<string>();
    const lengths = new Set<number>();
    for (const { prefix } of this.#watch.blocks.values()) {
      prefixes.add(prefix);
      lengths.add(prefixLength(prefix));
    }
    const ranges = new Ranges<true>();
    for (const prefix of prefixes) ranges.put(prefix as Prefix, true);
    return (prefix) => prefixes.has(prefix) || (lengths.size > 1 && ranges.overlapping(prefix) !== undefined);
  }

  /** Of the addresses that can be handed out, as nodes told last. */
  #usage(pool: IpPool): { used: number; size: number } {
    let used = 0;
    for (const row of this.#watch.blocks.values()) if (row.pool === pool.name) used += row.used ?? 0;
    return { used, size: rangeSize(poolRange(pool.cidr, pool.cidr)) };
  }

  /** Until its namespace is known; not for ever, since nobody may be allowed to read them. */
  #isEarly(uid: string): boolean {
    const since = this.#waiting.get(uid) ?? performance.now();
    if (!this.#waiting.has(uid)) setTimeout(() => this.#options.onChange(), NAMESPACE_PATIENCE_MS + 10);
    this.#waiting.set(uid, since);
    return performance.now() - since < NAMESPACE_PATIENCE_MS;
  }
}
