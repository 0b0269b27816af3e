/** One change of one object, read and encoded once for all who watch it. */
import type { ApiObject } from "../values.ts";

export class Change {
  readonly storage: string;
  readonly key: string;
  readonly revision: number;
  readonly deleted: boolean;
  /** The object in JSON; of a deletion, as it was last, with the revision of the deletion. */
  readonly value: string;
  /** What it was before, in JSON; undefined when it was not there. */
  readonly before: string | undefined;
  #object: ApiObject | undefined;
  #previous: ApiObject | undefined;
  readonly #encoded = new Map<string, Uint8Array>();

  constructor(
    storage: string,
    key: string,
    revision: number,
    deleted: boolean,
    value: string,
    before: string | undefined,
  ) {
    this.storage = storage;
    this.key = key;
    this.revision = revision;
    this.deleted = deleted;
    this.value = value;
    this.before = before;
  }

  /** Not to be changed. */
  get object(): ApiObject {
    this.#object ??= JSON.parse(this.value) as ApiObject;
    return this.#object;
  }

  /** Not to be changed. */
  get previous(): ApiObject | undefined {
    if (this.#previous === undefined && this.before !== undefined) {
      this.#previous = JSON.parse(this.before) as ApiObject;
    }
    return this.#previous;
  }

  /** The bytes that `encode` makes, made once for each `form`. */
  encoded(form: string, encode: () => string): Uint8Array {
    const held = this.#encoded.get(form);
    if (held !== undefined) return held;
    const bytes = Buffer.from(encode());
    this.#encoded.set(form, bytes);
    return bytes;
  }
}
