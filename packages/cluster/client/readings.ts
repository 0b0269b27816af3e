/**
 * Objects of one kind as a watch has them, and the rows that they come to, together: of two nodes with one address the
 * first has it. An object that turns faulty keeps the rows that it had.
 */
import { type Fault, Field, isMapping, pathText } from "../field.ts";
import { combine, type ManifestRows } from "../manifests.ts";
import { readNode } from "../node.ts";
import { type ManifestObject, NO_ROWS } from "../objects.ts";
import { readPod } from "../pod.ts";
import { readServiceCidr } from "../service-cidr.ts";
import { noNotes } from "../unhonoured.ts";
import { identityOf, type KubernetesObject } from "./resource.ts";
import type { RowBatch } from "./watch.ts";

export interface KindRows extends ManifestRows {
  /** Nodes that are not complete yet, and what they wait for. No fault. */
  readonly waiting: readonly Waiting[];
  /** Labels of the node that they were asked for of; undefined: it is not known. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

export interface Waiting {
  readonly node: string;
  /** "range": where pools have blocks for it, it needs none. */
  readonly for: "address" | "range";
  readonly text: string;
}

type KindName = "Node" | "Pod" | "ServiceCIDR";

/** A Node with the images that it holds is several times as large as a Pod: one page is some megabytes of either. */
export const NODES_PER_PAGE = 100;

/** What is kept of one object. */
export interface Reading {
  /** Undefined when it never was without fault, or waits. */
  readonly object: ManifestObject | undefined;
  readonly errors: readonly string[];
  readonly waiting: Waiting | undefined;
  readonly labels?: Readonly<Record<string, string>>;
}

/** The readings of one kind, and the rows that they come to, computed when something changed. */
export class Kind {
  readonly #place: string;
  readonly #kind: KindName;
  readonly #read: ReadObject;
  readonly #labelled: string | undefined;
  readonly #readings = new Map<string, Reading>();
  #rows: KindRows | undefined;

  /** `labelled` is the object whose labels are kept. */
  constructor(place: string, kind: KindName, read: ReadObject, labelled?: string) {
    this.#place = place;
    this.#kind = kind;
    this.#read = read;
    this.#labelled = labelled;
  }

  take({ reset, changes }: RowBatch<Reading>): void {
    if (reset) this.#readings.clear();
    for (const { key, after } of changes) {
      if (after === undefined) this.#readings.delete(key);
      else this.#readings.set(key, after);
    }
    this.#rows = undefined;
  }

  rows(): KindRows {
    this.#rows ??= this.#combine();
    return this.#rows;
  }

  #combine(): KindRows {
    const readings = [...this.#readings].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reading]) => reading);
    const objects = readings.flatMap(({ object }) => object ?? []);
    const errors = readings.flatMap((reading) => reading.errors);
    return {
      ...combine([{ objects, warnings: [], errors }]),
      waiting: readings.flatMap(({ waiting }) => waiting ?? []),
      labels: this.#labelled === undefined ? undefined : this.#readings.get(this.#labelled)?.labels,
    };
  }

  read(object: KubernetesObject, before: Reading | undefined): Reading {
    const what = `${this.#kind} ${identityOf(object)}`;
    const former = isSame(before?.object, object) ? before?.object : undefined;
    const faults: Fault[] = [];
    const read = this.#read(object, faults);
    const say = (text: string): string => `${this.#place}: ${what}: ${text}`;
    const errors = faults.map(({ path, message }) => say(`${pathText(path)}: ${message}`));
    const waiting =
      read.waiting === undefined
        ? undefined
        : { node: identityOf(object), for: read.waiting, text: say(`waits for ${WAITS_FOR[read.waiting]}`) };
    const usable = errors.length === 0 && read.rows !== undefined;
    // Of nodes alone: there are many pods, and they claim nothing.
    const created = this.#kind === "Node" ? { created: createdAt(object) } : {};
    return {
      object: usable ? { key: what, place: this.#place, ...created, ...NO_ROWS, ...read.rows } : former,
      // One array for the many that have none.
      errors: errors.length === 0 ? NO_ERRORS : errors,
      waiting,
      ...(this.#labelled === identityOf(object) ? { labels: labelsOf(object) } : {}),
    };
  }
}

const WAITS_FOR = {
  address: "an address of type InternalIP in status.addresses",
  range: "a pod range in spec.podCIDRs",
} as const;

function labelsOf({ metadata }: KubernetesObject): Readonly<Record<string, string>> {
  const { labels } = metadata;
  return isMapping(labels) ? (labels as Record<string, string>) : {};
}

const NO_ERRORS: readonly string[] = [];

/** Every agent must come to the same: what has no readable time is older than all that have one. */
function createdAt({ metadata }: KubernetesObject): number {
  const time = Date.parse(String(metadata["creationTimestamp"]));
  return Number.isNaN(time) ? 0 : time;
}

/** False when the former object of that name was deleted, and this one is another. */
function isSame(former: ManifestObject | undefined, object: KubernetesObject): boolean {
  const row = former?.nodes[0] ?? former?.pods[0] ?? former?.serviceRanges[0];
  return row?.origin.uid === object.metadata.uid;
}

type ReadObject = (object: KubernetesObject, faults: Fault[]) => ObjectReading;

interface ObjectReading {
  readonly rows?: Partial<Omit<ManifestObject, "key" | "place" | "created">>;
  readonly waiting?: Waiting["for"];
}

/**
 * Fields that ask for something that is not ours to do are the kubelet's business: their notes are not looked at. So is
 * what is odd about its containers: a server of another version may allow it.
 */
export const podReader =
  (containers: boolean): ReadObject =>
  (object, faults) => {
    const found: Fault[] = [];
    const pod = readPod(new Field(object, [], found), noNotes(), containers);
    faults.push(...found.filter(({ path }) => path[0] !== "spec" || path[1] !== "containers"));
    return { rows: { pods: [pod] } };
  };

export function readNodeObject(object: KubernetesObject, faults: Fault[]): ObjectReading {
  const found = withInternalAddresses(object);
  if (found.internal === 0) return { waiting: "address" };
  const { node, blocks } = readNode(new Field(found.object, [], faults), noNotes());
  const rows = { nodes: [node], blocks };
  return blocks.length > 0 || faults.length > 0 ? { rows } : { rows, waiting: "range" };
}

export const readRanges: ReadObject = (object, faults) => ({
  rows: { serviceRanges: readServiceCidr(new Field(object, [], faults), noNotes()) },
});

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
