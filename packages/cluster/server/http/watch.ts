/**
 * Watches (Kubernetes API concepts, "Efficient detection of changes"). A stream of JSON lines: first what happened since
 * the version asked for, read from the store, or with sendInitialEvents all that is there; then what happens, which is
 * encoded once for all watchers.
 *
 * A watcher that reads slower than things happen is cut off when too much waits for it; it asks again from where it is.
 */
import { badRequest, Failure } from "../errors.ts";
import { apiVersionOf } from "../resource.ts";
import type { Change } from "../storage/change.ts";
import { type Store, tooOld } from "../storage/store.ts";
import type { ApiObject, Mapping } from "../values.ts";
import { refuseFuture, revisionOf } from "./list.ts";
import { checkMatch } from "./match.ts";
import type { Target } from "./path.ts";
import { encodeObject, isSelected, type Selection, shapeObject, type View } from "./view.ts";

type EventType = "ADDED" | "MODIFIED" | "DELETED";

/** Bytes that may wait for one watcher. */
const MOST_WAITING = 32 * 1024 * 1024;
/** Bytes handed over at once. */
const CHUNK = 64 * 1024;
const BOOKMARK_EVERY = 60_000;
const INITIAL_END = "k8s.io/initial-events-end";

export interface WatchOptions {
  readonly target: Target;
  readonly selection: Selection;
  readonly view: View;
  readonly query: URLSearchParams;
  readonly now: () => number;
}

export class Watcher {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #options: WatchOptions;
  readonly #store: Store;
  readonly #onEnd: (watcher: Watcher) => void;
  readonly #bookmarks: boolean;
  readonly #deadline: number;
  #initial: Iterator<Uint8Array> | undefined;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #lastBookmark: number;
  #ended = false;
  #wake: () => void = () => {};
  #unsubscribe: () => void = () => {};

  /** Throws 400, 410, 422, 504. */
  constructor(store: Store, options: WatchOptions, onEnd: (watcher: Watcher) => void) {
    const { query, target, now } = options;
    this.#store = store;
    this.#options = options;
    this.#onEnd = onEnd;
    this.#bookmarks = query.get("allowWatchBookmarks") === "true";
    this.#deadline = now() + timeoutOf(query);
    this.#lastBookmark = now();
    checkMatch(query, true);
    const asked = revisionOf(query);
    refuseFuture(asked, store.revision);
    const initial = query.get("sendInitialEvents");
    // Without a version, or with "0", a watch begins with what is there.
    const everything = initial === "true" || (initial !== "false" && (asked ?? 0) === 0);
    const from = asked ?? 0;
    if (!everything && from !== 0 && from < store.compacted) throw tooOld(from, store.compacted);
    const until = store.revision;
    if (everything) this.#initial = this.#all(until, initial === "true");
    else if (from !== 0 && from < until) this.#initial = this.#history(from, until);
    this.#unsubscribe = store.subscribe(target.resource.storage, (change) => this.#take(change));
    this.stream = new ReadableStream<Uint8Array>({
      pull: (controller) => this.#pull(controller),
      cancel: () => this.end(),
    });
  }

  /** Ends the stream after what waits. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unsubscribe();
    this.#onEnd(this);
    this.#wake();
  }

  /** Called every second or so. */
  tick(): void {
    const now = this.#options.now();
    const over = now >= this.#deadline;
    if (
      this.#bookmarks &&
      this.#initial === undefined &&
      (over || now - this.#lastBookmark >= BOOKMARK_EVERY)
    ) {
      this.#lastBookmark = now;
      this.#push(this.#bookmark(this.#store.revision));
    }
    if (over) this.end();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      const chunk = this.#next();
      if (chunk !== undefined) {
        controller.enqueue(chunk);
        return;
      }
      if (this.#ended) {
        controller.close();
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #next(): Uint8Array | undefined {
    const parts: Uint8Array[] = [];
    let size = 0;
    const add = (bytes: Uint8Array): void => {
      parts.push(bytes);
      size += bytes.length;
    };
    while (this.#initial !== undefined && size < CHUNK) {
      const { value, done } = this.#initial.next();
      if (done === true) this.#initial = undefined;
      else add(value);
    }
    if (this.#initial === undefined && this.#waiting.length > 0 && size < CHUNK) {
      let taken = 0;
      while (taken < this.#waiting.length && size < CHUNK) add(this.#waiting[taken++] as Uint8Array);
      for (let i = 0; i < taken; i++) this.#bytes -= (this.#waiting[i] as Uint8Array).length;
      this.#waiting = taken === this.#waiting.length ? [] : this.#waiting.slice(taken);
    }
    if (size === 0) return undefined;
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  #push(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes > MOST_WAITING) {
      this.#waiting = [];
      this.end();
    } else this.#wake();
  }

  #take(change: Change): void {
    const bytes = this.#event(change);
    if (bytes !== undefined) this.#push(bytes);
  }

  /** The event that a change is to this watcher, if it is one. */
  #event(change: Change): Uint8Array | undefined {
    const { target, selection } = this.#options;
    const { namespace } = target;
    if (namespace !== undefined && !change.key.startsWith(`${namespace}/`)) return undefined;
    const { matches, name } = selection;
    if (matches === undefined) {
      const type = change.deleted ? "DELETED" : change.before === undefined ? "ADDED" : "MODIFIED";
      return this.#encoded(change, type);
    }
    if (name !== undefined && change.key !== name && !change.key.endsWith(`/${name}`)) return undefined;
    const before = change.previous !== undefined && matches(change.previous);
    if (change.deleted) return before ? this.#encoded(change, "DELETED") : undefined;
    const after = matches(change.object);
    if (after) return this.#encoded(change, before ? "MODIFIED" : "ADDED");
    return before ? this.#gone(change) : undefined;
  }

  #encoded(change: Change, type: EventType): Uint8Array {
    const { target, view, now } = this.#options;
    return change.encoded(`${type} ${view.key}`, () =>
      line(type, encodeObject(target.resource, change.value, view, now())),
    );
  }

  /** It is still there, but no longer selected: it is shown as it was last, with the version of the change. */
  #gone(change: Change): Uint8Array {
    const { target, view, now } = this.#options;
    return change.encoded(`GONE ${view.key}`, () => {
      const { metadata, ...rest } = change.previous as ApiObject;
      const last = {
        ...rest,
        metadata: { ...metadata, resourceVersion: String(change.revision) },
      } as ApiObject;
      return line("DELETED", JSON.stringify(shapeObject(target.resource, last, view, now())));
    });
  }

  #bookmark(revision: number, annotations?: Mapping): Uint8Array {
    const { kind } = this.#options.target.resource;
    const metadata = {
      resourceVersion: String(revision),
      creationTimestamp: null,
      ...(annotations === undefined ? {} : { annotations }),
    };
    const apiVersion = apiVersionOf(this.#options.target.resource);
    const { form } = this.#options.view;
    const object =
      form === "table"
        ? { kind: "Table", apiVersion: "meta.k8s.io/v1", metadata, columnDefinitions: [], rows: [] }
        : form === "partial"
          ? { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata }
          : { kind, apiVersion, metadata };
    return Buffer.from(line("BOOKMARK", JSON.stringify(object)));
  }

  *#all(revision: number, announceEnd: boolean): Generator<Uint8Array> {
    const { target, selection, view, now } = this.#options;
    const { resource, namespace } = target;
    const range = { prefix: namespace === undefined ? "" : `${namespace}/` };
    try {
      for (const page of this.#store.pages(resource.storage, range, revision)) {
        for (const { value } of page) {
          if (!isSelected(value, selection)) continue;
          yield Buffer.from(line("ADDED", encodeObject(resource, value, view, now())));
        }
      }
      if (announceEnd) yield this.#bookmark(revision, { [INITIAL_END]: "true" });
    } catch (error) {
      yield this.#failed(error);
    }
  }

  *#history(since: number, until: number): Generator<Uint8Array> {
    try {
      for (const change of this.#store.changes(this.#options.target.resource.storage, since)) {
        if (change.revision > until) return;
        const bytes = this.#event(change);
        if (bytes !== undefined) yield bytes;
      }
    } catch (error) {
      yield this.#failed(error);
    }
  }

  /** History was compacted while it was being sent. */
  #failed(error: unknown): Uint8Array {
    if (!(error instanceof Failure)) throw error;
    this.#waiting = [];
    this.end();
    return Buffer.from(line("ERROR", JSON.stringify(error.toStatus())));
  }
}

const line = (type: string, object: string): string => `{"type":"${type}","object":${object}}\n`;

/** Milliseconds: what is asked for, or between half an hour and an hour, so that not all come back at once. */
function timeoutOf(query: URLSearchParams): number {
  const given = query.get("timeoutSeconds") ?? "";
  if (given === "" || given === "0") return 1_800_000 + Math.floor(Math.random() * 1_800_000);
  if (!/^\d{1,7}$/.test(given))
    throw badRequest(`timeoutSeconds must be a number, not ${JSON.stringify(given)}`);
  return Number(given) * 1000;
}
