/**
 * Events about objects, for whoever looks at them with kubectl (events.k8s.io/v1).
 *
 * Repetitions within ten minutes become a series: one Event object whose count grows, written at most every half
 * minute. Of one object at most 25 events come at once, and one more every five minutes, so that something that
 * fails in a loop does not fill the cluster's store. Nobody ever waits for an event: what cannot be written is
 * dropped and counted.
 */
import { type Clock, describeError, hasCode, type Logger, silentLogger, systemClock } from "@weft/base";
import { sleep } from "./abort.ts";
import type { ApiClient } from "./http.ts";
import { EVENTS, type KubernetesObject } from "./resource.ts";
import { TokenBucket } from "./token-bucket.ts";
import { createObject, patchObject } from "./write.ts";

/** What an event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Undefined for what has no namespace; its events are in "default". */
  readonly namespace?: string;
  readonly uid?: string;
}

export interface EventInput {
  readonly regarding: ObjectReference;
  /** What it has to do with besides. Events that differ in it are no repetitions of each other. */
  readonly related?: ObjectReference;
  readonly type: "Normal" | "Warning";
  /** Why, one word in CamelCase: "AddressesExhausted". At most 128 characters. */
  readonly reason: string;
  /** What was done or tried, one word in CamelCase: "Allocating". At most 128 characters. */
  readonly action: string;
  /** For humans; cut at 1024 bytes. */
  readonly note: string;
}

export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** "weft.network/agent" */
  readonly controller: string;
  /** Name of the node or pod: at most 128 characters. */
  readonly instance: string;
  /** Events with another note are others; by default the note does not count, and the first of a series stays. */
  readonly byNote?: boolean;
  /** Milliseconds that the first event after a rest waits for others, 0 by default: events are never urgent. */
  readonly gather?: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

export interface EventRecorder {
  /** Returns at once. */
  record(event: EventInput): void;
  /** Events that were not written, because there were too many or the server did not take them. */
  readonly dropped: number;
  /** Writes what is left, five seconds long at most, and ends. */
  stop(): Promise<void>;
}

const SERIES_WINDOW = 10 * 60_000;
const SERIES_WRITE_INTERVAL = 30_000;
const PER_OBJECT = { burst: 25, qps: 1 / 300 };
/** Series that are remembered; the ones idle for longest go first. */
const MAX_SERIES = 1000;
const STOP_TIME = 5000;

interface Series {
  readonly input: EventInput;
  readonly name: string;
  readonly first: number;
  count: number;
  last: number;
  /** Count that the server knows; 0 before the event is created. */
  written: number;
  /** Monotonic time of the last write. */
  writtenAt: number;
}

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new Recorder(options);
}

class Recorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** In order of their last event. */
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #stopping = new AbortController();
  #worker: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #dropped = 0;
  #stopped = false;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
  }

  get dropped(): number {
    return this.#dropped;
  }

  record(input: EventInput): void {
    if (this.#stopped) {
      this.#dropped++;
      return;
    }
    const now = this.#clock.now();
    const key = this.#keyOf(input);
    const known = this.#series.get(key);
    if (known !== undefined && now - known.last < SERIES_WINDOW) {
      known.count++;
      known.last = now;
      this.#series.delete(key);
      this.#series.set(key, known);
    } else {
      if (!this.#bucketOf(input.regarding).tryTake()) {
        this.#dropped++;
        return;
      }
      this.#makeRoom();
      const name = `${input.regarding.name.slice(0, 200)}.${Bun.randomUUIDv7().replaceAll("-", "").slice(0, 16)}`;
      this.#series.set(key, { input, name, first: now, count: 1, last: now, written: 0, writtenAt: 0 });
    }
    this.#worker ??= this.#work();
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const cancel = this.#clock.setTimeout(() => this.#stopping.abort(), STOP_TIME);
    this.#wake?.();
    await this.#worker;
    cancel();
    for (const series of this.#series.values()) this.#dropped += series.count - series.written;
    this.#series.clear();
  }

  /** One write after the other; ends when there is nothing to write, now or later. */
  async #work(): Promise<void> {
    const { gather = 0 } = this.#options;
    if (gather > 0 && !this.#stopped) await this.#idle(gather, false);
    for (;;) {
      const next = this.#next();
      if (next === undefined || this.#stopping.signal.aborted) break;
      if (next.wait > 0) await this.#idle(next.wait);
      else await this.#write(next.series);
    }
    this.#worker = undefined;
  }

  /** The series to write next, and how long that may wait, in milliseconds. */
  #next(): { series: Series; wait: number } | undefined {
    const now = this.#clock.monotonic();
    let best: { series: Series; wait: number } | undefined;
    for (const series of this.#series.values()) {
      if (series.count === series.written) continue;
      const soonest = series.written < 2 ? 0 : series.writtenAt + SERIES_WRITE_INTERVAL - now;
      const wait = this.#stopped ? 0 : Math.max(0, soonest);
      if (best === undefined || wait < best.wait) best = { series, wait };
    }
    return best;
  }

  /** Until that time is over, or the recorder is stopped, or something new came, if that is to count. */
  async #idle(ms: number, byNews = true): Promise<void> {
    const waking = new AbortController();
    this.#wake = () => {
      if (byNews || this.#stopped) waking.abort(new Error("woken"));
    };
    await sleep(this.#clock, ms, waking.signal).catch(() => {});
    this.#wake = undefined;
  }

  async #write(series: Series): Promise<void> {
    const { client } = this.#options;
    const { count, last, name, input } = series;
    const namespace = input.regarding.namespace ?? "default";
    const signal = this.#stopping.signal;
    try {
      if (series.written === 0)
        await createObject(client, EVENTS, this.#object(series, namespace), { signal });
      if (count > 1) {
        const patch = { series: { count, lastObservedTime: microTime(last) } };
        await patchObject(client, EVENTS, { namespace, name }, "merge", patch, { signal });
      }
      series.written = count;
    } catch (error) {
      this.#lost(series, count, error);
    }
    series.writtenAt = this.#clock.monotonic();
  }

  #lost(series: Series, count: number, error: unknown): void {
    this.#dropped += count - series.written;
    // An event that the server has removed, after an hour by default, begins anew; so does one it never took.
    if (series.written === 0 || hasCode(error, "not-found")) this.#series.delete(this.#keyOf(series.input));
    series.written = count;
    this.#logger.warn("an event was not written", {
      about: `${series.input.regarding.kind} ${series.input.regarding.name}`,
      reason: series.input.reason,
      error: describeError(error),
    });
  }

  #object({ input, name, first }: Series, namespace: string): KubernetesObject {
    const { controller, instance } = this.#options;
    return {
      metadata: { name, namespace },
      eventTime: microTime(first),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      action: input.action,
      reason: input.reason,
      regarding: { ...input.regarding },
      ...(input.related === undefined ? {} : { related: { ...input.related } }),
      note: cutBytes(input.note, 1024),
      type: input.type,
    };
  }

  #keyOf(input: EventInput): string {
    const key = seriesKey(input);
    return this.#options.byNote === true ? `${key}\n${input.note}` : key;
  }

  #bucketOf(about: ObjectReference): TokenBucket {
    const key = referenceKey(about);
    for (const [other, bucket] of this.#buckets) if (bucket.full) this.#buckets.delete(other);
    const bucket = this.#buckets.get(key) ?? new TokenBucket(PER_OBJECT, this.#clock);
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #makeRoom(): void {
    for (const [key, series] of this.#series) {
      const over = this.#clock.now() - series.last >= SERIES_WINDOW && series.count === series.written;
      if (!over && this.#series.size < MAX_SERIES) break;
      this.#dropped += series.count - series.written;
      this.#series.delete(key);
    }
  }
}

const referenceKey = ({ apiVersion, kind, namespace = "", name, uid = "" }: ObjectReference): string =>
  [apiVersion, kind, namespace, name, uid].join("\n");

/** What makes two events the same. The note is left out, unless asked for: it often has a number or an address in it. */
const seriesKey = ({ regarding, related, type, reason, action }: EventInput): string =>
  [referenceKey(regarding), related === undefined ? "" : referenceKey(related), type, reason, action].join(
    "\n",
  );

/** MicroTime, as the API writes it. */
export const microTime = (ms: number): string => new Date(ms).toISOString().replace(/Z$/, "000Z");

/** Whole characters of at most that many bytes. */
function cutBytes(text: string, most: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return text;
  return `${new TextDecoder().decode(bytes.subarray(0, most - 3)).replace(/\uFFFD$/, "")}...`;
}
