/**
 * What a migration would come to. Pure: facts in, a plan out.
 *
 * Nodes are moved one by one, and in between both networks have nodes. That works where both give a node's pods
 * addresses of its spec.podCIDRs, because then each node's range stays where it is, and the routes of the other
 * network (flannel's, a fabric's, static ones) lead to moved nodes as before: Weft's own have a higher metric and
 * wait behind them, and none leads to a node that is not moved. A network that chooses addresses by itself has no such
 * routes, so that a move between it and Weft would cut the cluster in two.
 */
import type { ClusterFacts, NodeFacts, PodFacts } from "./facts.ts";

export interface Remark {
  /** "blocks": a move is refused while it is so. */
  readonly weight: "blocks" | "note";
  /** Undefined: of the whole cluster. */
  readonly node: string | undefined;
  readonly message: string;
  readonly hint: string;
}

export type NodeState = "other" | "moving to Weft" | "Weft" | "moving back" | "unlabelled";

export interface NodePlan {
  readonly node: string;
  readonly state: NodeState;
  readonly agent: NodeFacts["agent"];
  readonly ready: boolean;
  /** Pods that are made anew by a move. */
  readonly pods: number;
}

export interface MigrationPlan {
  /** What serves pods now: "flannel (vxlan)"; "no network that is known" for plugins without a DaemonSet. */
  readonly from: string;
  readonly nodes: readonly NodePlan[];
  readonly remarks: readonly Remark[];
  /** The command to go on with. */
  readonly next: string;
}

/** Networks whose pods have addresses of spec.podCIDRs. */
const BY_POD_CIDR = new Set(["flannel", "kindnet", "kube-router"]);

export function stateOf({ network, move }: NodeFacts): NodeState {
  if (move !== undefined) return move.to === "weft" ? "moving to Weft" : "moving back";
  if (network === "other") return "other";
  return network === "weft" ? "Weft" : "unlabelled";
}

export function planMigration(facts: ClusterFacts): MigrationPlan {
  const nodes = facts.nodes.map(
    (node): NodePlan => ({
      node: node.name,
      state: stateOf(node),
      agent: node.agent,
      ready: node.ready,
      pods: facts.pods.filter((p) => p.node === node.name).length,
    }),
  );
  return {
    from: networkOf(facts),
    nodes,
    remarks: [...clusterRemarks(facts), ...facts.nodes.flatMap((node) => nodeRemarks(node, facts))],
    next: nextOf(facts, nodes),
  };
}

function networkOf({ networks, nodes }: ClusterFacts): string {
  const backends = [...new Set(nodes.flatMap((n) => n.flannel ?? []))].sort().join(", ");
  const names = networks.map(({ name }) =>
    name === "flannel" && backends !== "" ? `flannel (${backends})` : name,
  );
  return names.length === 0 ? "plugins without a DaemonSet that is known" : [...new Set(names)].join(", ");
}

function clusterRemarks({ networks, nodes }: ClusterFacts): Remark[] {
  const remarks: Remark[] = [];
  for (const { name, object } of networks) {
    if (BY_POD_CIDR.has(name)) continue;
    remarks.push({
      weight: "blocks",
      node: undefined,
      message: `${name} (${object}) chooses pods' addresses by itself, not from spec.podCIDRs`,
      hint: "Pods of moved nodes and of others could not reach each other: move the whole cluster at once, by a new one.",
    });
  }
  if (
    networks.some((n) => n.name === "flannel") &&
    nodes.some((n) => n.flannel === "vxlan" || n.flannel === "wireguard")
  ) {
    remarks.push({
      weight: "note",
      node: undefined,
      message: "flannel's tunnel carries smaller packets than Weft's direct routes",
      hint: "Until all nodes are moved, set mtu to what flannel's pods have (cat /run/flannel/subnet.env on a node).",
    });
  }
  const takers = nodes.filter((n) => !n.cordoned && !n.tainted && n.ready);
  if (takers.length === 1) {
    remarks.push({
      weight: "note",
      node: takers[0]?.name,
      message: "it is the only node that takes pods: they wait while it is moved",
      hint: "Where disruption budgets do not allow that, use --disable-eviction.",
    });
  }
  return remarks;
}

export function nodeRemarks(node: NodeFacts, { pods }: ClusterFacts): Remark[] {
  const remarks: Remark[] = [];
  const remark = (weight: Remark["weight"], message: string, hint: string): void =>
    void remarks.push({ weight, node: node.name, message, hint });
  if (node.podCIDRs.length === 0)
    remark(
      "blocks",
      "it has no spec.podCIDRs, which Weft takes pods' addresses from",
      "Run kube-controller-manager with --allocate-node-cidrs, or set the field.",
    );
  if (!node.ready && node.move === undefined)
    remark("blocks", "it is not Ready", "Bring it up first: kubectl describe node.");
  const own = pods.filter((p) => p.node === node.name);
  const fixed = own.filter((p) => p.owner === "Node");
  if (fixed.length > 0 && node.network !== "weft")
    remark(
      "note",
      `static pods keep the network that they were started with: ${named(fixed)}`,
      "Restart each on the node, by moving its manifest away and back, after the move.",
    );
  return remarks;
}

/** Pods that a move would take away for good, as kubectl drain has them too. */
export const orphans = (pods: readonly PodFacts[]): PodFacts[] => pods.filter((p) => p.owner === undefined);

export function named(pods: readonly PodFacts[]): string {
  const names = pods.slice(0, 4).map((p) => `${p.namespace}/${p.name}`);
  return pods.length > 4 ? `${names.join(", ")} and ${pods.length - 4} more` : names.join(", ");
}

function nextOf({ installed }: ClusterFacts, nodes: readonly NodePlan[]): string {
  const moving = nodes.find((n) => n.state === "moving to Weft");
  const back = nodes.find((n) => n.state === "moving back");
  if (moving !== undefined) return `weft migrate node ${moving.node}`;
  if (back !== undefined) return `weft migrate back ${back.node}`;
  if (nodes.some((n) => n.state === "unlabelled" && n.agent === "none")) return "weft migrate start";
  if (!installed) return "weft install --apply --no-wait";
  const left = nodes.find((n) => n.state === "other");
  if (left !== undefined) return `weft migrate node ${left.node}`;
  return nodes.some((n) => n.state === "Weft")
    ? "weft migrate finish"
    : "nothing: Weft is the network of every node";
}
