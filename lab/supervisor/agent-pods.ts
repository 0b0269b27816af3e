/**
 * The agents, as a cluster shows them: a Pod each, that somebody else runs. As a kubelet does for its static pods, the
 * lab makes a mirror of each in the API: the controller sees by it whether a node's network is served, and users see it
 * with kubectl. To delete one makes a new mirror, and leaves the agent alone.
 */
import { PODS } from "@weft/cluster/client";
import type { Cache } from "../controllers/cache.ts";
import { type PodObject, timestamp, withCondition } from "../controllers/objects.ts";
import type { Outcome } from "../controllers/write.ts";
import type { Agent } from "./agents.ts";

export const SYSTEM_NAMESPACE = "weft-system";
const MIRROR = "kubernetes.io/config.mirror";
const LABELS = { "app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent" };

export const isMirror = ({ metadata }: PodObject): boolean => metadata.annotations?.[MIRROR] !== undefined;

export const agentPodKey = (node: string): string => `${SYSTEM_NAMESPACE}/weft-agent-${node}`;

/** Brings the mirror to what its agent is. */
export function reconcileAgentPod(agent: Agent, pods: Cache<PodObject>, now: number): Outcome {
  const { name: node, addresses } = agent.network.node;
  const held = pods.get(agentPodKey(node));
  if (held === undefined) return { writes: [{ verb: "create", kind: PODS, object: mirrorOf(node) }] };
  if (held.metadata.deletionTimestamp !== undefined) {
    return { writes: [{ verb: "delete", kind: PODS, object: held, graceSeconds: 0 }] };
  }
  const status = statusOf(agent, held, addresses, now);
  if (Bun.deepEquals(status, held.status)) return { writes: [] };
  return { writes: [{ verb: "status", kind: PODS, object: { ...held, status } }] };
}

const mirrorOf = (node: string): PodObject => ({
  metadata: {
    name: `weft-agent-${node}`,
    namespace: SYSTEM_NAMESPACE,
    labels: LABELS,
    annotations: { [MIRROR]: "weft-lab", "kubernetes.io/config.source": "weft-lab" },
  },
  spec: {
    nodeName: node,
    hostNetwork: true,
    tolerations: [{ operator: "Exists" }],
    containers: [{ name: "agent", image: "weft/agent" }],
  },
});

function statusOf(
  agent: Agent,
  pod: PodObject,
  addresses: readonly string[],
  now: number,
): NonNullable<PodObject["status"]> {
  const { ready, waitingFor, process } = agent;
  const isRunning = process.process !== undefined;
  const readiness = {
    status: ready ? "True" : "False",
    ...(ready ? {} : { reason: "ContainersNotReady", message: waitingFor ?? "not ready" }),
  };
  let conditions = pod.status?.conditions;
  for (const type of ["Initialized", "PodScheduled"]) {
    conditions = withCondition(conditions, { type, status: "True" }, now);
  }
  for (const type of ["ContainersReady", "Ready"]) {
    conditions = withCondition(conditions, { type, ...readiness }, now);
  }
  const ips = addresses.map((ip) => ({ ip }));
  const state = isRunning
    ? { running: { startedAt: timestamp(process.startedAt) } }
    : { waiting: { reason: "CrashLoopBackOff", message: process.startError ?? process.lastExit ?? "" } };
  return {
    ...pod.status,
    phase: isRunning || process.lastExit !== undefined ? "Running" : "Pending",
    conditions: conditions ?? [],
    ...(addresses[0] === undefined ? {} : { hostIP: addresses[0], podIP: addresses[0] }),
    hostIPs: ips,
    podIPs: ips,
    startTime: pod.status?.startTime ?? timestamp(now),
    containerStatuses: [
      {
        name: "agent",
        image: "weft/agent",
        imageID: "weft/agent",
        ready,
        started: isRunning,
        restartCount: process.restarts,
        state,
        lastState: {},
      },
    ],
  };
}
