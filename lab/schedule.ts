/** Which node a pod without one goes to. Pure. */
import type { Pod } from "@weft/model";

/** Key of a pod in every map of the lab: "namespace/name". */
export const podKey = (pod: Pick<Pod, "namespace" | "name">): string => `${pod.namespace}/${pod.name}`;

/**
 * Nodes of all pods. A pod that names a node is there, existing or not; one that was placed before stays; the
 * others go, in the order of their names, to the node with the fewest pods, and of those the first in `nodes`.
 */
export function schedule(
  pods: readonly Pod[],
  nodes: readonly string[],
  placed: ReadonlyMap<string, string> = new Map(),
): Map<string, string> {
  const result = new Map<string, string>();
  const load = new Map(nodes.map((node) => [node, 0]));
  const put = (pod: Pod, node: string): void => {
    result.set(podKey(pod), node);
    load.set(node, (load.get(node) ?? 0) + 1);
  };
  const waiting: Pod[] = [];
  for (const pod of pods) {
    const before = placed.get(podKey(pod));
    if (pod.node !== undefined) put(pod, pod.node);
    else if (before !== undefined && nodes.includes(before)) put(pod, before);
    else waiting.push(pod);
  }
  waiting.sort((a, b) => (podKey(a) < podKey(b) ? -1 : 1));
  for (const pod of waiting) {
    let best: string | undefined;
    for (const node of nodes) {
      if (best === undefined || (load.get(node) ?? 0) < (load.get(best) ?? 0)) best = node;
    }
    if (best !== undefined) put(pod, best);
  }
  return result;
}
