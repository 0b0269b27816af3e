/**
 * Kernel events into requests for repair. Events only say where to look: rows that may have changed are read
 * back and compared, a little later and many at a time, because our own writes cause events too. What causes no
 * event (the kernel drops IPv4 routes silently when a link goes down) follows from the event of its link; what
 * is still missed is found by the periodic comparison of the reconcilers.
 */

import type { Plan } from "@weft/apply";
import { type Clock, describeError, type Logger } from "@weft/base";
import { type Kernel, type KernelEvent, LINK_PREFIX } from "@weft/kernel/port";
import type { PlanKind, PlanRow } from "@weft/model";
import type { PodPlan } from "./pod-plan.ts";

/** How long events are gathered before anything is read, milliseconds. */
const GATHER_MS = 300;
/** Kinds whose rows hang on the node's own links. */
const NODE_KINDS: ReadonlySet<PlanKind> = new Set([
  "tunnel",
  "address",
  "neighbour",
  "forwarding",
  "route",
  "rule",
  "sysctl",
]);

export interface DriftWatchOptions {
  readonly kernel: Kernel;
  readonly plan: Plan;
  readonly pods: PodPlan;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Links or addresses that are not ours changed. */
  readonly onUnderlay: () => void;
  /** A pod's link changed or went: maybe its namespace did. */
  readonly onPodLink: () => void;
  /** False while drift is to be left alone. */
  readonly enabled: () => boolean;
}

export function watchDrift(o: DriftWatchOptions): () => void {
  const workloads = new Set<string>();
  let node = false;
  let everything = false;
  let podLinks = false;
  let underlay = false;
  let cancel: (() => void) | undefined;
  /** Workload by id of its namespace; undefined for namespaces that are none of ours. */
  let nsids = new Map<number, string | undefined>();

  const act = (): void => {
    cancel = undefined;
    if (underlay) o.onUnderlay();
    if (podLinks || everything) o.onPodLink();
    if (o.enabled()) {
      if (everything) o.plan.applier.requestRepair();
      else {
        if (node) for (const k of o.plan.kinds) if (NODE_KINDS.has(k.kind)) k.reconciler.requestRepair();
        const rows = [...workloads].flatMap((id): readonly PlanRow[] => o.pods.rows(id));
        if (rows.length > 0) {
          o.plan.applier.repair(o.plan.keys(rows)).catch((error: unknown) => {
            o.logger.warn("cannot compare a pod with the kernel", { error: describeError(error) });
          });
        }
      }
    }
    workloads.clear();
    node = everything = podLinks = underlay = false;
  };

  const workloadOfNsid = (nsid: number): string | undefined => {
    if (!nsids.has(nsid)) {
      nsids = new Map();
      for (const link of o.kernel.self.links()) {
        const id = link.peerNsid === undefined ? undefined : o.pods.byHostLink(link.name)?.id;
        if (id !== undefined && link.peerNsid !== undefined) nsids.set(link.peerNsid, id);
      }
      if (!nsids.has(nsid)) nsids.set(nsid, undefined);
    }
    return nsids.get(nsid);
  };

  const hear = (event: KernelEvent): void => {
    if (event.kind === "overflow") everything = underlay = true;
    else if (event.nsid !== undefined) {
      const id = workloadOfNsid(event.nsid);
      if (id === undefined) return;
      workloads.add(id);
    } else if (event.link === undefined || event.link.startsWith(`${LINK_PREFIX}-`)) node = true;
    else if (event.link.startsWith(LINK_PREFIX)) {
      const id = o.pods.byHostLink(event.link)?.id;
      if (id !== undefined) workloads.add(id);
      if (event.kind === "link") {
        // An id that was one namespace's can come to be another's, or to be ours.
        nsids = new Map();
        if (event.change === "gone") podLinks = true;
      }
    } else {
      node = true;
      if (event.kind === "link" || event.kind === "address") underlay = true;
    }
    cancel ??= o.clock.setTimeout(act, GATHER_MS);
  };

  const stop = o.kernel.watch(hear, { allNamespaces: true });
  return () => {
    stop();
    cancel?.();
  };
}
