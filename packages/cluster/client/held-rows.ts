/**
 * What a watch holds: of each object its version and its row, never the object. Decides which events count:
 * a version that is not newer than what is known of the object is a repetition, whatever order events come in.
 */
import { describeError } from "@weft/base";
import { identityOf, isOlder, type KubernetesObject } from "./resource.ts";

/** `key` is the object's "namespace/name", or its name. `before` undefined: it is new; `after`: it is gone. */
export interface RowChange<Row> {
  readonly key: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

/**
 * A row of an object; undefined when it is of no interest. `before` is the row that it had. What it throws is
 * kept as the object's fault, and the row stays as it was.
 */
export type Decode<Row> = (object: KubernetesObject, before: Row | undefined) => Row | undefined;

interface Entry<Row> {
  readonly version: string;
  readonly row: Row | undefined;
}

export class HeldRows<Row> {
  readonly #decode: Decode<Row>;
  /** Objects whose last version could not be decoded, and why. */
  readonly faults = new Map<string, string>();
  #entries = new Map<string, Entry<Row>>();
  /** Everything up to this version has been seen. */
  #floor = "";
  /** Versions at which objects went, since the floor: an event of before must not bring them back. */
  #gone = new Map<string, string>();

  constructor(decode: Decode<Row>) {
    this.#decode = decode;
  }

  /** Number of objects, with rows or without. */
  get size(): number {
    return this.#entries.size;
  }

  /** The server has told all up to that version. */
  complete(version: string): void {
    this.#floor = version;
    this.#gone.clear();
  }

  /** An event of a watch; undefined when it changes no row. */
  apply(object: KubernetesObject, deleted: boolean): RowChange<Row> | undefined {
    const key = identityOf(object);
    const version = object.metadata.resourceVersion ?? "";
    const entry = this.#entries.get(key);
    const known = entry?.version ?? this.#gone.get(key) ?? "";
    if (isOlder(version, known) || isOlder(version, this.#floor)) return undefined;
    if (entry === undefined && version === known) return undefined;
    if (!deleted) return this.#put(key, object, entry, this.#entries);
    this.#entries.delete(key);
    this.#gone.set(key, version);
    this.faults.delete(key);
    return entry?.row === undefined ? undefined : { key, before: entry.row, after: undefined };
  }

  /** Takes in a whole list; what it does not have is gone when it is finished. */
  replacement(): { add(object: KubernetesObject): void; finish(version: string): RowChange<Row>[] } {
    const entries = new Map<string, Entry<Row>>();
    const changes: RowChange<Row>[] = [];
    return {
      add: (object) => {
        const key = identityOf(object);
        const change = this.#put(key, object, entries.get(key) ?? this.#entries.get(key), entries);
        if (change !== undefined) changes.push(change);
      },
      finish: (version) => {
        for (const [key, { row }] of this.#entries) {
          if (entries.has(key)) continue;
          this.faults.delete(key);
          if (row !== undefined) changes.push({ key, before: row, after: undefined });
        }
        this.#entries = entries;
        this.complete(version);
        return changes;
      },
    };
  }

  /** Every row as if it were new. */
  all(): RowChange<Row>[] {
    const changes: RowChange<Row>[] = [];
    for (const [key, { row }] of this.#entries) {
      if (row !== undefined) changes.push({ key, before: undefined, after: row });
    }
    return changes;
  }

  #put(
    key: string,
    object: KubernetesObject,
    held: Entry<Row> | undefined,
    into: Map<string, Entry<Row>>,
  ): RowChange<Row> | undefined {
    const before = held?.row;
    const decoded = this.#decoded(key, object, before);
    // Most events are of fields that no row has: an equal row stays the very same one.
    const after = before !== undefined && Bun.deepEquals(before, decoded, true) ? before : decoded;
    into.set(key, { version: object.metadata.resourceVersion ?? "", row: after });
    this.#gone.delete(key);
    return after === before ? undefined : { key, before, after };
  }

  #decoded(key: string, object: KubernetesObject, before: Row | undefined): Row | undefined {
    try {
      const row = this.#decode(object, before);
      this.faults.delete(key);
      return row;
    } catch (error) {
      this.faults.set(key, describeError(error));
      return before;
    }
  }
}
