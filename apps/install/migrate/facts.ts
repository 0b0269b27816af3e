/** What the API says of a cluster that a migration has to know. Whatever is missing or malformed counts as not there. */
import type { ApiClient, KubernetesObject } from "@weft/cluster/client";
import { listAll, PODS } from "@weft/cluster/client";
import { NAMES } from "../objects/labels.ts";
import { type Condition, getIfThere, listNodes, type NodeObject, podsOf } from "../observe.ts";
import { DAEMONSETS } from "../resources.ts";
import { MOVING_TAINT, type Move, moveOf, NETWORK_LABEL } from "./labels.ts";

export interface NodeFacts {
  readonly name: string;
  /** The label's value. */
  readonly network: string | undefined;
  readonly move: Move | undefined;
  readonly podCIDRs: readonly string[];
  readonly addresses: readonly string[];
  readonly ready: boolean;
  readonly cordoned: boolean;
  /** A taint of somebody else's keeps ordinary pods off, as on most control planes. */
  readonly tainted: boolean;
  readonly agent: "none" | "waiting" | "ready";
  /** What flannel has written on the node: "vxlan", "host-gw", ... */
  readonly flannel: string | undefined;
}

export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  /** Kind of what made it, "Node" for static pods; undefined: nobody makes it again. */
  readonly owner: string | undefined;
  readonly hasLocalData: boolean;
  /** Stays in spite of the taint of a move. */
  readonly stays: boolean;
  /** Seconds since the epoch; 0 when it has not been started. */
  readonly started: number;
}

export interface OtherNetwork {
  /** "flannel" */
  readonly name: string;
  /** "DaemonSet kube-flannel/kube-flannel-ds" */
  readonly object: string;
}

export interface ClusterFacts {
  readonly nodes: readonly NodeFacts[];
  /** With a network of their own, and not ended. */
  readonly pods: readonly PodFacts[];
  readonly networks: readonly OtherNetwork[];
  /** The DaemonSet of agents is there. */
  readonly installed: boolean;
}

type Fields = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fields) : []);
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((v): v is string => typeof v === "string") : [];
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

export async function readFacts(client: ApiClient, namespace: string): Promise<ClusterFacts> {
  const [nodes, pods, daemonSets, agents, install] = await Promise.all([
    listNodes(client),
    listAll(client, PODS),
    listAll(client, DAEMONSETS),
    podsOf(client, namespace, "agent"),
    getIfThere(client, DAEMONSETS, { namespace, name: NAMES.agent }),
  ]);
  return {
    nodes: nodes
      .filter(canRunWeft)
      .map((node) => nodeFacts(node, agents))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    pods: pods.map(podFacts).filter((p) => p !== undefined),
    networks: daemonSets.flatMap(otherNetwork),
    installed: install !== undefined,
  };
}

/** A node of another system keeps its network: agents do not go there, and nobody waits for one. */
const canRunWeft = ({ metadata }: NodeObject): boolean => {
  const system = fields(metadata["labels"])["kubernetes.io/os"];
  return system === undefined || system === "linux";
};

export function nodeFacts(node: NodeObject, agents: readonly KubernetesObject[]): NodeFacts {
  const { metadata, status } = node;
  const spec = fields(node["spec"]);
  const labels = fields(metadata["labels"]);
  const own = agents.filter((pod) => fields(pod["spec"])["nodeName"] === metadata.name);
  return {
    name: metadata.name,
    network: text(labels[NETWORK_LABEL]),
    move: moveOf(node),
    podCIDRs: texts(spec["podCIDRs"]),
    addresses: list(fields(status)["addresses"])
      .filter((a) => a["type"] === "InternalIP")
      .flatMap((a) => text(a["address"]) ?? []),
    ready: isReady(node),
    cordoned: spec["unschedulable"] === true,
    tainted: list(spec["taints"]).some(
      (t) => (t["effect"] === "NoSchedule" || t["effect"] === "NoExecute") && t["key"] !== MOVING_TAINT.key,
    ),
    agent: own.some((pod) => isReady(pod) && !isLeaving(pod)) ? "ready" : own.length > 0 ? "waiting" : "none",
    flannel: text(fields(metadata["annotations"])["flannel.alpha.coreos.com/backend-type"]),
  };
}

export const isReady = (object: KubernetesObject): boolean =>
  (list(fields(object["status"])["conditions"]) as unknown as Condition[]).some(
    (c) => c.type === "Ready" && c.status === "True",
  );
export const isLeaving = ({ metadata }: KubernetesObject): boolean =>
  metadata["deletionTimestamp"] !== undefined;

/** Undefined for pods on their node's network, for those that have ended, and for those that are nowhere yet. */
export function podFacts(pod: KubernetesObject): PodFacts | undefined {
  const spec = fields(pod["spec"]);
  const status = fields(pod["status"]);
  const node = text(spec["nodeName"]);
  const phase = text(status["phase"]);
  if (node === undefined || spec["hostNetwork"] === true || phase === "Succeeded" || phase === "Failed")
    return undefined;
  const owner = list(pod.metadata["ownerReferences"]).find((o) => o["controller"] === true);
  return {
    namespace: pod.metadata.namespace ?? "default",
    name: pod.metadata.name,
    node,
    owner: text(owner?.["kind"]),
    hasLocalData: list(spec["volumes"]).some((v) => v["emptyDir"] !== undefined),
    stays: list(spec["tolerations"]).some(tolerates),
    started: Math.floor(Date.parse(text(status["startTime"]) ?? "") / 1000) || 0,
  };
}

/** Kubernetes' rules, for a taint without a value. A toleration with a time does not last. */
function tolerates(t: Fields): boolean {
  const { key, effect } = MOVING_TAINT;
  if (t["tolerationSeconds"] !== undefined) return false;
  if (t["effect"] !== undefined && t["effect"] !== "" && t["effect"] !== effect) return false;
  if (t["key"] === undefined || t["key"] === "") return t["operator"] === "Exists";
  return t["key"] === key && (t["operator"] === "Exists" || (t["value"] ?? "") === "");
}

/** Networks by the images of their DaemonSets. */
const KNOWN: readonly (readonly [name: string, image: RegExp])[] = [
  ["flannel", /flannel/],
  ["Calico", /calico[/-]node/],
  ["Cilium", /cilium\/cilium/],
  ["kindnet", /kindnetd/],
  ["kube-router", /kube-router/],
  ["Weave Net", /weave-kube/],
  ["Antrea", /antrea/],
  ["Kube-OVN", /kube-ovn/],
  ["OVN-Kubernetes", /ovn-kube/],
];

function otherNetwork(daemonSet: KubernetesObject): OtherNetwork[] {
  const pod = fields(fields(fields(daemonSet["spec"])["template"])["spec"]);
  const images = list(pod["containers"]).flatMap((c) => text(c["image"]) ?? []);
  return KNOWN.filter(([, pattern]) => images.some((image) => pattern.test(image))).map(([name]) => ({
    name,
    object: `DaemonSet ${daemonSet.metadata.namespace}/${daemonSet.metadata.name}`,
  }));
}
