/**
 * How many pods each ReplicaSet of a Deployment is to have now (Kubernetes documentation, "Deployments": "Rolling Update
 * Deployment", "Proportional scaling"). Pure: counts in, counts out.
 */
import { type DeploymentObject, type ReplicaSetObject, timeOf } from "./objects.ts";
import { byAge } from "./template.ts";

export const DESIRED = "deployment.kubernetes.io/desired-replicas";
export const MAXIMUM = "deployment.kubernetes.io/max-replicas";

/** Name of a ReplicaSet to the replicas that it should have: those that change. */
export type Counts = ReadonlyMap<string, number>;

export const wantedOf = ({ spec }: DeploymentObject): number => spec.replicas ?? 1;
export const isRolling = ({ spec }: DeploymentObject): boolean => spec.strategy?.type !== "Recreate";
export const replicasOf = (set: ReplicaSetObject | undefined): number => set?.spec.replicas ?? 0;
const availableOf = (set: ReplicaSetObject | undefined): number => set?.status?.availableReplicas ?? 0;
const total = (sets: readonly ReplicaSetObject[], count: (set: ReplicaSetObject) => number): number =>
  sets.reduce((sum, set) => sum + count(set), 0);

/** Pods beyond what is wanted, and pods that may be missing, of a rolling update. */
export function margins(deployment: DeploymentObject): { surge: number; unavailable: number } {
  if (!isRolling(deployment)) return { surge: 0, unavailable: 0 };
  const wanted = wantedOf(deployment);
  const { maxSurge = "25%", maxUnavailable = "25%" } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = share(maxSurge, wanted, Math.ceil);
  const unavailable = Math.min(wanted, share(maxUnavailable, wanted, Math.floor));
  // Both can come to nothing by rounding, and then nothing could ever move.
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}

const share = (value: number | string, of: number, round: (n: number) => number): number =>
  typeof value === "number" ? value : round((Number(value.replace(/%$/, "")) * of) / 100);

/** The most pods that there may be. */
export const mostPods = (deployment: DeploymentObject): number =>
  wantedOf(deployment) + margins(deployment).surge;

/** What a new ReplicaSet begins with. */
export function firstCount(deployment: DeploymentObject, others: readonly ReplicaSetObject[]): number {
  if (!isRolling(deployment)) return wantedOf(deployment);
  const room = mostPods(deployment) - total(others, replicasOf);
  return Math.max(0, Math.min(room, wantedOf(deployment)));
}

/** One step of a rolling update: the new set grows as far as the surge lets it, or the old ones shrink. */
export function rollingStep(
  deployment: DeploymentObject,
  current: ReplicaSetObject,
  old: readonly ReplicaSetObject[],
): Counts {
  const wanted = wantedOf(deployment);
  const now = replicasOf(current);
  if (now > wanted) return new Map([[current.metadata.name, wanted]]);
  const room = mostPods(deployment) - total([current, ...old], replicasOf);
  if (now < wanted && room > 0) return new Map([[current.metadata.name, now + Math.min(room, wanted - now)]]);
  return shrinkOld(deployment, current, old);
}

/** First the pods that do not serve anyway, then as many as there are available ones to spare; the oldest set first. */
function shrinkOld(
  deployment: DeploymentObject,
  current: ReplicaSetObject,
  old: readonly ReplicaSetObject[],
): Counts {
  const least = wantedOf(deployment) - margins(deployment).unavailable;
  const missing = replicasOf(current) - availableOf(current);
  let spare = total([current, ...old], replicasOf) - least - missing;
  const counts = new Map<string, number>();
  const countOf = (set: ReplicaSetObject): number => counts.get(set.metadata.name) ?? replicasOf(set);
  const take = (set: ReplicaSetObject, most: number): number => {
    const n = Math.max(0, Math.min(most, countOf(set)));
    if (n > 0) counts.set(set.metadata.name, countOf(set) - n);
    return n;
  };
  for (const set of byAge(old)) spare -= take(set, Math.min(spare, replicasOf(set) - availableOf(set)));
  let enough = Math.min(spare, total([current, ...old], availableOf) - least);
  for (const set of byAge(old)) enough -= take(set, enough);
  return counts;
}

/** True when the number that is wanted has changed since the sets were scaled last. */
export const isScaled = (deployment: DeploymentObject, sets: readonly ReplicaSetObject[]): boolean =>
  sets.some((set) => {
    const desired = set.metadata.annotations?.[DESIRED];
    return replicasOf(set) > 0 && desired !== undefined && Number(desired) !== wantedOf(deployment);
  });

/** After a change of the number wanted, also in the middle of a rollout: each set gets its share. */
export function proportional(
  deployment: DeploymentObject,
  current: ReplicaSetObject | undefined,
  old: readonly ReplicaSetObject[],
): Counts {
  const all = [...(current === undefined ? [] : [current]), ...old];
  const wanted = wantedOf(deployment);
  const active = all.filter((set) => replicasOf(set) > 0);
  if (active.length <= 1) {
    const only = active[0] ?? current ?? byAge(old).at(-1);
    return only === undefined ? new Map() : new Map([[only.metadata.name, wanted]]);
  }
  if (current !== undefined && replicasOf(current) === wanted && availableOf(current) === wanted) {
    return new Map(old.filter((set) => replicasOf(set) > 0).map((set) => [set.metadata.name, 0]));
  }
  if (!isRolling(deployment)) return new Map();
  const allowed = wanted > 0 ? mostPods(deployment) : 0;
  const toAdd = allowed - total(active, replicasOf);
  // The largest first; of equal ones the newest grows, and the oldest shrinks.
  const ordered = active.toSorted((a, b) => {
    const age = timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp);
    return replicasOf(b) - replicasOf(a) || (toAdd > 0 ? -age : age);
  });
  const counts = new Map<string, number>();
  let added = 0;
  for (const set of ordered) {
    const before = Number(set.metadata.annotations?.[MAXIMUM]) || total(active, replicasOf);
    const part = Math.round((replicasOf(set) * allowed) / before) - replicasOf(set);
    const left = toAdd - added;
    const step = toAdd > 0 ? Math.min(Math.max(part, 0), left) : Math.max(Math.min(part, 0), left);
    counts.set(set.metadata.name, replicasOf(set) + step);
    added += step;
  }
  const [largest] = ordered;
  if (largest !== undefined && added !== toAdd) {
    const name = largest.metadata.name;
    counts.set(name, Math.max(0, (counts.get(name) ?? 0) + toAdd - added));
  }
  return counts;
}
