/**
 * Leader election by a Lease (coordination.k8s.io/v1), with the protocol of client-go, so that both can take part in
 * one election.
 *
 * The holder writes renewTime again and again. Nobody compares it with a clock of its own: a contender notes
 * when it SAW the record change, and takes the lease when it then saw no change for leaseDuration. So clocks may be
 * apart by any amount, as long as they run at about the same speed. The API server decides between two who try at
 * once, by resourceVersion.
 *
 * A holder that could not renew for renewDeadline stops before anybody else may begin: renewDeadline must be less
 * than leaseDuration, and the difference is the time that its work has to come to an end.
 */
import {
  type Clock,
  describeError,
  hasCode,
  isExists,
  isNotFound,
  type Logger,
  silentLogger,
  systemClock,
  WeftError,
} from "@weft/base";
import { isMapping } from "../field.ts";
import { deadline, sleep } from "./abort.ts";
import { microTime } from "./events.ts";
import type { ApiClient } from "./http.ts";
import { type KubernetesObject, LEASES } from "./resource.ts";
import { createObject, getObject, updateObject } from "./write.ts";

export interface LeaderElectionOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Unique among the contenders: a pod's name and UID, for instance. */
  readonly identity: string;
  /**
   * Called when the lease is taken. The signal is aborted when it is lost or given up, and then the work must end
   * at once; the next campaign waits for the promise. When it rejects, the lease is given up: somebody else may do better.
   */
  readonly onStart: (signal: AbortSignal) => void | Promise<void>;
  /** After the work of `onStart` has ended. */
  readonly onStop?: () => void;
  /** Whenever another holder is seen, oneself included. */
  readonly onNewLeader?: (identity: string) => void;
  /** Ends the campaign; a lease that is held is released. */
  readonly signal: AbortSignal;
  /** Milliseconds: 15,000, 10,000 and 2,000 by default. */
  readonly leaseDuration?: number;
  readonly renewDeadline?: number;
  readonly retryPeriod?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly logger?: Logger;
}

/** How much of retryPeriod chance may add, so that contenders do not try at the same time. */
const JITTER = 1.2;

/** Takes part in an election until the signal ends it; then resolves. Throws "invalid" for times that cannot work. */
export async function runLeaderElection(options: LeaderElectionOptions): Promise<void> {
  const contender = new Contender(options);
  while (!options.signal.aborted) {
    if (await contender.acquire()) await contender.lead();
  }
}

interface LeaseRecord {
  readonly holder: string;
  /** Seconds. */
  readonly duration: number;
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly transitions: number;
}

class Contender {
  readonly #options: LeaderElectionOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #duration: number;
  readonly #renewDeadline: number;
  readonly #retryPeriod: number;
  #lease: KubernetesObject | undefined;
  #record: LeaseRecord | undefined;
  /** Monotonic time at which the record was last seen to change. */
  #observedAt = 0;
  /**
   * Monotonic time at which the last successful write BEGAN: others count from when they see it, which may be long
   * before its answer is here.
   */
  #renewedAt = 0;
  #leader = "";
  #complaint = "";

  constructor(options: LeaderElectionOptions) {
    const { leaseDuration = 15_000, renewDeadline = 10_000, retryPeriod = 2000, identity } = options;
    if (
      identity === "" ||
      retryPeriod <= 0 ||
      renewDeadline <= retryPeriod * JITTER ||
      leaseDuration <= renewDeadline
    ) {
      throw new WeftError("invalid", `election ${options.name}: these times or this identity cannot work`, {
        hint: `An identity, and leaseDuration > renewDeadline > ${JITTER} * retryPeriod > 0.`,
      });
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#duration = leaseDuration;
    this.#renewDeadline = renewDeadline;
    this.#retryPeriod = retryPeriod;
  }

  /** True when it holds the lease; false when the campaign ended. */
  async acquire(): Promise<boolean> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      // A request that hangs must not hold up the campaign for longer than a holder may.
      if (await this.#try(signal, this.#renewDeadline)) return true;
      await this.#pause(signal);
    }
    return false;
  }

  /** Works and renews until the lease is lost or given up. */
  async lead(): Promise<void> {
    const { onStart, onStop } = this.#options;
    const leading = new AbortController();
    const failed = new AbortController();
    const work = (async () => onStart(leading.signal))().catch((error: unknown) => {
      this.#logger.error("the work of a leader failed", { lease: this.#name, error: describeError(error) });
      failed.abort();
    });
    this.#logger.info("leading", { lease: this.#name });
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    await this.#renew(signal);
    leading.abort(
      signal.aborted
        ? new WeftError("unavailable", `${this.#name}: the campaign ended`)
        : new WeftError("conflict", `${this.#name}: the lease was lost`, {
            hint: "Stop: another one may lead.",
          }),
    );
    await work;
    this.#logger.info("leading no more", { lease: this.#name });
    if (signal.aborted) await this.#release();
    onStop?.();
    // Others come first, who wait for one period and a little.
    if (failed.signal.aborted)
      await sleep(this.#clock, 2 * this.#retryPeriod, this.#options.signal).catch(() => {});
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const left = (): number => this.#renewedAt + this.#renewDeadline - this.#clock.monotonic();
    while (!signal.aborted) {
      await this.#pause(signal, Math.max(0, left()));
      if (signal.aborted || left() <= 0) return;
      if (!(await this.#try(signal, left())) && this.#record?.holder !== this.#options.identity) return;
    }
  }

  #pause(signal: AbortSignal, most = Number.POSITIVE_INFINITY): Promise<void> {
    const { random = Math.random } = this.#options;
    const ms = Math.min(most, this.#retryPeriod * (1 + (JITTER - 1) * random()));
    return sleep(this.#clock, ms, signal).catch(() => {});
  }

  get #name(): string {
    return `${this.#options.namespace}/${this.#options.name}`;
  }

  /** One try to take or renew; false for whatever goes wrong within that many milliseconds. */
  async #try(signal: AbortSignal, ms: number): Promise<boolean> {
    const late = (): WeftError =>
      new WeftError("timeout", `${this.#name}: the API server did not answer in time`);
    const limit = deadline(this.#clock, ms, late, signal);
    const began = this.#clock.monotonic();
    try {
      const taken = await this.#takeOrRenew(limit.signal);
      if (taken) this.#renewedAt = began;
      this.#complaint = "";
      return taken;
    } catch (error) {
      // Somebody else changed it, or a write of ours came through whose answer did not: read it first.
      if (hasCode(error, "conflict") || isNotFound(error)) this.#lease = undefined;
      const text = describeError(error);
      if (!signal.aborted && text !== this.#complaint && !hasCode(error, "conflict")) {
        this.#logger.warn("lease not renewed or taken", { lease: this.#name, error: text });
        this.#complaint = text;
      }
      return false;
    } finally {
      limit.release();
    }
  }

  async #takeOrRenew(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    const now = microTime(this.#clock.now());
    const own = this.#record?.holder === identity;
    // A holder knows what it wrote last: no need to read it first.
    if (!own || this.#lease === undefined) {
      try {
        this.#observe(await getObject(client, LEASES, { namespace, name }, { signal }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
        this.#observe(await this.#create(now, signal));
        return this.#record?.holder === identity;
      }
    }
    const { holder, transitions, acquireTime, duration } = this.#record ?? EMPTY;
    const valid = this.#observedAt + duration * 1000 > this.#clock.monotonic();
    if (holder !== "" && holder !== identity && valid) return false;
    const next: LeaseRecord = {
      holder: identity,
      duration: Math.ceil(this.#duration / 1000),
      acquireTime: holder === identity ? acquireTime : now,
      renewTime: now,
      transitions: holder === identity ? transitions : transitions + 1,
    };
    this.#observe(await this.#write(next, signal));
    return true;
  }

  async #create(now: string, signal: AbortSignal): Promise<KubernetesObject> {
    const { client, namespace, name, identity } = this.#options;
    const record = {
      holder: identity,
      duration: Math.ceil(this.#duration / 1000),
      acquireTime: now,
      renewTime: now,
      transitions: 0,
    };
    const lease: KubernetesObject = { metadata: { name, namespace }, spec: specOf(record) };
    try {
      return await createObject(client, LEASES, lease, { signal });
    } catch (error) {
      if (!isExists(error)) throw error;
      return getObject(client, LEASES, { namespace, name }, { signal });
    }
  }

  #write(record: LeaseRecord, signal?: AbortSignal): Promise<KubernetesObject> {
    const lease = this.#lease as KubernetesObject;
    const former = isMapping(lease["spec"]) ? lease["spec"] : {};
    const options = signal === undefined ? { timeout: this.#retryPeriod } : { signal };
    return updateObject(
      this.#options.client,
      LEASES,
      { ...lease, spec: { ...former, ...specOf(record) } },
      options,
    );
  }

  #observe(lease: KubernetesObject): void {
    const record = recordOf(lease);
    if (!Bun.deepEquals(record, this.#record)) {
      this.#record = record;
      this.#observedAt = this.#clock.monotonic();
    }
    this.#lease = lease;
    if (record.holder === "" || record.holder === this.#leader) return;
    this.#leader = record.holder;
    this.#options.onNewLeader?.(record.holder);
  }

  /** So that the next one need not wait. What goes wrong only makes it wait. */
  async #release(): Promise<void> {
    const record = this.#record;
    if (record?.holder !== this.#options.identity || this.#lease === undefined) return;
    const now = microTime(this.#clock.now());
    try {
      await this.#write({ ...record, holder: "", duration: 1, renewTime: now, acquireTime: now });
    } catch (error) {
      this.#logger.warn("lease not released: it will run out", {
        lease: this.#name,
        error: describeError(error),
      });
    }
  }
}

const EMPTY: LeaseRecord = { holder: "", duration: 0, acquireTime: "", renewTime: "", transitions: 0 };

const specOf = ({
  holder,
  duration,
  acquireTime,
  renewTime,
  transitions,
}: LeaseRecord): Record<string, unknown> => ({
  holderIdentity: holder,
  leaseDurationSeconds: duration,
  acquireTime,
  renewTime,
  leaseTransitions: transitions,
});

/** Whatever is missing or malformed counts as not there: such a lease is free. */
function recordOf(lease: KubernetesObject): LeaseRecord {
  const spec = isMapping(lease["spec"]) ? lease["spec"] : {};
  const text = (name: string): string => (typeof spec[name] === "string" ? spec[name] : "");
  const number = (name: string): number => (typeof spec[name] === "number" ? spec[name] : 0);
  return {
    holder: text("holderIdentity"),
    duration: number("leaseDurationSeconds"),
    acquireTime: text("acquireTime"),
    renewTime: text("renewTime"),
    transitions: number("leaseTransitions"),
  };
}
