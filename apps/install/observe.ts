/** What the API says of an install that is on its way: how many of what, and for each pod that is not ready, why. */
import { hasCode, isNotFound } from "@weft/base";
import {
  type ApiClient,
  getObject,
  type KubernetesObject,
  listAll,
  NODES,
  PODS,
  type Resource,
} from "@weft/cluster/client";
import { type Component, NAMES, selectorText } from "./objects/labels.ts";
import { CORE_EVENTS, DAEMONSETS, DEPLOYMENTS } from "./resources.ts";

export interface PodObject extends KubernetesObject {
  readonly spec?: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly Condition[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
  readonly lastState?: ContainerStatus["state"];
}

export const podsOf = (client: ApiClient, namespace: string, component: Component): Promise<PodObject[]> =>
  listAll<PodObject>(client, PODS, { namespace }, { labelSelector: selectorText(component) });

/** Undefined: it is not there. */
export async function getIfThere<T>(
  client: ApiClient,
  resource: Resource,
  place: { name: string; namespace?: string },
): Promise<T | undefined> {
  try {
    return await getObject<T>(client, resource, place);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export interface Rollout {
  readonly wanted: number;
  /** Ready, and of the newest version. */
  readonly ready: number;
  /** The cluster has not acted on the newest version yet. */
  readonly behind: boolean;
}

type Numbers = Readonly<Record<string, number | undefined>>;

/** How far the agents and controllers are. Throws "not-found" when there are none. */
export async function rollouts(
  client: ApiClient,
  namespace: string,
): Promise<{ agents: Rollout; controllers: Rollout }> {
  const read = async (resource: Resource, name: string) => {
    const { metadata, status, spec } = await getObject<
      KubernetesObject & { status?: Numbers; spec?: Numbers }
    >(client, resource, { namespace, name });
    return {
      status: status ?? {},
      spec: spec ?? {},
      behind: Number(metadata["generation"]) !== status?.["observedGeneration"],
    };
  };
  const [agents, controllers] = await Promise.all([
    read(DAEMONSETS, NAMES.agent),
    read(DEPLOYMENTS, NAMES.controller),
  ]);
  const least = (...counts: (number | undefined)[]): number => Math.min(...counts.map((n) => n ?? 0));
  return {
    agents: {
      wanted: agents.status["desiredNumberScheduled"] ?? 0,
      ready: least(agents.status["updatedNumberScheduled"], agents.status["numberReady"]),
      behind: agents.behind,
    },
    controllers: {
      wanted: controllers.spec["replicas"] ?? 1,
      ready: least(controllers.status["updatedReplicas"], controllers.status["readyReplicas"]),
      behind:
        controllers.behind || (controllers.status["replicas"] ?? 0) > (controllers.spec["replicas"] ?? 1),
    },
  };
}

/** Why a pod is not ready, in one line; undefined when it is. Events are asked only where the pod says nothing. */
export async function podFault(client: ApiClient, pod: PodObject): Promise<string | undefined> {
  const { conditions = [], initContainerStatuses = [], containerStatuses = [], message } = pod.status ?? {};
  if (conditions.some((c) => c.type === "Ready" && c.status === "True")) return undefined;
  for (const { name, state, lastState } of [...initContainerStatuses, ...containerStatuses]) {
    const { waiting, terminated } = state ?? {};
    if (waiting?.reason !== undefined && waiting.reason !== "PodInitializing") {
      const last = lastState?.terminated?.message;
      return `${name}: ${waiting.reason}: ${oneLine(last ?? waiting.message ?? "")}`;
    }
    if (terminated !== undefined && terminated.exitCode !== 0)
      return `${name}: ${terminated.reason}: ${oneLine(terminated.message ?? "")}`;
  }
  if (message !== undefined) return oneLine(message);
  const unscheduled = conditions.find((c) => c.type === "PodScheduled" && c.status === "False");
  if (unscheduled?.message !== undefined) return oneLine(unscheduled.message);
  return (await lastEvent(client, pod)) ?? "not ready yet";
}

async function lastEvent(client: ApiClient, { metadata }: PodObject): Promise<string | undefined> {
  try {
    const query = { fieldSelector: `involvedObject.uid=${metadata.uid}` };
    const events = await listAll<
      KubernetesObject & { type?: string; message?: string; lastTimestamp?: string }
    >(client, CORE_EVENTS, metadata.namespace === undefined ? {} : { namespace: metadata.namespace }, query);
    const warnings = events.filter((e) => e.type === "Warning");
    warnings.sort((a, b) => ((a.lastTimestamp ?? "") < (b.lastTimestamp ?? "") ? -1 : 1));
    const last = warnings.at(-1)?.message;
    return last === undefined ? undefined : oneLine(last);
  } catch (error) {
    // Not everybody may read events; without them there is less to say.
    if (hasCode(error, "permission")) return undefined;
    throw error;
  }
}

const oneLine = (text: string): string => {
  const line = text.trim().replaceAll(/\s*\n\s*/g, "; ");
  return line.length > 400 ? `${line.slice(0, 400)}...` : line;
};

export interface NodeObject extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** Nodes whose pods cannot have a network yet, and why. */
export function nodeFaults(nodes: readonly NodeObject[]): { node: string; fault: string }[] {
  return nodes.flatMap(({ metadata, status }) => {
    const conditions = status?.conditions ?? [];
    const ready = conditions.find((c) => c.type === "Ready");
    const network = conditions.find((c) => c.type === "NetworkUnavailable");
    if (ready?.status !== "True")
      return [{ node: metadata.name, fault: oneLine(ready?.message ?? "it has no condition Ready") }];
    if (network === undefined) return [{ node: metadata.name, fault: "the controller has not seen it yet" }];
    if (network.status === "True")
      return [{ node: metadata.name, fault: oneLine(network.message ?? "NetworkUnavailable") }];
    return [];
  });
}

export const listNodes = (client: ApiClient): Promise<NodeObject[]> => listAll<NodeObject>(client, NODES);
