/**
 * Nodes and Pods of a cluster into the rows that a directory of manifests gives: whoever takes the one can take the
 * other.
 *
 * Nothing is told before both kinds are listed: rows that lack half of a cluster would take its routes away. While the
 * server is away the last rows stay in force. An object that turns faulty keeps the rows that it had, and the fault is
 * one of `errors`; a node that is only being set up (no address, no range yet) is in `waiting`.
 */
import { describeError, type Logger, silentLogger, systemClock } from "@weft/base";
import type { ApiClient } from "./http.ts";
import { Kind, type KindRows, NODES_PER_PAGE, podReader, type Reading, readNodeObject } from "./readings.ts";
import { NODES, PODS, pathOf } from "./resource.ts";
import { type ResourceWatch, type ResourceWatchOptions, type WatchStatus, watchResource } from "./watch.ts";

export type ClusterRows = Omit<KindRows, "services" | "endpointSlices" | "serviceRanges">;

export interface ClusterWatchOptions
  extends Pick<
    ResourceWatchOptions<never>,
    "pageSize" | "idleLimit" | "backoff" | "clock" | "random" | "logger" | "onStatus"
  > {
  readonly client: ApiClient;
  /** Only the pods bound to this node, and its labels; all nodes in any case. */
  readonly node?: string;
  /** Whether rows of pods have their containers, which are most of a pod: true by default. */
  readonly containers?: boolean;
  /**
   * First when both lists are complete, then whenever rows, errors or waiting are not what they were. What it
   * throws is logged.
   */
  readonly onChange: (rows: ClusterRows) => void;
  /**
   * Milliseconds between two tellings at least, 100 by default: changes that come meanwhile are gathered. One that comes
   * after a pause is told at once, as a pod's ADD may wait for it.
   */
  readonly gather?: number;
}

export interface ClusterWatch {
  /** Resolves when the first rows were told; rejects when it is stopped before. */
  readonly ready: Promise<void>;
  status(): { readonly nodes: WatchStatus; readonly pods: WatchStatus };
  /** Gives up all connections and makes new ones: what `reason` says has made them useless. */
  reconnect(reason: string): void;
  stop(): Promise<void>;
}

const PODS_PER_PAGE = 500;
/** Milliseconds after which a change is told, for those that come with it. */
const AT_ONCE = 3;

/** Starts at once; never throws and never ends by itself. */
export function watchCluster(options: ClusterWatchOptions): ClusterWatch {
  const { client, node, onChange, gather = 100, logger = silentLogger, clock = systemClock } = options;
  const place = new URL(client.server).host;
  const nodes = new Kind(place, "Node", readNodeObject, node);
  const pods = new Kind(place, "Pod", podReader(options.containers ?? true));
  const rows = createTeller(nodes, pods, onChange, logger);
  let cancel: (() => void) | undefined;
  let toldAt = Number.NEGATIVE_INFINITY;
  const tell = (): void => {
    cancel = undefined;
    rows.tell();
    // From its end: what takes long leaves time for other things.
    toldAt = clock.monotonic();
  };
  const changed = (): void => {
    const pause = Math.max(Math.min(AT_ONCE, gather), toldAt + gather - clock.monotonic());
    cancel ??= clock.setTimeout(tell, pause);
  };
  const start = (kind: Kind, path: string, pageSize: number, fieldSelector?: string): ResourceWatch =>
    watchResource<Reading>({
      pageSize,
      ...options,
      path,
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
      decode: (object, before) => kind.read(object, before),
      onChange: (batch) => {
        kind.take(batch);
        if (rows.told) changed();
      },
    });
  const watches = {
    nodes: start(nodes, pathOf(NODES), NODES_PER_PAGE),
    pods: start(pods, pathOf(PODS), PODS_PER_PAGE, node === undefined ? undefined : `spec.nodeName=${node}`),
  };
  const ready = Promise.all([watches.nodes.ready, watches.pods.ready]).then(() => rows.tell());
  ready.catch(() => {});
  return {
    ready,
    status: () => ({ nodes: watches.nodes.status(), pods: watches.pods.status() }),
    reconnect(reason) {
      client.close();
      watches.nodes.reconnect(reason);
      watches.pods.reconnect(reason);
    },
    async stop() {
      await Promise.all([watches.nodes.stop(), watches.pods.stop()]);
      cancel?.();
    },
  };
}

/** Tells whoever listens, once something is different from what was told last. */
function createTeller(
  nodes: Kind,
  pods: Kind,
  onChange: (rows: ClusterRows) => void,
  logger: Logger,
): { tell(): void; readonly told: boolean } {
  let last: readonly [KindRows, KindRows] | undefined;
  return {
    get told() {
      return last !== undefined;
    },
    tell() {
      const now = [nodes.rows(), pods.rows()] as const;
      if (last !== undefined && now.every((rows, i) => Bun.deepEquals(rows, last?.[i], true))) return;
      last = now;
      const [ofNodes, ofPods] = now;
      try {
        onChange({
          nodes: ofNodes.nodes,
          blocks: ofNodes.blocks,
          pods: ofPods.pods,
          warnings: [],
          errors: [...ofNodes.errors, ...ofPods.errors],
          conflicts: ofNodes.conflicts,
          waiting: ofNodes.waiting,
          labels: ofNodes.labels,
        });
      } catch (error) {
        logger.error("taking over the cluster's rows failed", { error: describeError(error) });
      }
    },
  };
}
