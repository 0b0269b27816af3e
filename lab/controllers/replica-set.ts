/**
 * A ReplicaSet keeps as many pods as it is asked for (Kubernetes documentation, "ReplicaSet"). Pure.
 *
 * Surplus pods go in this order: not on a node, then Pending before Running, then not ready before ready, then the lower
 * controller.kubernetes.io/pod-deletion-cost, then where more of them are on one node, then ready for the shortest time,
 * then restarted most often, then the newest.
 */
import { PODS } from "@weft/cluster/client";
import {
  conditionOf,
  equal,
  isTrue,
  type LabelSelector,
  ownedBy,
  type PodObject,
  REPLICA_SETS,
  type ReplicaSetObject,
  timeOf,
} from "./objects.ts";
import { claim } from "./ownership.ts";
import { selects } from "./selector.ts";
import { eventOf, type Outcome, type Write } from "./write.ts";

/** Pods that are made or removed in one go; the next change of one of them leads on. */
const BURST = 500;
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";

/** Pods that still count: not ended, and not being ended. */
export const isActive = ({ metadata, status }: PodObject): boolean =>
  metadata.deletionTimestamp === undefined && status?.phase !== "Succeeded" && status?.phase !== "Failed";

export const isReady = (pod: PodObject): boolean => isTrue(conditionOf(pod, "Ready"));

/** Milliseconds until the pod has been ready for long enough: 0 when it has, undefined when it is not ready. */
export function availableIn(pod: PodObject, minReadySeconds: number, now: number): number | undefined {
  const ready = conditionOf(pod, "Ready");
  if (!isTrue(ready)) return undefined;
  return Math.max(0, timeOf(ready?.lastTransitionTime) + minReadySeconds * 1000 - now);
}

/** `pods` are those of the namespace. */
export function reconcileReplicaSet(set: ReplicaSetObject, pods: readonly PodObject[], now: number): Outcome {
  const { owned, writes } = claim(REPLICA_SETS, set, set.spec.selector as LabelSelector, PODS, pods);
  const active = owned.filter(isActive);
  const changes: Write[] = [...writes];
  if (set.metadata.deletionTimestamp === undefined) {
    const missing = (set.spec.replicas ?? 1) - active.length;
    for (let i = 0; i < Math.min(missing, BURST); i++) changes.push(creation(set));
    if (missing < 0) {
      for (const pod of inOrderOfRemoval(active).slice(0, Math.min(-missing, BURST))) {
        changes.push(removal(set, pod));
      }
    }
  }
  const minimum = set.spec.minReadySeconds ?? 0;
  const waits = active.flatMap((pod) => availableIn(pod, minimum, now) ?? []);
  const status = statusOf(set, owned, waits.filter((ms) => ms === 0).length);
  if (!equal(status, set.status))
    changes.push({ verb: "status", kind: REPLICA_SETS, object: { ...set, status } });
  const again = Math.min(...waits.filter((ms) => ms > 0));
  return { writes: changes, ...(Number.isFinite(again) ? { again } : {}) };
}

function statusOf(
  set: ReplicaSetObject,
  owned: readonly PodObject[],
  available: number,
): NonNullable<ReplicaSetObject["status"]> {
  const active = owned.filter(isActive);
  const labels = set.spec.template.metadata?.labels ?? {};
  return {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((p) => selects({ matchLabels: labels }, p.metadata.labels)).length,
    readyReplicas: active.filter(isReady).length,
    availableReplicas: available,
    terminatingReplicas: owned.filter((p) => p.metadata.deletionTimestamp !== undefined).length,
    observedGeneration: set.metadata.generation ?? 1,
    ...(set.status?.conditions === undefined ? {} : { conditions: set.status.conditions }),
  };
}

function creation(set: ReplicaSetObject): Write {
  const { name, namespace } = set.metadata;
  const { labels, annotations } = set.spec.template.metadata ?? {};
  return {
    verb: "create",
    kind: PODS,
    object: {
      metadata: {
        generateName: `${name}-`,
        namespace,
        ...(labels === undefined ? {} : { labels }),
        ...(annotations === undefined ? {} : { annotations }),
        ownerReferences: [ownedBy(REPLICA_SETS, set)],
      } as unknown as PodObject["metadata"],
      spec: set.spec.template.spec,
    },
    event: eventOf(REPLICA_SETS, set, "Normal", "SuccessfulCreate", "Creating", "Created pod: "),
  };
}

const removal = (set: ReplicaSetObject, pod: PodObject): Write => ({
  verb: "delete",
  kind: PODS,
  object: pod,
  event: eventOf(
    REPLICA_SETS,
    set,
    "Normal",
    "SuccessfulDelete",
    "Deleting",
    `Deleted pod: ${pod.metadata.name}`,
  ),
});

const PHASES: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

export function inOrderOfRemoval(pods: readonly PodObject[]): readonly PodObject[] {
  const onNode = new Map<string, number>();
  for (const { spec } of pods) onNode.set(spec.nodeName ?? "", (onNode.get(spec.nodeName ?? "") ?? 0) + 1);
  const rank = (pod: PodObject): readonly number[] => {
    const ready = isReady(pod);
    const since = timeOf(conditionOf(pod, "Ready")?.lastTransitionTime);
    const restarts = Math.max(0, ...(pod.status?.containerStatuses ?? []).map((c) => c.restartCount));
    return [
      (pod.spec.nodeName ?? "") === "" ? 0 : 1,
      PHASES[pod.status?.phase ?? "Pending"] ?? 1,
      ready ? 1 : 0,
      Number(pod.metadata.annotations?.[DELETION_COST] ?? 0) || 0,
      -(onNode.get(pod.spec.nodeName ?? "") ?? 0),
      ready ? -since : 0,
      -restarts,
      -timeOf(pod.metadata.creationTimestamp),
    ];
  };
  return pods
    .map((pod) => ({ pod, rank: rank(pod) }))
    .sort((a, b) => {
      const at = a.rank.findIndex((value, i) => value !== b.rank[i]);
      if (at >= 0) return (a.rank[at] ?? 0) - (b.rank[at] ?? 0);
      return a.pod.metadata.name < b.pod.metadata.name ? -1 : 1;
    })
    .map(({ pod }) => pod);
}
