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
import type { ManifestObject } from "../objects.ts";
import { readPod } from "../pod.ts";
import type { Notes } from "../unhonoured.ts";
import type { ApiClient } from "./http.ts";
import { identityOf, type KubernetesObject, NODES, PODS, pathOf } from "./resource.ts";
import {
  type ResourceWatch,
  type ResourceWatchOptions,
  type RowBatch,
  type WatchStatus,
  watchResource,
} from "./watch.ts";

export interface ClusterRows extends ManifestRows {
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
  /** Whether rows of pods have their containers, which are most of a pod: true by default. */
  readonly containers?: boolean;
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
  /** Gives up all connections and makes new ones: what `reason` says has made them useless. */
  reconnect(reason: string): void;
  stop(): Promise<void>;
}

/** A Node with the images that it holds is several times as large as a Pod: one page is some megabytes of either. */
const NODES_PER_PAGE = 100;
const PODS_PER_PAGE = 500;

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
  const nodes = new Kind(place, "Node", readNodeObject);
  const pods = new Kind(place, "Pod", podReader(options.containers ?? true));
  const rows = createTeller(nodes, pods, onChange, logger);
  let cancel: (() => void) | undefined;
  const changed = (): void => {
    cancel ??= clock.setTimeout(() => {
      cancel = undefined;
      rows.tell();
    }, gather);
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

/** The readings of one kind, and the rows that they come to, computed when something changed. */
class Kind {
  readonly #place: string;
  readonly #kind: "Node" | "Pod";
  readonly #read: ReadObject;
  readonly #readings = new Map<string, Reading>();
  #rows: ClusterRows | undefined;

  constructor(place: string, kind: "Node" | "Pod", read: ReadObject) {
    this.#place = place;
    this.#kind = kind;
    this.#read = read;
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
    const read = this.#read(object, faults);
    const say = (text: string): string => `${this.#place}: ${what}: ${text}`;
    const errors = faults.map(({ path, message }) => say(`${pathText(path)}: ${message}`));
    const waiting = read.waiting === undefined ? undefined : say(`waits for ${read.waiting}`);
    const usable = errors.length === 0 && read.rows !== undefined;
    // Of nodes alone: there are many pods, and they claim nothing.
    const created = this.#kind === "Node" ? { created: createdAt(object) } : {};
    return {
      object: usable ? { key: what, place: this.#place, ...created, ...NO_ROWS, ...read.rows } : former,
      // One array for the many that have none.
      errors: errors.length === 0 ? NO_ERRORS : errors,
      waiting,
    };
  }
}

const NO_ROWS = { nodes: [], blocks: [], pods: [] };
const NO_ERRORS: readonly string[] = [];

/** Every agent must come to the same: what has no readable time is older than all that have one. */
function createdAt({ metadata }: KubernetesObject): number {
  const time = Date.parse(String(metadata["creationTimestamp"]));
  return Number.isNaN(time) ? 0 : time;
}

/** False when the former object of that name was deleted, and this one is another. */
function isSame(former: ManifestObject | undefined, object: KubernetesObject): boolean {
  const row = former?.nodes[0] ?? former?.pods[0];
  return row?.origin.uid === object.metadata.uid;
}

type ReadObject = (object: KubernetesObject, faults: Fault[]) => ObjectReading;

interface ObjectReading {
  readonly rows?: Partial<Pick<ManifestObject, "nodes" | "blocks" | "pods">>;
  readonly waiting?: string;
}

/** Fields that ask for something that is not ours to do are the kubelet's business: no notes are made of them. */
const notes = (): Notes => ({ unhonoured: [], unknown: [] });

/** What is odd about its containers is the kubelet's business too: a server of another version may allow it. */
const podReader =
  (containers: boolean): ReadObject =>
  (object, faults) => {
    const found: Fault[] = [];
    const pod = readPod(new Field(object, [], found), notes(), containers);
    faults.push(...found.filter(({ path }) => path[0] !== "spec" || path[1] !== "containers"));
    return { rows: { pods: [pod] } };
  };

function readNodeObject(object: KubernetesObject, faults: Fault[]): ObjectReading {
  const found = withInternalAddresses(object);
  if (found.internal === 0) return { waiting: "an address of type InternalIP in status.addresses" };
  const { node, blocks } = readNode(new Field(found.object, [], faults), notes());
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
          conflicts: ofNodes.conflicts,
          waiting: ofNodes.waiting,
        });
      } catch (error) {
        logger.error("taking over the cluster's rows failed", { error: describeError(error) });
      }
    },
  };
}
