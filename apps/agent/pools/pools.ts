/**
 * Pools on the main thread: the engine (packages/ipam/pools), what it is told by the cluster thread, and its own way to
 * the API server. In a cluster without pools there is neither engine nor client, and a pod that asks for
 * a pool is refused.
 */
import {
  contains,
  type Family,
  familyOf,
  isBusy,
  isExhausted,
  type Logger,
  News,
  systemClock,
  WeftError,
} from "@weft/base";
import {
  type ApiClient,
  createClient,
  createEventRecorder,
  createPoolsApi,
  type EventRecorder,
  loadCredentials,
  readPodAsks,
} from "@weft/cluster/client";
import { CniError, OWN_CODE, toCniError } from "@weft/cni";
import { type AddressRequest, type Ledger, PoolEngine, type PoolView } from "@weft/ipam";
import type { IpBlock, NodeContext, PoolsStatus, Workload } from "@weft/model";
import type { AttachmentRequest } from "@weft/plugin-weft";
import type { ClusterSource } from "../cluster-source.ts";
import type { KnownPods } from "../known-pods.ts";
import type { PoolsFromCluster, PoolsToCluster } from "../messages.ts";
import { step } from "../steps.ts";
import { addressingOf, refuseWishes } from "./addressing.ts";
import { tellEvent } from "./events.ts";
import { ThreadFinder } from "./finder.ts";

/** Of one ADD, until it has its addresses: what is left of its time is for the kernel. */
const PATIENCE_MS = 40_000;
/** How long the compiler is waited for to know a block that was claimed for a pod. */
const CONTEXT_PATIENCE_MS = 3_000;
/** Writes of an engine at its busiest, and requests of a node at its start. */
const RATE = { qps: 50, burst: 200 };

export interface PoolsOptions {
  readonly node: string;
  readonly source: ClusterSource;
  readonly ledger: Ledger;
  readonly known: KnownPods;
  readonly context: () => NodeContext | undefined;
  readonly post: (message: PoolsToCluster) => void;
  readonly logger: Logger;
}

export interface Lease {
  readonly request: AddressRequest;
  /** Who asks, as the runtime says. */
  readonly pod: Pick<AttachmentRequest, "podUid" | "podNamespace" | "podName">;
  /** Called in the turn in which addresses are taken. */
  readonly before: () => void;
}

export class Pools {
  readonly #o: PoolsOptions;
  readonly #finder: ThreadFinder;
  #engine: PoolEngine | undefined;
  #client: ApiClient | undefined;
  #recorder: EventRecorder | undefined;
  readonly #news = new News();

  constructor(options: PoolsOptions) {
    this.#o = options;
    this.#finder = new ThreadFinder(options.post);
    // What an earlier life had of pools counts before anything is heard.
    if (options.ledger.pools.blocks().length > 0) this.#start();
  }

  hear(message: PoolsFromCluster): void {
    if (message.type === "blocks-found") {
      this.#finder.hear(message);
      return;
    }
    if (message.enabled) this.#start();
    const { type: _, ...view } = message;
    this.#engine?.take(view);
    this.#news.tell();
  }

  /** True when pods get addresses of pools, or may: whoever asks for some goes through `lease`. */
  get enabled(): boolean {
    return this.#engine?.enabled === true;
  }

  /** Throws CniError for a pod that asks for pools where there are none: it waits for them. */
  async refuseWishes(pod: Lease["pod"], signal: AbortSignal): Promise<void> {
    if (this.enabled) return;
    try {
      await refuseWishes(pod, this.#o.known, signal);
    } catch (error) {
      // The first pool may have come meanwhile: then it is asked for one.
      if (!this.enabled || signal.aborted) throw refusal(error, signal);
    }
  }

  /** The node's own context is another now. */
  contextChanged(): void {
    this.#engine?.changed();
    this.#news.tell();
  }

  /** Addresses were freed. */
  changed(): void {
    this.#engine?.changed();
  }

  /** What keeps this node from giving out addresses of pools; undefined when nothing does. */
  get waitingFor(): string | undefined {
    return this.#engine?.waitingFor;
  }

  /** Blocks of this node, and with loans to it, as the API has them; undefined while it is away, and without pools. */
  get blocks(): readonly IpBlock[] | undefined {
    const view = this.#engine?.view;
    return view?.enabled === true && view.current ? view.blocks : undefined;
  }

  status(): PoolsStatus | undefined {
    if (this.#o.source.kind === "directory") return undefined;
    return (
      this.#engine?.status() ?? {
        enabled: false,
        current: true,
        blocks: [],
        borrowed: [],
        waitingFor: undefined,
        problems: [],
      }
    );
  }

  /** Addresses for a workload, durable in the ledger. Throws CniError. */
  async lease({ request, pod, before }: Lease, signal: AbortSignal): Promise<Workload> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    try {
      const engine = this.#engine as PoolEngine;
      const addressing = await addressingOf(
        pod,
        {
          pods: this.#o.known,
          view: () => engine.view ?? NOTHING_KNOWN,
          read: (place, s) => readPodAsks(this.#api(), place, { signal: s, timeout: 3_000, retries: 1 }),
        },
        limit,
      );
      const { blocks = [], reserved = [] } = this.#o.context() ?? {};
      const plain = blocks.filter((b) => b.pool === undefined).map((b) => b.prefix);
      const workload = await engine.allocate({ request, addressing, plain, reserved, before }, limit);
      return workload;
    } catch (error) {
      throw refusal(error, signal);
    }
  }

  /**
   * Waits until the compiler knows the blocks that these addresses are of: rows of a pod follow from the pod alone, but
   * its way to other nodes does not.
   */
  async settled({ addresses }: Workload): Promise<void> {
    const until = performance.now() + CONTEXT_PATIENCE_MS;
    const isKnown = (): boolean =>
      addresses.every((a) => this.#o.context()?.blocks.some((b) => contains(b.prefix, a)));
    while (!isKnown()) {
      if (performance.now() > until) {
        this.#o.logger.warn("a pod starts before routes of its block are known", {
          addresses: addresses.join(" "),
        });
        return;
      }
      await this.#news.next(50);
    }
  }

  /** Resolves once the node can give out addresses to a pod that asks for nothing. */
  async served(): Promise<void> {
    while (this.waitingFor !== undefined) await this.#news.next(200);
  }

  async stop(): Promise<void> {
    await this.#engine?.stop();
    await this.#recorder?.stop();
    this.#client?.close();
  }

  #start(): void {
    if (this.#engine !== undefined || this.#o.source.kind === "directory") return;
    const { node, ledger, logger, post, context } = this.#o;
    const client = this.#api();
    const recorder = createEventRecorder({
      client,
      controller: "weft.network/agent",
      instance: node,
      logger,
    });
    this.#recorder = recorder;
    this.#engine = new PoolEngine({
      node,
      ledger,
      api: createPoolsApi(client),
      finder: this.#finder,
      clock: systemClock,
      logger,
      written: (block) => post({ type: "block-written", block }),
      gone: ({ name, uid }) => post({ type: "block-gone", name, uid }),
      tell: (event) => tellEvent(recorder, node, event),
      plain: () => plainFamilies(context()),
      step,
    });
  }

  /** Made when it is needed first: credentials were found good by the cluster thread before. */
  #api(): ApiClient {
    const { source, node, logger } = this.#o;
    const path = source.kind === "kubernetes" ? source.kubeconfig : undefined;
    this.#client ??= createClient({
      credentials: loadCredentials(path === undefined ? {} : { path }),
      rateLimit: RATE,
      userAgent: `weft-agent/${node}`,
      logger,
    });
    return this.#client;
  }
}

/** Families in which the node has a range of its own. */
function plainFamilies(context: NodeContext | undefined): ReadonlySet<Family> | undefined {
  if (context === undefined) return undefined;
  return new Set(context.blocks.filter((b) => b.pool === undefined).map((b) => familyOf(b.prefix)));
}

const NOTHING_KNOWN: PoolView = {
  pools: [],
  usable: [],
  blocks: [],
  otherwise: { pools: {}, wanted: [], problem: undefined },
  current: false,
  enabled: true,
};

/** What the engine says, in the plugin's terms. All of these are tried again by the runtime. */
function refusal(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof CniError) return error;
  if (signal.aborted) return new CniError(OWN_CODE.deadlineExceeded, "the client went away");
  if ((error as { name?: string }).name === "TimeoutError") {
    return new CniError(
      OWN_CODE.deadlineExceeded,
      `no address was to be had within ${PATIENCE_MS / 1000} s`,
      {
        hint: "See `weft status`: the API server or a node that lends addresses does not answer.",
      },
    );
  }
  if (!(error instanceof WeftError)) return error;
  const code = isBusy(error)
    ? OWN_CODE.addressUnavailable
    : isExhausted(error)
      ? OWN_CODE.rangeExhausted
      : error.code === "unavailable" || error.code === "timeout"
        ? OWN_CODE.nodeNotReady
        : toCniError(error).cniCode;
  return new CniError(code, error.message, {
    ...(error.hint !== undefined && { hint: error.hint }),
    ...(error.object !== undefined && { object: error.object }),
    cause: error.cause,
  });
}
