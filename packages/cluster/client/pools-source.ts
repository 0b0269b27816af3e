/**
 * IPPools and IPBlocks of a cluster, kept up to date; and, where it is asked for, Namespaces, as long as there is a pool.
 *
 * A cluster may not know these kinds: then there are none, and they are looked for now and then. Rights that are missing
 * are told as an error; what was known stays, and nothing waits for it.
 */
import { type Logger, silentLogger, systemClock } from "@weft/base";
import type { AddressRequest, IpBlock, IpPool } from "@weft/model";
import { readAsks } from "../asks.ts";
import { isMapping } from "../field.ts";
import { answered } from "./answered.ts";
import { type BlockRow, BlockRows, blockRow } from "./block-rows.ts";
import type { ApiClient } from "./http.ts";
import { decodePool } from "./pools.ts";
import { IP_BLOCKS, IP_POOLS, type KubernetesObject, NAMESPACES, pathOf, type Resource } from "./resource.ts";
import {
  type ResourceWatch,
  type ResourceWatchOptions,
  type RowBatch,
  type WatchStatus,
  watchResource,
} from "./watch.ts";

export interface NamespaceRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly asks?: AddressRequest;
}

export interface PoolsWatchOptions
  extends Pick<ResourceWatchOptions<never>, "backoff" | "clock" | "random" | "onStatus" | "idleLimit"> {
  readonly client: ApiClient;
  /** The node whose blocks, and blocks with loans of it, are kept whole. */
  readonly node?: string;
  /** Whether Namespaces are watched while there are pools. */
  readonly namespaces?: boolean;
  /** After every change. Not called before both lists have been answered, be it by a refusal. */
  readonly onChange: () => void;
  /** Milliseconds over which changes are gathered, 20 by default. */
  readonly gather?: number;
  /** Milliseconds between two looks for kinds that the server does not know, some 60,000 by default. */
  readonly every?: number;
  readonly logger?: Logger;
}

export interface PoolsWatch {
  /** Resolves when all of it has been listed, is unknown, or was refused; rejects when it is stopped before. */
  readonly answered: Promise<void>;
  /** All of it has been listed once: what is not there does not exist. */
  readonly complete: boolean;
  /** All that is watched is as the server has it. */
  readonly current: boolean;
  /** By name. */
  readonly pools: readonly IpPool[];
  /** `write`: what this node knows to have written; it is told with the next change. */
  readonly blocks: Pick<BlockRows, "get" | "values" | "size" | "write">;
  /** Undefined as long as they are not known; empty where nobody may read them. Another map after every change. */
  readonly namespaces: ReadonlyMap<string, NamespaceRow> | undefined;
  status(): { readonly pools: WatchStatus; readonly blocks: WatchStatus };
  /** Objects that could not be read, and lists that were refused, each in a sentence. */
  errors(): readonly string[];
  /** What this node wrote; told at once. */
  written(block: IpBlock): void;
  removed(name: string, uid: string): void;
  reconnect(reason: string): void;
  stop(): Promise<void>;
}

/** An IPBlock with its status is as large as some ten pods. */
const BLOCKS_PER_PAGE = 100;

export function watchPools(options: PoolsWatchOptions): PoolsWatch {
  return new Source(options);
}

class Source implements PoolsWatch {
  readonly answered: Promise<void>;
  readonly blocks: BlockRows;
  readonly #options: PoolsWatchOptions;
  readonly #pools = new Map<string, IpPool>();
  readonly #watches: { readonly pools: ResourceWatch; readonly blocks: ResourceWatch };
  #sorted: readonly IpPool[] | undefined;
  #namespaces:
    | {
        readonly watch: ResourceWatch;
        rows: ReadonlyMap<string, NamespaceRow>;
        known: boolean;
        readonly answered: Promise<void>;
      }
    | undefined;
  #isAnswered = false;
  #stopped = false;
  #cancel: (() => void) | undefined;

  constructor(options: PoolsWatchOptions) {
    this.#options = options;
    const { node } = options;
    this.blocks = new BlockRows(node);
    this.#watches = {
      pools: this.#start<IpPool>(IP_POOLS, decodePool, (batch) => this.#takePools(batch)),
      blocks: this.#start<BlockRow>(
        IP_BLOCKS,
        (object, before) => blockRow(object, before, node),
        (batch) => this.#takeBlocks(batch),
        BLOCKS_PER_PAGE,
      ),
    };
    const { pools, blocks } = this.#watches;
    const { clock = systemClock } = options;
    this.answered = Promise.all([answered(pools, clock), answered(blocks, clock)]).then(async () => {
      // Without their labels nobody could tell which pods a pool is for.
      await this.#namespaces?.answered;
      this.#isAnswered = true;
      this.#tell();
    });
    this.answered.catch(() => {});
  }

  get complete(): boolean {
    const { pools, blocks } = this.#watches;
    return pools.status().synced && blocks.status().synced;
  }

  get current(): boolean {
    const all = [
      ...Object.values(this.#watches),
      ...(this.#namespaces === undefined ? [] : [this.#namespaces.watch]),
    ];
    return all.every((w) => /^(watching|absent)$/.test(w.status().state));
  }

  get pools(): readonly IpPool[] {
    this.#sorted ??= [...this.#pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#sorted;
  }

  get namespaces(): ReadonlyMap<string, NamespaceRow> | undefined {
    if (this.#pools.size === 0) return NONE;
    return this.#namespaces?.known === true ? this.#namespaces.rows : undefined;
  }

  status(): { readonly pools: WatchStatus; readonly blocks: WatchStatus } {
    return { pools: this.#watches.pools.status(), blocks: this.#watches.blocks.status() };
  }

  errors(): readonly string[] {
    const { client } = this.#options;
    const place = client.server;
    const of = (kind: string, watch: ResourceWatch): string[] => {
      const { faults, state, lastError } = watch.status();
      const found = [...faults].map(([key, fault]) => `${place}: ${kind} ${key}: ${fault}`);
      // An API that is away altogether is told of elsewhere.
      return state === "away" &&
        lastError !== undefined &&
        /\bforbidden\b|cannot (list|watch)/i.test(lastError)
        ? [...found, `${place}: ${kind}s cannot be read: ${lastError}`]
        : found;
    };
    return [
      ...of("IPPool", this.#watches.pools),
      ...of("IPBlock", this.#watches.blocks),
      ...(this.#namespaces === undefined ? [] : of("Namespace", this.#namespaces.watch)),
    ];
  }

  written(block: IpBlock): void {
    // A list that is under way may be of before.
    this.#settle();
    this.blocks.write(block);
    this.#tell();
  }

  removed(name: string, uid: string): void {
    this.#settle();
    this.blocks.remove(name, uid);
    this.#tell();
  }

  reconnect(reason: string): void {
    for (const watch of Object.values(this.#watches)) watch.reconnect(reason);
    this.#namespaces?.watch.reconnect(reason);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await Promise.all([...Object.values(this.#watches), this.#namespaces?.watch].map((w) => w?.stop()));
  }

  #start<Row>(
    resource: Resource,
    decode: ResourceWatchOptions<Row>["decode"],
    onChange: (batch: RowBatch<Row>) => void,
    pageSize?: number,
  ): ResourceWatch {
    const { client, backoff, clock, random, onStatus, idleLimit, every = 60_000, logger } = this.#options;
    return watchResource<Row>({
      client,
      path: pathOf(resource),
      decode,
      onChange,
      optional: { every },
      ...(pageSize === undefined ? {} : { pageSize }),
      ...(backoff === undefined ? {} : { backoff }),
      ...(clock === undefined ? {} : { clock }),
      ...(random === undefined ? {} : { random }),
      ...(onStatus === undefined ? {} : { onStatus }),
      ...(idleLimit === undefined ? {} : { idleLimit }),
      logger: logger ?? silentLogger,
    });
  }

  #takePools({ reset, changes }: RowBatch<IpPool>): void {
    if (reset) this.#pools.clear();
    for (const { key, after } of changes) {
      if (after === undefined) this.#pools.delete(key);
      else this.#pools.set(key, after);
    }
    this.#sorted = undefined;
    this.#followNamespaces();
    this.#changed();
  }

  #takeBlocks({ reset, changes }: RowBatch<BlockRow>): void {
    if (reset) this.blocks.reset();
    let news = reset;
    for (const { key, before, after } of changes) {
      this.blocks.tell(key, after, before);
      // Of thousands of blocks some are reported in every moment: whoever wants numbers asks for them.
      news ||= before?.rows !== after?.rows || before?.full !== after?.full;
    }
    if (news) this.#changed();
  }

  /** Somebody who has no pools pays nothing for namespaces. */
  #followNamespaces(): void {
    if (this.#options.namespaces !== true) return;
    if (this.#pools.size === 0) {
      void this.#namespaces?.watch.stop();
      this.#namespaces = undefined;
      return;
    }
    if (this.#namespaces !== undefined) return;
    const watch = this.#start<NamespaceRow>(NAMESPACES, namespaceRow, ({ reset, changes }) => {
      const next = new Map(reset ? [] : held.rows);
      for (const { key, after } of changes) {
        if (after === undefined) next.delete(key);
        else next.set(key, after);
      }
      held.rows = next;
      this.#changed();
    });
    const told = answered(watch, this.#options.clock ?? systemClock).catch(() => {});
    const held = { watch, rows: new Map<string, NamespaceRow>(), answered: told, known: false };
    this.#namespaces = held;
    void told.then(() => {
      held.known = true;
      this.#changed();
    });
  }

  #settle(): void {
    const { resourceVersion, lists, state } = this.#watches.blocks.status();
    this.blocks.settle(resourceVersion, lists, state === "watching" ? lists : lists - 1);
  }

  #changed(): void {
    const { clock = systemClock, gather = 20 } = this.#options;
    if (this.#stopped) return;
    this.#cancel ??= clock.setTimeout(() => this.#tell(), gather);
  }

  #tell(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#settle();
    if (this.#isAnswered && !this.#stopped) this.#options.onChange();
  }
}

const NONE: ReadonlyMap<string, NamespaceRow> = new Map();

function namespaceRow({ metadata }: KubernetesObject): NamespaceRow {
  const { name, labels, annotations } = metadata;
  const asks = readAsks(annotations, false);
  return {
    name,
    labels: isMapping(labels) ? (labels as Record<string, string>) : {},
    ...(asks === undefined ? {} : { asks }),
  };
}
