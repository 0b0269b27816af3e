/**
 * Rows of all objects of a kind, kept up to date: list, then watch from the list's version on (Kubernetes
 * documentation, "Efficient detection of changes").
 *
 *        +-----------------------------+
 *        v                             | 410: the version is too old
 *   list in pages --> rows --> watch --+--> ended, or lost and no older version there: watch again from the last one
 *
 * - The rows stay while the server is away. What was deleted meanwhile is found by the next list, as a difference.
 * - Bookmarks move the version on when nothing happens, so that it does not get too old.
 * - A connection on which nothing comes for five minutes, not even a bookmark (one a minute), is half-open: it is
 *   given up. The server ends each watch after five to ten minutes by itself.
 * - A server whose store was restored from a backup has versions older than ours, and would let a watch from ours
 *   wait in silence until it gets there. So after a loss the version there is asked for, with a list of one object.
 * - Between tries: exponential backoff with jitter, or what the server asks for in Retry-After, but no more than a minute:
 *   a date is by the server's clock, which may be hours ahead of ours.
 * - A kind that the server does not know (`optional`) is looked for now and then, without a word.
 * - Raw objects are not kept: one page, or one piece of the stream, is in memory at a time.
 */
import {
  abortReason,
  backoffDelay,
  type Clock,
  describeError,
  hasCode,
  hintOf,
  isInvalid,
  type Logger,
  silentLogger,
  systemClock,
  WeftError,
} from "@weft/base";
import { isMapping } from "../field.ts";
import { deadline, sleep } from "./abort.ts";
import { tidy } from "./connection-error.ts";
import { HeldRows, type RowChange } from "./held-rows.ts";
import type { Query } from "./http.ts";
import { JsonLines } from "./json-lines.ts";
import { listObjects, readVersion } from "./list.ts";
import { asObject, isOlder } from "./resource.ts";
import { ApiError, statusError } from "./status-error.ts";
import type { ResourceWatch, ResourceWatchOptions, WatchState, WatchStatus } from "./watch-types.ts";

export type * from "./watch-types.ts";

/** Starts at once; never throws and never ends by itself. */
export function watchResource<Row>(options: ResourceWatchOptions<Row>): ResourceWatch {
  return new Reflector(options);
}

interface ByteReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(reason?: unknown): Promise<void>;
}

/** A watch that lasted this long, in milliseconds, was a good one: the next one follows without waiting. */
const GOOD = 5000;
/** Tries with something unreadable in them before everything is listed anew. */
const UNREADABLE = 4;
/** A server that starts may not know all of its kinds yet. */
const SAID_ABSENT = 3;

/** Milliseconds that a server may ask to be left alone. */
const MOST_PATIENCE = 60_000;

const BACKOFF = { first: 800, cap: 30_000 };
/** A server on a socket of this machine has few clients, and is back soon. */
const LOCAL_BACKOFF = { first: 50, cap: 1000 };

class Reflector<Row> implements ResourceWatch {
  readonly ready: Promise<void>;
  readonly #options: ResourceWatchOptions<Row>;
  readonly #query: Query;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  /** Ends the connection, or the wait for one, that there is now. */
  #interrupting = new AbortController();
  readonly #held: HeldRows<Row>;
  readonly #end: Promise<void>;
  #becomeReady: () => void = () => {};
  #state: WatchState = "listing";
  #since: number;
  #awaySince: number | undefined;
  #error: unknown;
  #synced = false;
  #lists = 0;
  #watches = 0;
  /** How often in a row the server has said that it does not know the kind. */
  #absences = 0;
  /** Where the next watch begins; undefined: with a list. */
  #version: string | undefined;
  /** Whoever listens does not have all: the next batch must be a reset. */
  #incomplete = true;

  constructor(options: ResourceWatchOptions<Row>) {
    this.#options = options;
    this.#query = { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#held = new HeldRows(options.decode);
    this.#since = this.#clock.now();
    this.ready = new Promise((resolve, reject) => {
      this.#becomeReady = resolve;
      this.#stopping.signal.addEventListener("abort", () => reject(abortReason(this.#stopping.signal)));
    });
    // Not everybody waits for it.
    this.ready.catch(() => {});
    // Nobody is called before whoever started it holds the watch.
    this.#end = Promise.resolve().then(() => this.#run());
  }

  status(): WatchStatus {
    return {
      path: this.#options.path,
      state: this.#state,
      since: this.#since,
      awaySince: this.#awaySince,
      lastError: this.#error === undefined ? undefined : describeError(this.#error),
      hint: hintOf(this.#error),
      synced: this.#synced,
      objects: this.#held.size,
      resourceVersion: this.#version,
      lists: this.#lists,
      watches: this.#watches,
      faults: this.#held.faults,
    };
  }

  reconnect(reason: string): void {
    const { client, path } = this.#options;
    const interrupted = this.#interrupting;
    this.#interrupting = new AbortController();
    interrupted.abort(
      new WeftError("unavailable", `${client.server}: connecting anew: ${reason}`, {
        object: path,
        hint: "Nothing is to be done: the watch goes on where it was.",
      }),
    );
  }

  stop(): Promise<void> {
    this.#stopping.abort(new WeftError("unavailable", `the watch of ${this.#options.path} was stopped`));
    return this.#end;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { client, random = Math.random } = this.#options;
    const { backoff = client.server.startsWith("unix:") ? LOCAL_BACKOFF : BACKOFF } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      let patience = 0;
      const began = this.#clock.monotonic();
      try {
        if (this.#version !== undefined && this.#awaySince !== undefined) await this.#compare(this.#version);
        if (this.#version === undefined) await this.#list();
        await this.#watch();
        const good = this.#clock.monotonic() - began >= GOOD;
        failures = good ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) break;
        if (this.#isAbsent(error)) {
          failures = 0;
          // A thousand clients that were started together do not look together.
          const wait = (this.#options.optional?.every ?? 0) * (0.75 + random() / 2);
          await sleep(this.#clock, wait, this.#interruptible()).catch(() => {});
          continue;
        }
        failures = this.#clock.monotonic() - began >= GOOD ? 1 : failures + 1;
        if (isTooOld(error) || (isInvalid(error) && failures % UNREADABLE === 0)) this.#version = undefined;
        patience = error instanceof ApiError ? Math.min(error.retryAfter ?? 0, MOST_PATIENCE) : 0;
        this.#fail(error);
      }
      if (failures === 0) continue;
      const wait = Math.max(patience, backoffDelay(failures, backoff, random));
      await sleep(this.#clock, wait, this.#interruptible()).catch(() => {});
    }
    this.#enter("stopped");
  }

  async #list(): Promise<void> {
    const { client, path, pageSize } = this.#options;
    if (this.#awaySince === undefined && this.#state !== "absent") this.#enter("listing");
    this.#lists++;
    let replacement = this.#held.replacement();
    const version = await listObjects(
      {
        client,
        path,
        query: this.#query,
        retries: 0,
        signal: this.#stopping.signal,
        ...(pageSize === undefined ? {} : { pageSize }),
      },
      {
        begin: () => {
          replacement = this.#held.replacement();
        },
        add: (object) => replacement.add(object),
      },
    );
    const changes = replacement.finish(version);
    this.#tell(changes, version);
    this.#version = version;
    this.#synced = true;
    this.#absences = 0;
    this.#becomeReady();
  }

  /** True when the server does not know the kind and that is accepted: rows are gone, or will be if it says so again. */
  #isAbsent(error: unknown): boolean {
    if (this.#options.optional === undefined || !isUnknown(error)) return false;
    this.#version = undefined;
    this.#absences++;
    if (this.#held.size > 0 && this.#absences < SAID_ABSENT) {
      this.#fail(error);
      return true;
    }
    try {
      this.#tell(this.#held.replacement().finish(""), "");
    } catch {
      // Told again with the next look: the batch was not taken over.
      return true;
    }
    this.#synced = true;
    this.#awaySince = undefined;
    this.#error = undefined;
    this.#becomeReady();
    this.#enter("absent");
    return true;
  }

  #interruptible(): AbortSignal {
    return AbortSignal.any([this.#stopping.signal, this.#interrupting.signal]);
  }

  /** Forgets the version when the server's own is older: history is another one there. */
  async #compare(version: string): Promise<void> {
    const { client, path } = this.#options;
    const { signal } = this.#stopping;
    const there = await readVersion({ client, path, query: this.#query, retries: 0, signal });
    if (!isOlder(there, version)) return;
    this.#version = undefined;
    this.#logger.warn("the server has older versions than it had: everything is listed again", {
      path,
      version,
      there,
    });
  }

  async #watch(): Promise<void> {
    const { client, path, idleLimit = 300_000, random = Math.random } = this.#options;
    const version = this.#version ?? "";
    const silent = (): WeftError =>
      new WeftError(
        "timeout",
        `${client.server}: nothing came for ${idleLimit / 1000} s, not even a bookmark`,
        {
          object: path,
          hint: "The connection was half-open: look for a firewall or NAT that forgets connections.",
        },
      );
    const limit = deadline(this.#clock, idleLimit, silent, this.#interruptible());
    const query = {
      ...this.#query,
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: version,
      timeoutSeconds: Math.round(300 + 300 * random()),
    };
    try {
      this.#watches++;
      const stream = await client.stream({ path, query, signal: limit.signal, retries: 0 });
      // What the server sends on a watch is newer than where it begins.
      this.#held.complete(version);
      this.#enter("watching");
      await this.#read(stream.getReader(), limit);
    } finally {
      limit.release();
    }
  }

  async #read(reader: ByteReader, limit: { readonly signal: AbortSignal; extend(): void }): Promise<void> {
    const lines = new JsonLines();
    const cancel = (): void => void reader.cancel(limit.signal.reason).catch(() => {});
    limit.signal.addEventListener("abort", cancel, { once: true });
    try {
      if (limit.signal.aborted) throw abortReason(limit.signal);
      for (;;) {
        const { done, value } = await this.#piece(reader, limit.signal);
        if (done || value === undefined) return;
        limit.extend();
        this.#take(lines.push(value));
      }
    } finally {
      cancel();
    }
  }

  async #piece(reader: ByteReader, signal: AbortSignal): ReturnType<ByteReader["read"]> {
    try {
      const piece = await reader.read();
      if (signal.aborted) throw abortReason(signal);
      return piece;
    } catch (cause) {
      if (signal.aborted) throw abortReason(signal);
      throw new WeftError("unavailable", `${this.#options.client.server}: the watch was cut off`, {
        object: this.#options.path,
        hint: "It goes on where it was, as soon as the server answers.",
        cause: tidy(cause),
      });
    }
  }

  /** The events of one piece, told as one batch, also when one of them ends the watch. */
  #take(events: Iterable<unknown>): void {
    const changes: RowChange<Row>[] = [];
    try {
      for (const event of events) {
        const change = this.#event(event);
        if (change !== undefined) changes.push(change);
      }
    } finally {
      if (changes.length > 0) this.#tell(changes, this.#version ?? "");
    }
  }

  #event(event: unknown): RowChange<Row> | undefined {
    const { type, object } = isMapping(event) ? event : {};
    if (type === "ERROR") {
      const { client, path } = this.#options;
      throw statusError(isMapping(object) ? object : {}, null, client.asked({ path }));
    }
    if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED" && type !== "BOOKMARK") {
      throw new WeftError("invalid", `an event of type ${JSON.stringify(type ?? null)}`, {
        hint: "Check that the address is a Kubernetes API server's.",
      });
    }
    if (type === "BOOKMARK") {
      const version = bookmarkOf(object);
      this.#advance(version);
      this.#held.complete(version);
      return undefined;
    }
    const known = asObject(object);
    const change = this.#held.apply(known, type === "DELETED");
    this.#advance(known.metadata.resourceVersion);
    return change;
  }

  /** Never back: an event that comes late is no reason to have all later ones again. */
  #advance(version: string): void {
    if (this.#version === undefined || !isOlder(version, this.#version)) this.#version = version;
  }

  #tell(changes: readonly RowChange<Row>[], version: string): void {
    const reset = this.#incomplete;
    if (!reset && changes.length === 0) return;
    this.#incomplete = true;
    try {
      this.#options.onChange({ reset, changes: reset ? this.#held.all() : changes, version });
    } catch (cause) {
      this.#version = undefined;
      throw new WeftError("internal", "the rows could not be taken over", {
        object: this.#options.path,
        hint: "Everything is listed and told again.",
        cause,
      });
    }
    this.#incomplete = false;
  }

  #fail(error: unknown): void {
    const isNews = this.#error === undefined || describeError(this.#error) !== describeError(error);
    this.#error = error;
    this.#awaySince ??= this.#clock.now();
    const expected = isTooOld(error) && this.#synced;
    if (isNews) {
      this.#logger.log(expected ? "info" : "warn", "watch interrupted", {
        path: this.#options.path,
        error: describeError(error),
        hint: hintOf(error),
      });
    }
    this.#enter("away", isNews);
  }

  #enter(state: WatchState, news = false): void {
    if (state === "watching") {
      if (this.#awaySince !== undefined) {
        this.#logger.info("watching again", {
          path: this.#options.path,
          away: this.#clock.now() - this.#awaySince,
        });
      }
      this.#awaySince = undefined;
      this.#error = undefined;
    }
    if (this.#state === state && !news) return;
    if (this.#state !== state) this.#since = this.#clock.now();
    this.#state = state;
    this.#options.onStatus?.();
  }
}

/** Nothing can go on from that version; 400 is what a server says of one that it cannot read. */
const isTooOld = (error: unknown): boolean =>
  hasCode(error, "overflow") || (error instanceof ApiError && error.status === 400);

const isUnknown = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

function bookmarkOf(object: unknown): string {
  const metadata = isMapping(object) && isMapping(object["metadata"]) ? object["metadata"] : {};
  const version = metadata["resourceVersion"];
  if (typeof version === "string" && version !== "") return version;
  throw new WeftError("invalid", "a bookmark without metadata.resourceVersion");
}
