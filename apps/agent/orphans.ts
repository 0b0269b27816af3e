/**
 * Attachments that nobody will delete any more, though their namespace stands: a runtime that crashed or lost its
 * state pins the namespaces of its sandboxes by bind mounts, and forgets them. Runtimes seldom call GC.
 *
 * The API alone does not tell: a pod that was deleted by force, while its kubelet was down, is gone from there and
 * runs on, and its address must not be given to another one. So an attachment is an orphan when, for a minute,
 *
 *   - its pod is gone from the API, or the same pod has a newer attachment of the same name, and
 *   - no process is in its namespace. A sandbox's own process is, from its start, after ADD, to its end.
 *
 * Processes must be visible for that: an agent with a PID namespace of its own, which sees no runtime and no
 * kubelet, or one without CAP_SYS_PTRACE, finds no orphans.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import type { Clock } from "@weft/base";
import type { Workload } from "@weft/model";
import type { KnownPods } from "./known-pods.ts";

const GRACE_MS = 60_000;
/** As /proc/PID/comm has them: 15 characters. */
const RUNTIMES = /^(containerd(-shim.*)?|crio|conmon|dockerd|kubelet)$/;

export interface OrphansOptions {
  readonly pods: KnownPods;
  readonly clock: Clock;
  /** The namespaces that processes are in, each as `namespaceOf` gives it; undefined when that cannot be seen. */
  readonly occupied?: () => ReadonlySet<string> | undefined;
}

export class Orphans {
  readonly #o: OrphansOptions;
  /** Since when each of them has been without a pod, in monotonic milliseconds. */
  readonly #suspects = new Map<string, number>();

  constructor(options: OrphansOptions) {
    this.#o = options;
  }

  /** Ids of those among a node's workloads that are orphans. To be asked again and again. */
  among(workloads: readonly Workload[]): ReadonlySet<string> {
    const now = this.#o.clock.monotonic();
    const newest = newestOf(workloads);
    const due: Workload[] = [];
    for (const w of workloads) {
      if (!this.#o.pods.isGone(w) && newest.get(slot(w)) === w) this.#suspects.delete(w.id);
      else if (!this.#suspects.has(w.id)) this.#suspects.set(w.id, now);
      else if (now - (this.#suspects.get(w.id) as number) >= GRACE_MS) due.push(w);
    }
    this.#forget(workloads);
    if (due.length === 0) return new Set();
    const occupied = (this.#o.occupied ?? occupiedNamespaces)();
    const orphans = due.filter((w) => {
      const namespace = namespaceOf(w.namespacePath);
      return occupied !== undefined && namespace !== undefined && !occupied.has(namespace);
    });
    // Whatever still lives is looked at again after a while, not at every turn.
    for (const w of due) if (!orphans.includes(w)) this.#suspects.set(w.id, now);
    return new Set(orphans.map((w) => w.id));
  }

  #forget(workloads: readonly Workload[]): void {
    const ids = new Set(workloads.map((w) => w.id));
    for (const id of this.#suspects.keys()) if (!ids.has(id)) this.#suspects.delete(id);
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

/** Device and inode; undefined when the path cannot be looked at. */
function namespaceOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** Of all processes; undefined when one of them hides its own, or no runtime is among them: then most are hidden. */
export function occupiedNamespaces(): ReadonlySet<string> | undefined {
  const occupied = new Set<string>();
  let sighted = false;
  for (const entry of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      sighted ||= RUNTIMES.test(readFileSync(`/proc/${entry}/comm`, "utf8").trimEnd());
      const namespace = namespaceOf(`/proc/${entry}/ns/net`);
      if (namespace !== undefined) occupied.add(namespace);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // It may have ended while it was looked at. What may not be looked at could be in any namespace.
      if (code !== "ENOENT" && code !== "ESRCH") return undefined;
    }
  }
  return sighted ? occupied : undefined;
}
