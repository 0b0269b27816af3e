/**
 * Removes stale flows (stale.ts) after the kernel has the frontends' new elements: before, a packet of the client would
 * make the same flow again.
 *
 *     reconciler --changed(before, after)--> pending, by match --a moment later--> staleFlows --> Conntrack.flush
 *                                                ^                                                   |
 *                                                +--------------- again, with what changed since ---- failed
 *
 * However many frontends change in one moment, the kernel's table is walked a few times. What is tried again is worked
 * out again: a backend that came back meanwhile has no stale flows. Nothing here throws.
 */
import { backoffDelay, type Clock, describeError, hintOf, isInvalid, type Logger } from "@weft/base";
import { type Conntrack, IP_PROTOCOL } from "@weft/kernel/port";
import type { Backend, FrontendMatch, FrontendRow } from "@weft/model";
import { backendKey, backendsOf, type FlowContext, type Frontend, staleFlows } from "./stale.ts";
import { strayFlows } from "./stray.ts";

export interface FlowCleanerOptions {
  readonly conntrack: Pick<Conntrack, "flush" | "list" | "remove">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The rows of a match that are wanted now. */
  readonly frontend: (match: FrontendMatch) => Frontend;
  readonly context: () => FlowContext;
  /** Milliseconds that changes are gathered for. Default 20. */
  readonly gatherMs?: number;
}

export interface FlowCleaner {
  /** One row became another in the kernel: undefined where there was none, or is none any more. */
  changed(before: FrontendRow | undefined, after: FrontendRow | undefined): void;
  /** Some backend may not be draining any more. */
  drained(): void;
  /** Looks through all flows of UDP and SCTP (of TCP, if connections are reset) for what no change has told of. */
  sweep(frontends: Iterable<FrontendRow>): Promise<void>;
  /** Resolves when nothing is pending. */
  idle(): Promise<void>;
  readonly statistics: FlowStatistics;
  /** Forgets what is pending. */
  close(): void;
}

export interface FlowStatistics {
  /** Flows removed so far. */
  readonly removed: number;
  /** Failures in a row, and the last one's words. */
  readonly failures: number;
  readonly error: string | undefined;
  /** Frontends with changes that are still to be looked at, and those that wait for a backend to drain. */
  readonly pending: number;
  readonly draining: number;
}

/** What has become of the rows of one match since the flows were last right. */
interface Change {
  readonly match: FrontendMatch;
  before: Frontend;
  /** Rows that changes told of; the others are as the plan has them. */
  after: Partial<Frontend>;
  interrupted: boolean;
}

const GATHER_MS = 20;
const RETRY = { first: 100, cap: 10_000 };

const matchKey = ({ family, address, protocol, port }: FrontendMatch): string =>
  `${family} ${address} ${protocol} ${port}`;

export function createFlowCleaner(options: FlowCleanerOptions): FlowCleaner {
  return new Cleaner(options);
}

class Cleaner implements FlowCleaner {
  readonly #o: FlowCleanerOptions;
  #pending = new Map<string, Change>();
  readonly #draining = new Map<string, Change>();
  #cancel: (() => void) | undefined;
  #running = false;
  #closed = false;
  #removed = 0;
  #failures = 0;
  #error: string | undefined;
  #waiting: (() => void)[] = [];

  constructor(options: FlowCleanerOptions) {
    this.#o = options;
  }

  get statistics(): FlowStatistics {
    return {
      removed: this.#removed,
      failures: this.#failures,
      error: this.#error,
      pending: this.#pending.size,
      draining: this.#draining.size,
    };
  }

  changed(before: FrontendRow | undefined, after: FrontendRow | undefined): void {
    const row = after ?? before;
    if (row === undefined || this.#closed) return;
    const { match, scope } = row;
    const key = matchKey(match);
    let change = this.#pending.get(key);
    if (change === undefined) {
      change = { match, before: this.#o.frontend(match), after: {}, interrupted: false };
      this.#pending.set(key, change);
    }
    if (!(scope in change.after)) change.before = { ...change.before, [scope]: before };
    change.after = { ...change.after, [scope]: after };
    if (backendsOf(before).length === 0 || backendsOf(after).length === 0) change.interrupted = true;
    this.#schedule(
      this.#failures === 0 ? (this.#o.gatherMs ?? GATHER_MS) : backoffDelay(this.#failures, RETRY),
    );
  }

  drained(): void {
    if (this.#draining.size === 0 || this.#closed) return;
    for (const [key, change] of this.#draining)
      this.#pending.set(key, merged(change, this.#pending.get(key)));
    this.#draining.clear();
    this.#schedule(this.#o.gatherMs ?? GATHER_MS);
  }

  async sweep(rows: Iterable<FrontendRow>): Promise<void> {
    try {
      const context = this.#o.context();
      const matches = new Map([...rows].map(({ match }) => [matchKey(match), match]));
      const frontends = [...matches.values()].map((match) => ({ match, frontend: this.#o.frontend(match) }));
      const protocols = new Set(
        [...matches.values()]
          .filter((m) => m.protocol !== "tcp" || context.resetConnections)
          .map((m) => m.protocol),
      );
      for (const protocol of protocols) {
        for (const family of [4, 6] as const) {
          const flows = await this.#o.conntrack.list({ family, protocol: IP_PROTOCOL[protocol] });
          const removed = await this.#o.conntrack.remove(strayFlows(flows, frontends, context));
          this.#removed += removed;
          if (removed > 0)
            this.#o.logger.info("removed stale flows of before", { protocol, family, removed });
        }
      }
    } catch (error) {
      this.#o.logger.warn("stale flows of before were not looked for", { error: describeError(error) });
    }
  }

  idle(): Promise<void> {
    if (this.#pending.size === 0 && !this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#pending.clear();
    this.#draining.clear();
    this.#settle();
  }

  #schedule(ms: number): void {
    if (this.#cancel !== undefined || this.#running || this.#closed) return;
    this.#cancel = this.#o.clock.setTimeout(() => {
      this.#cancel = undefined;
      void this.#run();
    }, ms);
  }

  async #run(): Promise<void> {
    const changes = this.#pending;
    this.#pending = new Map();
    this.#running = true;
    try {
      const context = this.#o.context();
      const filters = [...changes.values()].flatMap((change) =>
        staleFlows(change.match, change.before, this.#afterOf(change), context, change.interrupted),
      );
      const counts = filters.length === 0 ? [] : await this.#o.conntrack.flush(filters);
      this.#succeeded(
        counts.reduce((sum, n) => sum + n, 0),
        filters.length,
      );
      for (const [key, change] of changes) this.#waitForDraining(key, change, context);
    } catch (error) {
      this.#failed(error, changes);
    } finally {
      this.#running = false;
    }
    if (this.#pending.size > 0)
      this.#schedule(
        this.#failures === 0 ? (this.#o.gatherMs ?? GATHER_MS) : backoffDelay(this.#failures, RETRY),
      );
    else this.#settle();
  }

  #succeeded(removed: number, filters: number): void {
    this.#removed += removed;
    if (this.#failures > 0) this.#o.logger.info("stale flows are removed again", { after: this.#failures });
    this.#failures = 0;
    this.#error = undefined;
    if (removed > 0) this.#o.logger.debug("removed stale flows", { removed, filters });
  }

  #failed(error: unknown, changes: ReadonlyMap<string, Change>): void {
    const former = this.#error;
    this.#error = describeError(error);
    if (isInvalid(error)) {
      // Another try would ask the same.
      this.#o.logger.error("stale flows stay until they time out", { error: this.#error });
      return;
    }
    this.#failures++;
    if (this.#error !== former)
      this.#o.logger.warn("stale flows were not removed, and are tried again", {
        error: this.#error,
        hint: hintOf(error),
      });
    if (this.#closed) return;
    for (const [key, change] of changes) this.#pending.set(key, merged(change, this.#pending.get(key)));
  }

  #afterOf({ match, after }: Change): Frontend {
    return { ...this.#o.frontend(match), ...after };
  }

  /** Keeps what draining backends had, for when they are done. */
  #waitForDraining(key: string, change: Change, { draining }: FlowContext): void {
    if (draining === undefined || this.#closed) return;
    const after = this.#afterOf(change);
    const kept = (scope: keyof Frontend): FrontendRow | undefined => {
      const row = change.before[scope];
      const now = new Set(backendsOf(after[scope]).map(backendKey));
      const backends = backendsOf(row).filter(
        (b) => !now.has(backendKey(b)) && row !== undefined && draining(row, b),
      );
      return row === undefined || backends.length === 0 ? undefined : { ...row, backends };
    };
    const before = { any: kept("any"), outside: kept("outside") };
    if (before.any === undefined && before.outside === undefined) return;
    this.#draining.set(key, {
      match: change.match,
      before: united(this.#draining.get(key)?.before, before),
      after: {},
      interrupted: false,
    });
  }

  #settle(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** An older change, and what has come since. */
const merged = (older: Change, newer: Change | undefined): Change =>
  newer === undefined
    ? older
    : {
        match: older.match,
        before: united(older.before, newer.before),
        after: { ...older.after, ...newer.after },
        interrupted: older.interrupted || newer.interrupted,
      };

/** Rows with the backends of both. */
function united(older: Frontend | undefined, newer: Frontend): Frontend {
  const both = (a: FrontendRow | undefined, b: FrontendRow | undefined): FrontendRow | undefined => {
    if (a === undefined || b === undefined) return a ?? b;
    const backends = new Map<string, Backend>(
      [...backendsOf(a), ...backendsOf(b)].map((x) => [backendKey(x), x]),
    );
    return backends.size === 0 ? a : { ...a, action: "balance", backends: [...backends.values()] };
  };
  return { any: both(older?.any, newer.any), outside: both(older?.outside, newer.outside) };
}
