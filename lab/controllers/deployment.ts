/**
 * A Deployment keeps one ReplicaSet a pod template, and moves pods from the old ones to that of its own template
 * (Kubernetes documentation, "Deployments"). Pure; `rolling.ts` counts, `deployment-status.ts` says how it is.
 *
 *   claim ReplicaSets -> which is the template's -> paused or scaled: shares
 *                                                -> Recreate: old to 0, their pods gone, then the new one
 *                                                -> RollingUpdate: make the new one, one step
 *                     -> annotations with the revision, status, history
 */
import { deploymentStatus } from "./deployment-status.ts";
import {
  controllerOf,
  DEPLOYMENTS,
  type DeploymentObject,
  equal,
  type Labels,
  ownedBy,
  type PodObject,
  REPLICA_SETS,
  type ReplicaSetObject,
} from "./objects.ts";
import { claim } from "./ownership.ts";
import {
  type Counts,
  DESIRED,
  firstCount,
  isRolling,
  isScaled,
  MAXIMUM,
  mostPods,
  proportional,
  replicasOf,
  rollingStep,
  wantedOf,
} from "./rolling.ts";
import { HASH_LABEL, newSetOf, templateHash } from "./template.ts";
import { eventOf, type Outcome, type Write } from "./write.ts";

const REVISION = "deployment.kubernetes.io/revision";
const HISTORY = "deployment.kubernetes.io/revision-history";
/** Annotations of a Deployment that its ReplicaSets do not get. */
const OWN_ANNOTATIONS: readonly string[] = [
  "kubectl.kubernetes.io/last-applied-configuration",
  REVISION,
  HISTORY,
  DESIRED,
  MAXIMUM,
];

/** `sets` and `pods` are those of the namespace. */
export function reconcileDeployment(
  deployment: DeploymentObject,
  sets: readonly ReplicaSetObject[],
  pods: readonly PodObject[],
  now: number,
): Outcome {
  const { owned, writes } = claim(DEPLOYMENTS, deployment, deployment.spec.selector, REPLICA_SETS, sets);
  // Without their owner's reference the rest would be wrong: it comes back by the change.
  if (writes.length > 0) return { writes };
  const live = owned.filter((set) => set.metadata.deletionTimestamp === undefined);
  const held = newSetOf(deployment, live);
  const old = live.filter((set) => set !== held);
  const collisions = collisionsOf(deployment, held, sets);
  const plan = planOf(deployment, held, old, pods, collisions);
  const input = { deployment, current: held ?? plan.made, old, created: plan.made !== undefined, collisions };
  const { status, complete, deadline } = deploymentStatus(input, now);
  const changed = !equal(status, deployment.status);
  const said: Write[] = changed
    ? [{ verb: "status", kind: DEPLOYMENTS, object: { ...deployment, status } }]
    : [];
  const history =
    complete && deployment.metadata.deletionTimestamp === undefined ? oldest(deployment, old) : [];
  return {
    writes: [...plan.writes, ...said, ...history],
    ...(deadline === undefined ? {} : { again: deadline }),
  };
}

interface Plan {
  readonly writes: readonly Write[];
  readonly made?: ReplicaSetObject;
}

function planOf(
  deployment: DeploymentObject,
  held: ReplicaSetObject | undefined,
  old: readonly ReplicaSetObject[],
  pods: readonly PodObject[],
  collisions: number,
): Plan {
  if (deployment.metadata.deletionTimestamp !== undefined) return { writes: [] };
  const all = [...(held === undefined ? [] : [held]), ...old];
  if (deployment.spec.paused === true || isScaled(deployment, all)) {
    return { writes: scaled(deployment, all, proportional(deployment, held, old), held) };
  }
  if (!isRolling(deployment)) {
    const zero = new Map(old.filter((set) => replicasOf(set) > 0).map((set) => [set.metadata.name, 0]));
    if (zero.size > 0) return { writes: scaled(deployment, old, zero) };
    if (old.some((set) => hasPods(set, pods))) return { writes: [] };
  }
  if (held === undefined) return creation(deployment, old, collisions);
  const counts = isRolling(deployment)
    ? rollingStep(deployment, held, old)
    : new Map([[held.metadata.name, wantedOf(deployment)]]);
  const { annotations, revision } = revised(deployment, held, old);
  return {
    writes: [...scaled(deployment, all, counts, held, annotations), ...ownRevision(deployment, revision)],
  };
}

/** Pods that have not ended yet: Recreate waits for them. */
const hasPods = (set: ReplicaSetObject, pods: readonly PodObject[]): boolean =>
  pods.some(
    ({ metadata, status }) =>
      controllerOf(metadata)?.uid === set.metadata.uid &&
      status?.phase !== "Succeeded" &&
      status?.phase !== "Failed",
  );

/** How often the name of the new set was found taken by another one. */
function collisionsOf(
  deployment: DeploymentObject,
  held: ReplicaSetObject | undefined,
  sets: readonly ReplicaSetObject[],
): number {
  let collisions = deployment.status?.collisionCount ?? 0;
  if (held !== undefined) return collisions;
  const taken = new Set(
    sets.filter((s) => s.metadata.namespace === deployment.metadata.namespace).map((s) => s.metadata.name),
  );
  while (taken.has(`${deployment.metadata.name}-${templateHash(deployment.spec.template, collisions)}`)) {
    collisions++;
  }
  return collisions;
}

function creation(deployment: DeploymentObject, old: readonly ReplicaSetObject[], collisions: number): Plan {
  const { metadata, spec } = deployment;
  const hash = templateHash(spec.template, collisions);
  const labels = { ...spec.template.metadata?.labels, [HASH_LABEL]: hash };
  const revision = lastRevision(old) + 1;
  const count = firstCount(deployment, old);
  const made: ReplicaSetObject = {
    metadata: {
      name: `${metadata.name}-${hash}`,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      labels,
      annotations: { ...annotationsFor(deployment), [REVISION]: String(revision) },
      ownerReferences: [ownedBy(DEPLOYMENTS, deployment)],
    },
    spec: {
      replicas: count,
      ...(spec.minReadySeconds === undefined ? {} : { minReadySeconds: spec.minReadySeconds }),
      selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  };
  const event = scaling(deployment, made.metadata.name, "up", 0, count);
  const create: Write = { verb: "create", kind: REPLICA_SETS, object: made, event };
  return { made, writes: [create, ...ownRevision(deployment, revision)] };
}

/** `currentAnnotations` are what `current` is to have besides. */
function scaled(
  deployment: DeploymentObject,
  sets: readonly ReplicaSetObject[],
  counts: Counts,
  current?: ReplicaSetObject,
  currentAnnotations: Labels = {},
): Write[] {
  return sets.flatMap((set): Write[] => {
    const before = replicasOf(set);
    const count = counts.get(set.metadata.name) ?? before;
    const marks = count > 0 || set === current ? scaleMarks(deployment) : {};
    const own = set === current ? currentAnnotations : {};
    const annotations = { ...set.metadata.annotations, ...own, ...marks };
    const same = equal(annotations, set.metadata.annotations ?? {});
    if (count === before && same) return [];
    const object = {
      ...set,
      metadata: { ...set.metadata, annotations },
      spec: { ...set.spec, replicas: count },
    };
    if (count === before) return [{ verb: "update", kind: REPLICA_SETS, object }];
    const event = scaling(deployment, set.metadata.name, count > before ? "up" : "down", before, count);
    return [{ verb: "update", kind: REPLICA_SETS, object, event }];
  });
}

const scaling = (deployment: DeploymentObject, set: string, way: "up" | "down", from: number, to: number) =>
  eventOf(
    DEPLOYMENTS,
    deployment,
    "Normal",
    "ScalingReplicaSet",
    "Scaling",
    `Scaled ${way} replica set ${set} from ${from} to ${to}`,
  );

const scaleMarks = (deployment: DeploymentObject): Record<string, string> => ({
  [DESIRED]: String(wantedOf(deployment)),
  [MAXIMUM]: String(mostPods(deployment)),
});

function annotationsFor(deployment: DeploymentObject): Record<string, string> {
  const copied = Object.entries(deployment.metadata.annotations ?? {}).filter(
    ([key]) => !OWN_ANNOTATIONS.includes(key),
  );
  return { ...Object.fromEntries(copied), ...scaleMarks(deployment) };
}

const revisionOf = ({ metadata }: ReplicaSetObject | DeploymentObject): number =>
  Number(metadata.annotations?.[REVISION] ?? 0) || 0;
const lastRevision = (sets: readonly ReplicaSetObject[]): number => Math.max(0, ...sets.map(revisionOf));

/** A set that comes to be the current one again gets a new number; the former ones are kept in a list. */
function revised(
  deployment: DeploymentObject,
  held: ReplicaSetObject,
  old: readonly ReplicaSetObject[],
): { annotations: Labels; revision: number } {
  const before = revisionOf(held);
  const revision = Math.max(before, lastRevision(old) + 1);
  const annotations = annotationsFor(deployment);
  if (revision === before) return { annotations, revision };
  const past = [held.metadata.annotations?.[HISTORY] ?? "", before === 0 ? "" : String(before)];
  const history = past.filter((text) => text !== "").join();
  const list = history === "" ? {} : { [HISTORY]: history };
  return { annotations: { ...annotations, [REVISION]: String(revision), ...list }, revision };
}

function ownRevision(deployment: DeploymentObject, revision: number): Write[] {
  if (revisionOf(deployment) === revision) return [];
  const annotations = { ...deployment.metadata.annotations, [REVISION]: String(revision) };
  const object = { ...deployment, metadata: { ...deployment.metadata, annotations } };
  return [{ verb: "update", kind: DEPLOYMENTS, object }];
}

/** Sets of a finished rollout beyond the history that is to be kept. */
function oldest(deployment: DeploymentObject, old: readonly ReplicaSetObject[]): Write[] {
  const limit = deployment.spec.revisionHistoryLimit ?? 10;
  const empty = old.filter(
    (set) =>
      replicasOf(set) === 0 &&
      (set.status?.replicas ?? 0) === 0 &&
      (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 1),
  );
  const surplus = empty
    .toSorted((a, b) => revisionOf(a) - revisionOf(b))
    .slice(0, Math.max(0, empty.length - limit));
  return surplus.map((object) => ({ verb: "delete", kind: REPLICA_SETS, object }));
}
