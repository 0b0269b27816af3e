/**
 * Attachments that nobody will delete any more, though their namespace stands: a runtime that crashed or lost its
 * state pins the namespaces of its sandboxes by bind mounts, and forgets them. Runtimes seldom call GC.
 *
 * The API alone does not tell: a pod that was deleted by force, while its kubelet was down, is gone from there and
 * runs on, and its address must not be given to another one. So an attachment is an orphan when, for a minute,
 *
 *   - its pod is gone from the API, or the same pod has a newer attachment of the same name, or is kept from one
 *     because this one holds its host ports, and
 *   - nothing of its sandbox lives. A sandbox's own process does, from its start, after ADD, to its end.
 *
 * Where nothing can be seen of the node's sandboxes (sight.ts), there are no orphans.
 */
import type { Clock } from "@weft/base";
import type { Workload } from "@weft/model";
import type { KnownPods } from "./known-pods.ts";
import { look, type Sight } from "./sight.ts";

const GRACE_MS = 60_000;

export interface OrphansOptions {
  readonly pods: KnownPods;
  readonly clock: Clock;
  readonly look?: () => Sight | undefined;
}

export class Orphans {
  readonly #o: OrphansOptions;
  /** Since when each of them has been without a pod, in monotonic milliseconds. */
  readonly #suspects = new Map<string, number>();
  readonly #superseded = new Set<string>();

  constructor(options: OrphansOptions) {
    this.#o = options;
  }

  /** An ADD of the same pod came, and found this one in its way. */
  supersede(id: string): void {
    this.#superseded.add(id);
  }

  /** Ids of those among a node's workloads that are orphans. To be asked again and again. */
  among(workloads: readonly Workload[]): ReadonlySet<string> {
    const now = this.#o.clock.monotonic();
    const newest = newestOf(workloads);
    const due: Workload[] = [];
    for (const w of workloads) {
      const isNewest = newest.get(slot(w)) === w && !this.#superseded.has(w.id);
      if (!this.#o.pods.isGone(w) && isNewest) this.#suspects.delete(w.id);
      else if (!this.#suspects.has(w.id)) this.#suspects.set(w.id, now);
      else if (now - (this.#suspects.get(w.id) as number) >= GRACE_MS) due.push(w);
    }
    this.#forget(workloads);
    if (due.length === 0) return new Set();
    const sight = (this.#o.look ?? look)();
    const orphans = due.filter((w) => {
      const other = newest.get(slot(w));
      return sight?.lives(w, other === w ? undefined : other) === false;
    });
    // Whatever still lives is looked at again after a while, not at every turn.
    for (const w of due) if (!orphans.includes(w)) this.#suspects.set(w.id, now);
    return new Set(orphans.map((w) => w.id));
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
