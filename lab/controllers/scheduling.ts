/** A placement as writes: the binding, or what the pod waits for. Pure. */
import { PODS } from "@weft/cluster/client";
import { conditionOf, type NodeObject, type PodObject, timestamp } from "./objects.ts";
import { placePod } from "./scheduler.ts";
import { eventOf, type Outcome } from "./write.ts";

export function schedulePod(
  pod: PodObject,
  nodes: readonly NodeObject[],
  pods: readonly PodObject[],
  now: number,
): Outcome {
  const placement = placePod(pod, nodes, pods);
  const { namespace, name } = pod.metadata;
  if ("node" in placement) {
    const { node } = placement;
    const note = `Successfully assigned ${namespace}/${name} to ${node}`;
    const event = eventOf(PODS, pod, "Normal", "Scheduled", "Binding", note);
    return { writes: [{ verb: "bind", pod, node, event }] };
  }
  const { message } = placement;
  const held = conditionOf(pod, "PodScheduled");
  if (held?.status === "False" && held.message === message) return { writes: [] };
  const others = (pod.status?.conditions ?? []).filter((c) => c.type !== "PodScheduled");
  const condition = {
    type: "PodScheduled",
    status: "False",
    reason: "Unschedulable",
    message,
    lastTransitionTime: held?.status === "False" ? held.lastTransitionTime : timestamp(now),
  };
  const status = { phase: "Pending", ...pod.status, conditions: [...others, condition] };
  const event = eventOf(PODS, pod, "Warning", "FailedScheduling", "Scheduling", message);
  return { writes: [{ verb: "status", kind: PODS, object: { ...pod, status }, event }] };
}
