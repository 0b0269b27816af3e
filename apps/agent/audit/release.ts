/**
 * Freeing an address by hand: `weft ipam release`. Who holds it loses its network, so that is refused while anything of the
 * holder may live, unless it is forced.
 */
import { isIp, parseIp } from "@weft/base";
import type { Ledger, LedgerEntry } from "@weft/ipam";
import type { AddressOrigin, LeakCode, Workload } from "@weft/model";
import type { KnownPods } from "../known-pods.ts";
import type { ReleaseRequest } from "../requests.ts";
import { look, type Sight } from "./sight.ts";
import { objectOf, originOfWorkload } from "./words.ts";

export interface ReleaseSources {
  readonly node: string;
  readonly ledger: Ledger;
  readonly known: KnownPods;
  readonly namespaceStands: (workload: Workload) => boolean;
  readonly reclaim: (id: string, code: LeakCode) => Promise<boolean>;
  readonly now: () => number;
  /** Milliseconds: an attachment that is younger may have a sandbox that is only being started. */
  readonly grace: number;
  readonly look?: () => Sight | undefined;
}

export interface ReleaseAnswer {
  readonly node: string;
  readonly released: readonly {
    readonly id: string;
    readonly addresses: readonly string[];
    readonly origin: AddressOrigin;
  }[];
  /** Who has it, and why it stays. */
  readonly refused: readonly {
    readonly id: string | undefined;
    readonly addresses: readonly string[];
    readonly origin: AddressOrigin | undefined;
    readonly why: string;
  }[];
}

/** Digits of a container's id that are enough. */
const LEAST_ID = 8;

/** Neither released nor refused: this node has no such thing. */
export async function release(
  { what, force }: ReleaseRequest,
  sources: ReleaseSources,
): Promise<ReleaseAnswer> {
  const { node, ledger } = sources;
  const entries = meant(what, ledger.workloads());
  const released: ReleaseAnswer["released"][number][] = [];
  const refused: ReleaseAnswer["refused"][number][] = [];
  const held = isIp(what) ? ledger.pools.held().find((h) => h.address === parseIp(what)) : undefined;
  if (held !== undefined) {
    const whom = held.pod === undefined ? "" : ` for pod ${held.pod}`;
    refused.push({
      id: undefined,
      addresses: [held.address],
      origin: undefined,
      why:
        held.loan === undefined
          ? `it is the end of the tunnels of node ${held.node}`
          : `it is on loan to node ${held.node}${whom}: release it there, and it comes back by itself`,
    });
  }
  for (const { workload } of entries) {
    const about = {
      id: workload.id,
      addresses: workload.addresses,
      origin: originOfWorkload(workload, node),
    };
    const why = force ? undefined : whyItStays(workload, entries, sources);
    if (why !== undefined) refused.push({ ...about, why });
    else if (await sources.reclaim(workload.id, "released")) released.push(about);
  }
  return { node, released, refused };
}

/** An address, namespace/pod, an attachment's id, or a container's id or its beginning. */
function meant(what: string, entries: readonly LedgerEntry[]): readonly LedgerEntry[] {
  if (isIp(what)) return entries.filter((e) => e.workload.addresses.includes(parseIp(what)));
  const exact = entries.filter(
    ({ workload: w }) =>
      w.id === what ||
      w.containerId === what ||
      (w.podName !== undefined && `${w.podNamespace ?? "default"}/${w.podName}` === what),
  );
  if (exact.length > 0 || what.length < LEAST_ID) return exact;
  const begun = entries.filter((e) => e.workload.containerId.startsWith(what));
  return new Set(begun.map((e) => e.workload.containerId)).size === 1 ? begun : [];
}

function whyItStays(
  workload: Workload,
  entries: readonly LedgerEntry[],
  { known, namespaceStands, now, grace, look: see = look }: ReleaseSources,
): string | undefined {
  if (!namespaceStands(workload)) return undefined;
  const who = objectOf(workload);
  const newer = entries
    .map((e) => e.workload)
    .find((w) => w.podUid !== undefined && w.podUid === workload.podUid && w.since > workload.since);
  const lives = see()?.lives(workload, newer);
  if (lives === true) return `${who} has it, and processes of its sandbox live`;
  if (lives === undefined)
    return `${who} has it, and this agent cannot see whether anything of its sandbox lives`;
  if (known.current && newer === undefined && !known.isGone(workload) && workload.podName !== undefined)
    return `${who} has it, and the API server has that pod: its sandbox may be starting`;
  const age = now() - workload.since;
  return age >= 0 && age < grace
    ? `${who} has had it for ${Math.round(age / 1000)} s only: its sandbox may be starting`
    : undefined;
}
