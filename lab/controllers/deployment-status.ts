/** What a Deployment says of itself: counts, and the conditions that `kubectl rollout status` waits for. Pure. */
import {
  type Condition,
  type DeploymentObject,
  type ReplicaSetObject,
  timeOf,
  timestamp,
} from "./objects.ts";
import { margins, replicasOf, wantedOf } from "./rolling.ts";

type Status = NonNullable<DeploymentObject["status"]>;
type Count = "replicas" | "readyReplicas" | "availableReplicas" | "terminatingReplicas";

export interface StatusInput {
  readonly deployment: DeploymentObject;
  /** Of its own template; undefined until it is made. */
  readonly current: ReplicaSetObject | undefined;
  readonly old: readonly ReplicaSetObject[];
  /** The new set was made just now. */
  readonly created: boolean;
  readonly collisions: number;
}

export interface StatusOutcome {
  readonly status: Status;
  /** Milliseconds until the rollout is too late, while it lasts. */
  readonly deadline: number | undefined;
  /** Nothing is left of earlier templates, and everything is available. */
  readonly complete: boolean;
}

export function deploymentStatus(input: StatusInput, now: number): StatusOutcome {
  const { deployment, current, old, collisions } = input;
  const sets = [...(current === undefined ? [] : [current]), ...old];
  const sum = (count: Count): number => sets.reduce((n, set) => n + (set.status?.[count] ?? 0), 0);
  const wanted = wantedOf(deployment);
  const counts = {
    replicas: sum("replicas"),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum("readyReplicas"),
    availableReplicas: sum("availableReplicas"),
  };
  const asked = sets.reduce((n, set) => n + replicasOf(set), 0);
  const complete =
    counts.updatedReplicas === wanted && counts.replicas === wanted && counts.availableReplicas === wanted;
  const conditions = [
    available(deployment, counts.availableReplicas),
    progressing(input, counts, complete, now),
  ].flatMap((c) => (c === undefined ? [] : [settled(deployment.status?.conditions, c, now)]));
  const status: Status = {
    observedGeneration: deployment.metadata.generation ?? 1,
    ...counts,
    unavailableReplicas: Math.max(0, asked - counts.availableReplicas),
    terminatingReplicas: sum("terminatingReplicas"),
    ...(collisions === 0 ? {} : { collisionCount: collisions }),
    conditions,
  };
  return { status, complete, deadline: deadlineOf(deployment, conditions, now) };
}

interface Progress {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  /** It went on: the deadline begins anew though the words are the same. */
  readonly renewed?: boolean;
}

function available(deployment: DeploymentObject, count: number): Progress {
  const enough = count >= wantedOf(deployment) - margins(deployment).unavailable;
  return {
    type: "Available",
    status: enough ? "True" : "False",
    reason: enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
    message: enough
      ? "Deployment has minimum availability."
      : "Deployment does not have minimum availability.",
  };
}

function progressing(
  { deployment, current, created }: StatusInput,
  counts: { replicas: number; updatedReplicas: number; readyReplicas: number; availableReplicas: number },
  complete: boolean,
  now: number,
): Progress | undefined {
  const held = deployment.status?.conditions?.find((c) => c.type === "Progressing");
  const say = (status: string, reason: string, message: string, renewed = false): Progress => {
    return { type: "Progressing", status, reason, message, renewed };
  };
  const keep = held === undefined ? undefined : (held as Progress);
  const late = held?.reason === "ProgressDeadlineExceeded";
  if (deployment.spec.paused === true) {
    return late ? keep : say("Unknown", "DeploymentPaused", "Deployment is paused");
  }
  const name = current?.metadata.name ?? deployment.metadata.name;
  if (created) return say("True", "NewReplicaSetCreated", `Created new replica set "${name}"`, true);
  if (held?.reason === "DeploymentPaused") {
    return say("Unknown", "DeploymentResumed", "Deployment is resumed", true);
  }
  const isOver = held?.reason === "NewReplicaSetAvailable" && counts.replicas === counts.updatedReplicas;
  if (isOver) return keep;
  if (complete) {
    return say("True", "NewReplicaSetAvailable", `ReplicaSet "${name}" has successfully progressed.`);
  }
  const before = deployment.status ?? {};
  const wentOn =
    counts.updatedReplicas > (before.updatedReplicas ?? 0) ||
    counts.replicas - counts.updatedReplicas < (before.replicas ?? 0) - (before.updatedReplicas ?? 0) ||
    counts.readyReplicas > (before.readyReplicas ?? 0) ||
    counts.availableReplicas > (before.availableReplicas ?? 0);
  if (wentOn) return say("True", "ReplicaSetUpdated", `ReplicaSet "${name}" is progressing.`, true);
  if (current === undefined) return keep;
  if (held === undefined) return say("True", "FoundNewReplicaSet", `Found new replica set "${name}"`);
  if (late || now - timeOf(held.lastUpdateTime) < deadlineMs(deployment)) return keep;
  // What had succeeded and lost a pod since is no rollout that is late.
  if (held.reason === "NewReplicaSetAvailable") return keep;
  return say("False", "ProgressDeadlineExceeded", `ReplicaSet "${name}" has timed out progressing.`);
}

const deadlineMs = ({ spec }: DeploymentObject): number => (spec.progressDeadlineSeconds ?? 600) * 1000;

function deadlineOf(
  deployment: DeploymentObject,
  conditions: readonly Condition[],
  now: number,
): number | undefined {
  const held = conditions.find((c) => c.type === "Progressing");
  const waits = held?.status === "True" && held.reason !== "NewReplicaSetAvailable";
  if (!waits) return undefined;
  // Times in conditions are whole seconds.
  return Math.max(1000, timeOf(held.lastUpdateTime) + deadlineMs(deployment) - now);
}

function settled(held: readonly Condition[] | undefined, next: Progress, now: number): Condition {
  const before = held?.find((c) => c.type === next.type);
  const { renewed = false, type, status, reason, message } = next;
  if (before?.status === status && before.reason === reason && !renewed) return before;
  const transition = before?.status === status ? before.lastTransitionTime : undefined;
  return {
    type,
    status,
    reason,
    message,
    lastUpdateTime: timestamp(now),
    lastTransitionTime: transition ?? timestamp(now),
  };
}
