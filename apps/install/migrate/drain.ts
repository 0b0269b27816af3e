/**
 * Takes pods off a node: first those that somebody makes again elsewhere, by eviction, which disruption budgets can
 * refuse for a while; then, by a taint, those that a DaemonSet would make again here. What is left stays in spite of
 * all taints, or is a static pod.
 */
import { hasCode, isNotFound, WeftError } from "@weft/base";
import { type ApiClient, deleteObject, listAll, PODS, pathOf } from "@weft/cluster/client";
import { type PodFacts, podFacts } from "./facts.ts";
import { named, orphans } from "./plan.ts";

export interface DrainOptions {
  readonly client: ApiClient;
  readonly node: string;
  /** Pods that nobody makes again may go. */
  readonly force: boolean;
  /** Pods may lose what they have in volumes of type emptyDir. */
  readonly deleteLocalData: boolean;
  /** By deletion, whatever disruption budgets say. */
  readonly disableEviction: boolean;
}

/** Pods on a node that have a network of their own. */
export async function podsOn(client: ApiClient, node: string): Promise<PodFacts[]> {
  const query = { fieldSelector: `spec.nodeName=${node}` };
  const pods = await listAll(client, PODS, {}, query);
  return pods.map(podFacts).filter((pod) => pod !== undefined && pod.node === node) as PodFacts[];
}

/** Throws "conflict" with what a drain would lose for good. */
export function checkDrain(pods: readonly PodFacts[], o: DrainOptions): void {
  const lost = orphans(pods);
  if (lost.length > 0 && !o.force) {
    throw new WeftError("conflict", `nobody would make these pods again: ${named(lost)}`, {
      object: `Node ${o.node}`,
      hint: "Delete them yourself, or say --force.",
    });
  }
  const data = pods.filter((p) => p.hasLocalData && !isFixed(p) && p.owner !== "DaemonSet");
  if (data.length > 0 && !o.deleteLocalData) {
    throw new WeftError(
      "conflict",
      `these pods would lose what is in their emptyDir volumes: ${named(data)}`,
      {
        object: `Node ${o.node}`,
        hint: "Say --delete-emptydir-data when that may be.",
      },
    );
  }
}

/** A static pod: the API cannot take it away. */
const isFixed = (pod: PodFacts): boolean => pod.owner === "Node";
/** What eviction is for. */
export const isMovable = (pod: PodFacts): boolean => !isFixed(pod) && pod.owner !== "DaemonSet";
/** What the taint drives away. */
export const isDriven = (pod: PodFacts): boolean => !isFixed(pod) && !pod.stays;

/** Without the request, which the step has named. */
const saidBy = ({ message }: WeftError): string => message.replace(/^POST \S+: /, "");

/** Asks for the eviction of a pod; what a disruption budget says when it refuses. */
export async function evict(pod: PodFacts, o: DrainOptions): Promise<string | undefined> {
  const { namespace, name } = pod;
  try {
    if (o.disableEviction) await deleteObject(o.client, PODS, { namespace, name });
    else
      await o.client.request({
        method: "POST",
        path: pathOf(PODS, { namespace, name, subresource: "eviction" }),
        body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } },
        retries: 0,
      });
    return undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    if (hasCode(error, "busy") || hasCode(error, "conflict")) return saidBy(error as WeftError);
    throw error;
  }
}
