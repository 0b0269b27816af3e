/**
 * Which node a pod goes to. Pure.
 *
 * Filters, in this order, of which the first that refuses a node names the reason: the node is ready, its taints are
 * tolerated (a cordon is one of them), nodeSelector and required node affinity match, no host port is taken. Of what is
 * left: the node with the fewest pods of the same owner, or without an owner of the same labels; then with the fewest
 * pods; then the first by name. Requests of CPU and memory do not count: the lab has neither.
 */
import {
  compareNames,
  conditionOf,
  controllerOf,
  isTrue,
  type NodeObject,
  type PodObject,
} from "./objects.ts";
import { nodeMatches } from "./selector.ts";
import { UNSCHEDULABLE, untolerated } from "./taints.ts";

export type Placement = { readonly node: string } | { readonly message: string };

/** True for a pod that waits for a node from us. */
export const isWaiting = ({ metadata, spec, status }: PodObject): boolean =>
  (spec.nodeName ?? "") === "" &&
  metadata.deletionTimestamp === undefined &&
  (spec.schedulerName ?? "default-scheduler") === "default-scheduler" &&
  status?.phase !== "Succeeded" &&
  status?.phase !== "Failed";

/** `pods` are all pods, on nodes or not. */
export function placePod(
  pod: PodObject,
  nodes: readonly NodeObject[],
  pods: readonly PodObject[],
): Placement {
  const onNode = Map.groupBy(pods.filter(isLive), (p) => p.spec.nodeName ?? "");
  const refused = new Map<string, number>();
  const fitting = nodes.filter((node) => {
    const reason = refusal(pod, node, onNode.get(node.metadata.name) ?? []);
    if (reason !== undefined) refused.set(reason, (refused.get(reason) ?? 0) + 1);
    return reason === undefined;
  });
  if (fitting.length === 0) {
    const reasons = [...refused].map(([reason, count]) => `${count} ${reason}`).sort();
    const why = reasons.length === 0 ? "no nodes available to schedule pods" : `${reasons.join(", ")}.`;
    return { message: `0/${nodes.length} nodes are available: ${why}` };
  }
  const load = (node: NodeObject): readonly [number, number] => {
    const there = onNode.get(node.metadata.name) ?? [];
    return [there.filter((other) => isSibling(pod, other)).length, there.length];
  };
  const [best] = fitting
    .map((node) => ({ name: node.metadata.name, load: load(node) }))
    .sort((a, b) => a.load[0] - b.load[0] || a.load[1] - b.load[1] || compareNames(a.name, b.name));
  return { node: best?.name ?? "" };
}

const isLive = ({ status }: PodObject): boolean =>
  status?.phase !== "Succeeded" && status?.phase !== "Failed";

function isSibling(pod: PodObject, other: PodObject): boolean {
  if (other.metadata.namespace !== pod.metadata.namespace) return false;
  const [mine, theirs] = [controllerOf(pod.metadata), controllerOf(other.metadata)];
  if (mine !== undefined || theirs !== undefined) return mine?.uid === theirs?.uid;
  return Bun.deepEquals(pod.metadata.labels ?? {}, other.metadata.labels ?? {});
}

/** Why the node cannot take the pod, in kube-scheduler's words. */
function refusal(pod: PodObject, node: NodeObject, there: readonly PodObject[]): string | undefined {
  const taint = untolerated(pod.spec, [
    ...(node.spec?.unschedulable === true ? [{ key: UNSCHEDULABLE, effect: "NoSchedule" }] : []),
    ...(node.spec?.taints ?? []),
  ]);
  if (taint?.key === UNSCHEDULABLE) return "node(s) were unschedulable";
  if (taint !== undefined) {
    return `node(s) had untolerated taint(s) {${taint.key}${taint.value ? `: ${taint.value}` : ""}}`;
  }
  if (!isTrue(conditionOf(node, "Ready"))) return "node(s) were not ready";
  if (!nodeMatches(pod.spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  const wanted = hostPorts(pod);
  const taken = wanted.length === 0 ? [] : there.flatMap(hostPorts);
  if (wanted.some((w) => taken.some((t) => clash(w, t)))) {
    return "node(s) didn't have free ports for the requested pod ports";
  }
  return undefined;
}

interface HostPort {
  readonly ip: string;
  readonly port: number;
  readonly protocol: string;
}

const hostPorts = ({ spec }: PodObject): HostPort[] =>
  spec.containers.flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, hostIP = "", protocol = "TCP" }) =>
      hostPort === 0 ? [] : [{ ip: hostIP, port: hostPort, protocol }],
    ),
  );

const isAny = (ip: string): boolean => ip === "" || ip === "0.0.0.0" || ip === "::";

const clash = (a: HostPort, b: HostPort): boolean =>
  a.port === b.port && a.protocol === b.protocol && (isAny(a.ip) || isAny(b.ip) || a.ip === b.ip);
