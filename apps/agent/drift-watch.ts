/**
 * Kernel events into requests for repair. Events only say where to look: rows that may have changed are read
 * back and compared, a little later and many at a time, because our own writes cause events too. What causes no
 * event (the kernel drops IPv4 routes silently when a link goes down) follows from the event of its link; what
 * is still missed is found by the periodic comparison of the reconcilers.
 */

import { NFT_TABLE, type Plan, SERVICES_TABLE } from "@weft/apply";
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
/** Tables of this plan: "weft", and one "weft-..." for each thing that has one of its own. Services have a plan of theirs. */
const isOurs = (table: string): boolean =>
  table === NFT_TABLE || (table.startsWith(`${NFT_TABLE}-`) && table !== SERVICES_TABLE);
/** All others but the pairs of pods are in nftables. */
const isInNftables = (kind: PlanKind): boolean => !NODE_KINDS.has(kind) && kind !== "attachment";
/**
 * What an event of the node says nothing about is not compared: among a thousand nodes each comparison is of thousands
 * of rows, and somebody's own routes may change many times a second.
 */
const TOUCHED: Readonly<Record<"route" | "neighbour", ReadonlySet<PlanKind>>> = {
  route: new Set(["route"]),
  neighbour: new Set(["neighbour", "forwarding"]),
};

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
  /** Pods' links, by the node's end, and ids of other namespaces, that something changed about. */
  const links = new Set<string>();
  const namespaces = new Set<number>();
  const kinds = new Set<PlanKind>();
  let everything = false;
  let podLinks = false;
  let underlay = false;
  let cancel: (() => void) | undefined;

  const act = (): void => {
    cancel = undefined;
    if (underlay) o.onUnderlay();
    if (podLinks || everything) o.onPodLink();
    if (o.enabled()) {
      if (everything) o.plan.applier.requestRepair();
      else {
        for (const k of o.plan.kinds) if (kinds.has(k.kind)) k.reconciler.requestRepair();
        repair(touchedRows());
      }
    }
    links.clear();
    namespaces.clear();
    kinds.clear();
    everything = podLinks = underlay = false;
  };

  /** Rows of the workloads whose link, or whose namespace, something changed about. */
  const touchedRows = (): PlanRow[] => {
    if (namespaces.size > 0) {
      // Looked up now and not remembered: an id that was one namespace's comes to be another's.
      for (const link of o.kernel.self.links())
        if (link.peerNsid !== undefined && namespaces.has(link.peerNsid)) links.add(link.name);
    }
    if (links.size === 0) return [];
    return o.pods.workloads().flatMap((w) => (links.has(w.hostLink) ? o.pods.rows(w.id) : []));
  };

  const repair = (rows: readonly PlanRow[]): void => {
    if (rows.length === 0) return;
    o.plan.applier.repair(o.plan.keys(rows)).catch((error: unknown) => {
      o.logger.warn("cannot compare a pod with the kernel", { error: describeError(error) });
    });
  };

  const touch = (touched: Iterable<PlanKind>): void => {
    for (const kind of touched) kinds.add(kind);
  };

  /** False when nothing of ours can follow from the event. */
  const note = (event: KernelEvent): boolean => {
    if (event.kind === "overflow") everything = underlay = true;
    else if (event.kind === "nftables") {
      if (event.table !== undefined && !isOurs(event.table)) return false;
      touch(o.plan.kinds.map((k) => k.kind).filter(isInNftables));
    } else if (event.nsid !== undefined) namespaces.add(event.nsid);
    else if (event.link?.startsWith(LINK_PREFIX) && !event.link.startsWith(`${LINK_PREFIX}-`)) {
      links.add(event.link);
      // One that a DEL took has left the plan before.
      if (event.kind === "link" && event.change === "gone" && o.pods.hasLink(event.link)) podLinks = true;
    } else {
      const isOwn = event.link === undefined || event.link.startsWith(LINK_PREFIX);
      // Of other nodes and of the fabric, found and lost all the time.
      if (event.kind === "neighbour" && !isOwn) return false;
      touch(event.kind === "route" || event.kind === "neighbour" ? TOUCHED[event.kind] : NODE_KINDS);
      if (!isOwn && event.kind !== "route") underlay = true;
    }
    return true;
  };

  const hear = (event: KernelEvent): void => {
    if (note(event)) cancel ??= o.clock.setTimeout(act, GATHER_MS);
  };

  const stop = o.kernel.watch(hear, { allNamespaces: true });
  return () => {
    stop();
    cancel?.();
  };
}
