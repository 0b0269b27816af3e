/**
 * Nodes whose runner is silent, and what follows for their pods (Kubernetes documentation, "Nodes", "Taints and
 * Tolerations"). Pure.
 *
 *   no lease for 40 s      Ready is Unknown, and Ready of its pods is False: a runner that is not silent says itself of each
 *   Ready False, Unknown   taint not-ready, unreachable: NoSchedule and NoExecute
 *   NetworkUnavailable     taint network-unavailable: NoSchedule
 *   cordon                 taint unschedulable: NoSchedule
 *
 * Pods that do not tolerate a NoExecute taint are deleted once their patience is over.
 */
import { NODES, PODS } from "@weft/cluster/client";
import {
  conditionOf,
  equal,
  isTrue,
  type NodeObject,
  type PodObject,
  type Taint,
  timestamp,
  withCondition,
} from "./objects.ts";
import { mayStay, NETWORK_UNAVAILABLE, NOT_READY, UNREACHABLE, UNSCHEDULABLE } from "./taints.ts";
import { eventOf, type Outcome, type Write } from "./write.ts";

export const NODE_MONITOR_GRACE_MS = 40_000;
const OURS: readonly string[] = [NOT_READY, UNREACHABLE, NETWORK_UNAVAILABLE, UNSCHEDULABLE];

export interface NodeState {
  readonly node: NodeObject;
  /** Milliseconds since its lease was last seen to change, or the node was first seen. */
  readonly silence: number;
  /** Pods that are bound to it. */
  readonly pods: readonly PodObject[];
}

export function reconcileNode({ node, silence, pods }: NodeState, now: number): Outcome {
  const writes: Write[] = [];
  const isSilent = silence >= NODE_MONITOR_GRACE_MS;
  const ready = conditionOf(node, "Ready");
  if (isSilent && ready?.status !== "Unknown") {
    const conditions = withCondition(
      node.status?.conditions,
      {
        type: "Ready",
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "The runner of the node stopped renewing its lease.",
      },
      now,
    );
    const event = eventOf(
      NODES,
      node,
      "Normal",
      "NodeNotReady",
      "Monitoring",
      "Node status is now: NodeNotReady",
    );
    writes.push({
      verb: "status",
      kind: NODES,
      object: { ...node, status: { ...node.status, conditions } },
      event,
    });
  }
  // One that is only being set up has said nothing yet, and gets no pods for that reason.
  const status = isSilent ? "Unknown" : (ready?.status ?? "");
  const taints = taintsOf(node, status, now);
  if (!equal(taints, node.spec?.taints ?? [])) {
    const { taints: _, ...spec } = node.spec ?? {};
    const object = { ...node, spec: { ...spec, ...(taints.length === 0 ? {} : { taints }) } };
    writes.push({ verb: "update", kind: NODES, object });
  }
  let again = isSilent ? Number.POSITIVE_INFINITY : NODE_MONITOR_GRACE_MS - silence;
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp !== undefined) continue;
    if (status === "Unknown") writes.push(...unready(pod, now));
    const left = mayStay(pod.spec, taints, now);
    if (left === 0) writes.push(eviction(pod));
    else again = Math.min(again, left);
  }
  return { writes, ...(Number.isFinite(again) ? { again: Math.max(100, again) } : {}) };
}

function taintsOf(node: NodeObject, ready: string, now: number): Taint[] {
  const wanted: Taint[] = [];
  const both = (key: string): void => {
    wanted.push({ key, effect: "NoSchedule" }, { key, effect: "NoExecute" });
  };
  if (ready === "Unknown") both(UNREACHABLE);
  else if (ready === "False") both(NOT_READY);
  if (isTrue(conditionOf(node, "NetworkUnavailable"))) {
    wanted.push({ key: NETWORK_UNAVAILABLE, effect: "NoSchedule" });
  }
  if (node.spec?.unschedulable === true) wanted.push({ key: UNSCHEDULABLE, effect: "NoSchedule" });
  const held = node.spec?.taints ?? [];
  const same = (a: Taint, b: Taint): boolean => a.key === b.key && a.effect === b.effect;
  const kept = held.filter((t) => !OURS.includes(t.key) || wanted.some((w) => same(w, t)));
  const added = wanted.filter((w) => !held.some((t) => same(w, t)));
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded: timestamp(now) }))];
}

/** Nobody knows whether it still serves. */
function unready(pod: PodObject, now: number): Write[] {
  const ready = conditionOf(pod, "Ready");
  if (ready?.status !== "True") return [];
  const next = { ...ready, status: "False", reason: "NodeNotReady" };
  const conditions = withCondition(pod.status?.conditions, next, now);
  const event = eventOf(PODS, pod, "Warning", "NodeNotReady", "Monitoring", "Node is not ready");
  return [{ verb: "status", kind: PODS, object: { ...pod, status: { ...pod.status, conditions } }, event }];
}

const eviction = (pod: PodObject): Write => ({
  verb: "delete",
  kind: PODS,
  object: pod,
  event: eventOf(
    PODS,
    pod,
    "Normal",
    "TaintManagerEviction",
    "Evicting",
    `Marking for deletion Pod ${pod.metadata.namespace}/${pod.metadata.name}`,
  ),
});
