/**
 * Attachments that nobody will delete any more, though their namespace stands: a runtime that crashed or lost its
 * state pins the namespaces of its sandboxes by bind mounts, and forgets them. Runtimes seldom call GC.
 *
 * The API alone does not tell: a pod that was deleted by force, while its kubelet was down, is gone from there and
 * runs on, and its address must not be given to another one. So an attachment is an orphan when, for a grace period
 * (settings: ipam.leakGrace),
 *
 *   - its pod is gone from the API, or the same pod has a newer attachment of the same name, or is kept from one
 *     because this one holds its host ports, and
 *   - nothing of its sandbox lives. A sandbox's own process does, from its start, after ADD, to its end.
 *
 * Where nothing can be seen of the node's sandboxes (sight.ts), there are no orphans. Time is that of the monotonic clock,
 * and an agent that starts anew gives everybody the whole grace again: a clock that jumps, or an agent that was away, makes
 * nobody an orphan.
 */
import type { Clock } from "@weft/base";
import type { Workload } from "@weft/model";
import type { KnownPods } from "../known-pods.ts";
import { look, type Sight } from "./sight.ts";

const GRACE_MS = 60_000;
/** What still lives is looked at again after that time, not at every turn. */
const LOOK_AGAIN_MS = 60_000;

export interface OrphansOptions {
  readonly pods: KnownPods;
  readonly clock: Clock;
  readonly look?: () => Sight | undefined;
  /** Milliseconds; a minute by default. */
  readonly grace?: () => number;
}

/** An attachment without a pod, or of a pod that has another one. */
export interface Suspect {
  readonly id: string;
  readonly code: "pod-gone" | "superseded";
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Milliseconds until it is looked at whether anything of it lives. */
  readonly left: number;
  /** What was seen when it was looked at last. */
  readonly seen: "nothing yet" | "lives" | "cannot see";
}

interface Suspicion {
  readonly code: Suspect["code"];
  readonly since: number;
  /** Monotonic. */
  readonly first: number;
  readonly looked: { readonly at: number; readonly seen: "lives" | "cannot see" } | undefined;
}

export class Orphans {
  readonly #o: OrphansOptions;
  readonly #suspects = new Map<string, Suspicion>();
  readonly #superseded = new Set<string>();

  constructor(options: OrphansOptions) {
    this.#o = options;
  }

  /** An ADD of the same pod came, and found this one in its way. */
  supersede(id: string): void {
    this.#superseded.add(id);
  }

  /** Those among a node's workloads that are orphans, and why. To be asked again and again. */
  among(workloads: readonly Workload[]): ReadonlyMap<string, Suspect["code"]> {
    const now = this.#o.clock.monotonic();
    const newest = newestOf(workloads);
    const due: Workload[] = [];
    for (const w of workloads) {
      const isNewest = newest.get(slot(w)) === w && !this.#superseded.has(w.id);
      const code = this.#o.pods.isGone(w) ? "pod-gone" : isNewest ? undefined : "superseded";
      const known = this.#suspects.get(w.id);
      if (code === undefined) this.#suspects.delete(w.id);
      else if (known === undefined)
        this.#suspects.set(w.id, { code, since: this.#o.clock.now(), first: now, looked: undefined });
      else if (now >= this.#dueAt(known)) due.push(w);
    }
    this.#forget(workloads);
    if (due.length === 0) return new Map();
    const sight = (this.#o.look ?? look)();
    const orphans = new Map<string, Suspect["code"]>();
    for (const w of due) {
      const other = newest.get(slot(w));
      const suspicion = this.#suspects.get(w.id) as Suspicion;
      const lives = sight?.lives(w, other === w ? undefined : other);
      if (lives === false) orphans.set(w.id, suspicion.code);
      else {
        const seen = lives === true ? "lives" : "cannot see";
        this.#suspects.set(w.id, { ...suspicion, looked: { at: now, seen } });
      }
    }
    return orphans;
  }

  /** Everybody who is an orphan, or may become one. */
  suspects(): Suspect[] {
    const now = this.#o.clock.monotonic();
    return [...this.#suspects].map(([id, suspicion]) => ({
      id,
      code: suspicion.code,
      since: suspicion.since,
      left: Math.max(0, this.#dueAt(suspicion) - now),
      seen: suspicion.looked?.seen ?? "nothing yet",
    }));
  }

  #dueAt({ first, looked }: Suspicion): number {
    return looked === undefined ? first + (this.#o.grace?.() ?? GRACE_MS) : looked.at + LOOK_AGAIN_MS;
  }

  #forget(workloads: readonly Workload[]): void {
    const ids = new Set(workloads.map((w) => w.id));
    for (const kept of [this.#suspects, this.#superseded])
      for (const id of kept.keys()) if (!ids.has(id)) kept.delete(id);
  }
}

/** An interface that a pod has once: two attachments of it are an old and a new sandbox. */
const slot = (w: Workload): string =>
  w.podUid === undefined ? w.id : `${w.podUid} ${w.network} ${w.interface}`;

function newestOf(workloads: readonly Workload[]): ReadonlyMap<string, Workload> {
  const newest = new Map<string, Workload>();
  for (const w of workloads) {
    const other = newest.get(slot(w));
    if (other === undefined || other.since <= w.since) newest.set(slot(w), w);
  }
  return newest;
}
