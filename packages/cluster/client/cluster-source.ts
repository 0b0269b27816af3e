/**
 * Nodes and Pods of a cluster into the rows that a directory of manifests gives: whoever takes the one can take the
 * other.
 *
 * Nothing is told before both kinds are listed: rows that lack half of a cluster would take its routes away. While the
 * server is away the last rows stay in force. An object that turns faulty keeps the rows that it had, and the fault is
 * one of `errors`; a node that is only being set up (no address, no range yet) is in `waiting`.
 */
import { describeError, type Logger, silentLogger, systemClock } from "@weft/base";
import { type Fault, Field, isMapping, pathText } from "../field.ts";
import { combine, type ManifestRows } from "../manifests.ts";
import { readNode } from "../node.ts";
import { type ManifestObject, NO_ROWS } from "../objects.ts";
import { readPod } from "../pod.ts";
import { noNotes } from "../unhonoured.ts";
import type { ApiClient } from "./http.ts";
import { identityOf, type KubernetesObject, NODES, PODS, pathOf } from "./resource.ts";
import {
  type ResourceWatch,
  type ResourceWatchOptions,
  type RowBatch,
  type WatchStatus,
  watchResource,
} from "./watch.ts";

export interface ClusterRows extends Omit<ManifestRows, "services" | "endpointSlices" | "serviceRanges"> {
  /** Nodes that are not complete yet, and what they wait for. No fault. */
  readonly waiting: readonly string[];
}

export interface ClusterWatchOptions
  extends Pick<
    ResourceWatchOptions<never>,
    "pageSize" | "idleLimit" | "backoff" | "clock" | "random" | "logger" | "onStatus"
  > {
  readonly client: ApiClient;
  /** Only the pods bound to this node; all nodes in any case. */
  readonly node?: string;
  /**
   * First when both lists are complete, then whenever rows, errors or waiting are not what they were. What it
   * throws is logged.
   */
  readonly onChange: (rows: ClusterRows) => void;
  /** Milliseconds over which changes are gathered, 100 by default. */
  readonly gather?: number;
}

export interface ClusterWatch {
  /** Resolves when the first rows were told; rejects when it is stopped before. */
  readonly ready: Promise<void>;
  status(): { readonly nodes: WatchStatus; readonly pods: WatchStatus };
  stop(): Promise<void>;
}

/** What is kept of one object. */
interface Reading {
  /** Undefined when it never was without fault, or waits. */
  readonly object: ManifestObject | undefined;
  readonly errors: readonly string[];
  readonly waiting: string | undefined;
}

/** Starts at once; never throws and never ends by itself. */
export function watchCluster(options: ClusterWatchOptions): ClusterWatch {
  const { client, node, onChange, gather = 100, logger = silentLogger, clock = systemClock } = options;
  const place = new URL(client.server).host;
  const nodes = new Kind("Node", place);
  const pods = new Kind("Pod", place);
  const rows = createTeller(nodes, pods, onChange, logger);
  let cancel: (() => void) | undefined;
  const changed = (): void => {
    cancel ??= clock.setTimeout(() => {
      cancel = undefined;
      rows.tell();
    }, gather);
  };
  const start = (kind: Kind, path: string, fieldSelector?: string): ResourceWatch =>
    watchResource<Reading>({
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
    nodes: start(nodes, pathOf(NODES)),
    pods: start(pods, pathOf(PODS), node === undefined ? undefined : `spec.nodeName=${node}`),
  };
  const ready = Promise.all([watches.nodes.ready, watches.pods.ready]).then(() => rows.tell());
  ready.catch(() => {});
  return {
    ready,
    status: () => ({ nodes: watches.nodes.status(), pods: watches.pods.status() }),
    async stop() {
      await Promise.all([watches.nodes.stop(), watches.pods.stop()]);
      cancel?.();
    },
  };
}

/** The readings of one kind, and the rows that they come to, computed when something changed. */
class Kind {
  readonly #kind: "Node" | "Pod";
  readonly #place: string;
  readonly #readings = new Map<string, Reading>();
  #rows: ClusterRows | undefined;

  constructor(kind: "Node" | "Pod", place: string) {
    this.#kind = kind;
    this.#place = place;
  }

  take({ reset, changes }: RowBatch<Reading>): void {
    if (reset) this.#readings.clear();
    for (const { key, after } of changes) {
      if (after === undefined) this.#readings.delete(key);
      else this.#readings.set(key, after);
    }
    this.#rows = undefined;
  }

  rows(): ClusterRows {
    this.#rows ??= this.#combine();
    return this.#rows;
  }

  #combine(): ClusterRows {
    const readings = [...this.#readings].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reading]) => reading);
    const objects = readings.flatMap(({ object }) => object ?? []);
    const errors = readings.flatMap((reading) => reading.errors);
    return {
      ...combine([{ objects, warnings: [], errors }]),
      waiting: readings.flatMap(({ waiting }) => waiting ?? []),
    };
  }

  read(object: KubernetesObject, before: Reading | undefined): Reading {
    const what = `${this.#kind} ${identityOf(object)}`;
    const former = isSame(before?.object, object) ? before?.object : undefined;
    const faults: Fault[] = [];
    const read = this.#kind === "Pod" ? readPodObject(object, faults) : readNodeObject(object, faults);
    const say = (text: string): string => `${this.#place}: ${what}: ${text}`;
    const errors = faults.map(({ path, message }) => say(`${pathText(path)}: ${message}`));
    const waiting = read.waiting === undefined ? undefined : say(`waits for ${read.waiting}`);
    const usable = errors.length === 0 && read.rows !== undefined;
    return {
      object: usable ? { key: what, place: this.#place, ...NO_ROWS, ...read.rows } : former,
      errors,
      waiting,
    };
  }
}

/** False when the former object of that name was deleted, and this one is another. */
function isSame(former: ManifestObject | undefined, object: KubernetesObject): boolean {
  const row = former?.nodes[0] ?? former?.pods[0];
  return row?.origin.uid === object.metadata.uid;
}

interface ObjectReading {
  readonly rows?: Partial<Pick<ManifestObject, "nodes" | "blocks" | "pods">>;
  readonly waiting?: string;
}

/** Fields that ask for something that is not ours to do are the kubelet's business: their notes are not looked at. */
const readPodObject = (object: KubernetesObject, faults: Fault[]): ObjectReading => {
  return { rows: { pods: [readPod(new Field(object, [], faults), noNotes())] } };
};

function readNodeObject(object: KubernetesObject, faults: Fault[]): ObjectReading {
  const found = withInternalAddresses(object);
  if (found.internal === 0) return { waiting: "an address of type InternalIP in status.addresses" };
  const { node, blocks } = readNode(new Field(found.object, [], faults), noNotes());
  const rows = { nodes: [node], blocks };
  return blocks.length > 0 || faults.length > 0
    ? { rows }
    : { rows, waiting: "a pod range in spec.podCIDRs" };
}

/**
 * A node of which only addresses of type InternalIP matter: providers give others, with types of their own and names
 * for addresses, that are no faults of the node. Places in the list stay as they are, for messages.
 */
function withInternalAddresses(object: KubernetesObject): { object: unknown; internal: number } {
  const status = isMapping(object["status"]) ? object["status"] : {};
  const list = status["addresses"];
  if (!Array.isArray(list)) return { object, internal: list === undefined || list === null ? 0 : 1 };
  const isInternal = (item: unknown): boolean => isMapping(item) && item["type"] === "InternalIP";
  const addresses = list.map((item: unknown) => (isInternal(item) ? item : { type: "Hostname" }));
  return { object: { ...object, status: { addresses } }, internal: list.filter(isInternal).length };
}

/** Tells whoever listens, once something is different from what was told last. */
function createTeller(
  nodes: Kind,
  pods: Kind,
  onChange: (rows: ClusterRows) => void,
  logger: Logger,
): { tell(): void; readonly told: boolean } {
  let last: readonly [ClusterRows, ClusterRows] | undefined;
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
          waiting: ofNodes.waiting,
        });
      } catch (error) {
        logger.error("taking over the cluster's rows failed", { error: describeError(error) });
      }
    },
  };
}
