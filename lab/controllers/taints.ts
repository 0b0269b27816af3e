/** Taints of nodes and what pods tolerate (Kubernetes documentation, "Taints and Tolerations"). Pure. */
import type { PodSpec, Taint, Toleration } from "./objects.ts";

export const NOT_READY = "node.kubernetes.io/not-ready";
export const UNREACHABLE = "node.kubernetes.io/unreachable";
export const UNSCHEDULABLE = "node.kubernetes.io/unschedulable";
export const NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable";

/** What a pod that says nothing of these two tolerates them for, in seconds: as the API's admission has it. */
const PATIENCE_S = 300;

export function tolerates({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect !== undefined && effect !== "" && effect !== taint.effect) return false;
  if (key === undefined || key === "") return operator === "Exists";
  if (key !== taint.key) return false;
  return operator === "Exists" || (value ?? "") === (taint.value ?? "");
}

/** The first taint that keeps a new pod away. */
export const untolerated = (spec: PodSpec, taints: readonly Taint[] | undefined): Taint | undefined =>
  (taints ?? []).find(
    (taint) =>
      (taint.effect === "NoSchedule" || taint.effect === "NoExecute") &&
      !(spec.tolerations ?? []).some((t) => tolerates(t, taint)),
  );

/**
 * For how many milliseconds more a pod may stay on a node with such taints: 0 when it must go, Infinity when it may
 * stay. Of several tolerations of a taint that have a time, the shortest counts.
 */
export function mayStay(spec: PodSpec, taints: readonly Taint[] | undefined, now: number): number {
  let left = Number.POSITIVE_INFINITY;
  for (const taint of taints ?? []) {
    if (taint.effect !== "NoExecute") continue;
    const matching = (spec.tolerations ?? []).filter((t) => tolerates(t, taint));
    const seconds = matching.flatMap((t) => t.tolerationSeconds ?? []);
    if (matching.length === 0) {
      if (taint.key !== NOT_READY && taint.key !== UNREACHABLE) return 0;
      seconds.push(PATIENCE_S);
    }
    if (seconds.length === 0) continue;
    const since = Date.parse(taint.timeAdded ?? "");
    const passed = Number.isNaN(since) ? 0 : now - since;
    left = Math.min(left, Math.max(0, Math.min(...seconds) * 1000 - passed));
  }
  return left;
}
