/**
 * `weft ipam check`: whether what a cluster says of its addresses in several places fits together. Pure.
 *
 *   Pods (status.podIPs) --- IPBlocks (spec, status) --- IPPools, Nodes --- ledgers of the agents that answer
 *
 * Every source lags behind the others for a moment: what is younger than two minutes is left alone, where an age is known.
 */
import { contains, type IpAddress, overlaps, type Prefix } from "@weft/base";
import type { IpBlock, NodeAddresses } from "@weft/model";
import { RangeIndex } from "./range-index.ts";
import { type ApiState, type ClusterState, podName, podsWithAddresses } from "./state.ts";

export type CheckCode =
  | "address-twice"
  | "pod-without-lease"
  | "pod-outside-ranges"
  | "lease-without-pod"
  | "block-outside-pool"
  | "ranges-overlap"
  | "node-gone"
  | "loan-of-gone-node"
  | "loan-unanswered"
  | "copy-differs"
  | "pool-not-ready"
  | "object-unreadable"
  | "agent-finding";

export interface CheckFinding {
  readonly code: CheckCode;
  readonly object: string;
  readonly message: string;
  /** What to do: a full sentence. */
  readonly remedy: string;
}

const SETTLED_MS = 120_000;

export function checkCluster(state: ClusterState): CheckFinding[] {
  const { api, agents } = state;
  const found = [
    ...(api === undefined
      ? []
      : [
          ...unreadable(api),
          ...pools(api),
          ...ranges(api),
          ...nodesGone(api),
          ...podsTwice(api),
          ...podsOutside(api),
          ...allocations(api, state.now),
          ...ledgers(api, agents, state.now),
        ]),
    ...leasesTwice(agents),
    ...agents.flatMap(ofAudit),
  ];
  return found.sort((a, b) => (`${a.code} ${a.object}` < `${b.code} ${b.object}` ? -1 : 1));
}

const unreadable = (api: ApiState): CheckFinding[] =>
  api.faults.map((fault) => ({
    code: "object-unreadable",
    object: "objects of the API",
    message: fault,
    remedy: "Correct the object; what it says does not count until then.",
  }));

const ofAudit = ({ node, findings }: NodeAddresses): CheckFinding[] =>
  findings
    .filter((f) => f.needsPerson)
    .map((f) => ({
      code: "agent-finding",
      object: `${f.object} on node ${node}`,
      message: f.message,
      remedy: f.remedy,
    }));

const pools = (api: ApiState): CheckFinding[] =>
  api.pools
    .filter((p) => !p.ready && !p.disabled)
    .map((p) => ({
      code: "pool-not-ready",
      object: `IPPool ${p.name}`,
      message: p.notReady ?? "the controller has not accepted it",
      remedy:
        "Nobody gets addresses of it until it is: kubectl describe ippool, and is weft controller running?",
    }));

/** Blocks in their pools; no two ranges that give out one address. */
function ranges(api: ApiState): CheckFinding[] {
  const found: CheckFinding[] = [];
  for (const block of api.blocks) {
    const pool = api.pools.find((p) => p.name === block.pool);
    const why =
      pool === undefined
        ? `its pool ${block.pool} does not exist`
        : pool.uid !== block.poolUid
          ? `it is of an earlier pool ${block.pool}, which is gone`
          : contains(pool.cidr, block.prefix)
            ? undefined
            : `it lies outside of ${pool.cidr}, the range of its pool ${block.pool}`;
    if (why === undefined) continue;
    found.push({
      code: "block-outside-pool",
      object: `IPBlock ${block.name}`,
      message: `${why}, and node ${block.node ?? "(gone)"} has it`,
      remedy:
        "Move its pods elsewhere; an empty block goes by itself. If its node is gone: kubectl delete ipblock.",
    });
  }
  const all = [
    ...api.blocks.map((b) => ({ prefix: b.prefix, object: `IPBlock ${b.name}`, node: b.node })),
    ...api.nodes.flatMap((n) =>
      n.podCIDRs.map((prefix) => ({ prefix, object: `Node ${n.name}`, node: n.name })),
    ),
  ];
  for (const [one, other] of overlapping(all)) {
    found.push({
      code: "ranges-overlap",
      object: one.object,
      message: `${one.prefix} overlaps ${other.prefix} of ${other.object}: both may give out one address`,
      remedy: "Give one of them another range, and start the pods anew that have addresses of both.",
    });
  }
  return found;
}

/** Pairs of overlapping ranges: sorted by their first address, whatever overlaps a range comes right after it. */
function overlapping<T extends { readonly prefix: Prefix }>(all: readonly T[]): [T, T][] {
  const byFirst = all
    .map((one) => ({ one, key: sortKey(one.prefix) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ one }) => one);
  const pairs: [T, T][] = [];
  for (const [i, one] of byFirst.entries()) {
    for (let j = i + 1; j < byFirst.length && overlaps(one.prefix, (byFirst[j] as T).prefix); j++)
      pairs.push([one, byFirst[j] as T]);
  }
  return pairs;
}

/** Text that sorts as the first addresses do, the shorter prefix first. */
function sortKey(prefix: Prefix): string {
  const [address = "", length = ""] = prefix.split("/");
  if (!address.includes(":"))
    return `4 ${address
      .split(".")
      .map((n) => n.padStart(3, "0"))
      .join(".")} ${length.padStart(3, "0")}`;
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right] as string[];
  return `6 ${groups.map((g) => g.padStart(4, "0")).join(":")} ${length.padStart(3, "0")}`;
}

function nodesGone(api: ApiState): CheckFinding[] {
  const nodes = new Set(api.nodes.map((n) => n.name));
  const found: CheckFinding[] = [];
  for (const block of api.blocks) {
    if (block.node !== undefined && !nodes.has(block.node)) {
      found.push({
        code: "node-gone",
        object: `IPBlock ${block.name}`,
        message: `there is no node ${block.node}, which has it`,
        remedy:
          "The controller frees it five minutes after the node went; if it does not: is weft controller running?",
      });
    }
    if (block.node === undefined && block.loans.length === 0) {
      found.push({
        code: "node-gone",
        object: `IPBlock ${block.name}`,
        message: "its node is gone, and nothing of it is on loan any more",
        remedy: "The controller deletes it; if it does not: is weft controller running?",
      });
    }
    for (const loan of block.loans) {
      if (!nodes.has(loan.node)) {
        found.push({
          code: "loan-of-gone-node",
          object: `IPBlock ${block.name}`,
          message: `${loan.address ?? "an address"} is on loan to node ${loan.node}, which does not exist`,
          remedy:
            "The controller returns it five minutes after the node went; if it does not: is weft controller running?",
        });
      } else if (loan.returned && block.node !== undefined && loan.address !== undefined) {
        found.push({
          code: "loan-unanswered",
          object: `IPBlock ${block.name}`,
          message: `node ${loan.node} has given ${loan.address} back, and node ${block.node} has not taken it yet`,
          remedy: `It does within seconds; if this stays: is the agent of ${block.node} running?`,
        });
      } else if (loan.address === undefined && loan.refused === undefined && block.node !== undefined) {
        found.push({
          code: "loan-unanswered",
          object: `IPBlock ${block.name}`,
          message: `node ${loan.node} asks for an address of it, and node ${block.node} has not answered yet`,
          remedy: `It does within seconds; if this stays: is the agent of ${block.node} running?`,
        });
      }
    }
  }
  return found;
}

function podsTwice(api: ApiState): CheckFinding[] {
  const holders = new Map<IpAddress, Set<string>>();
  for (const pod of podsWithAddresses(api)) {
    for (const ip of pod.ips) {
      const set = holders.get(ip) ?? new Set();
      holders.set(ip, set.add(`pod ${podName(pod)} on node ${pod.node}`));
    }
  }
  return twice(holders, "in their statuses");
}

function leasesTwice(agents: readonly NodeAddresses[]): CheckFinding[] {
  const holders = new Map<IpAddress, Set<string>>();
  for (const { node, leases } of agents) {
    for (const { address, origin, id } of leases) {
      const set = holders.get(address) ?? new Set();
      holders.set(address, set.add(`${origin.pod ?? id} on node ${node}`));
    }
  }
  return twice(holders, "in the ledgers of their agents");
}

const twice = (holders: ReadonlyMap<IpAddress, ReadonlySet<string>>, where: string): CheckFinding[] =>
  [...holders]
    .filter(([, all]) => all.size > 1)
    .map(([address, all]) => ({
      code: "address-twice",
      object: `address ${address}`,
      message: `${[...all].join(" and ")} have it, ${where}`,
      remedy: `Start the younger one anew; weft ipam show ${address} says who had it first.`,
    }));

/** A pod of this network whose address is in no range of its node, by whatever network it was given. */
function podsOutside(api: ApiState): CheckFinding[] {
  const nodes = new Map(api.nodes.map((n) => [n.name, n]));
  const blocks = new RangeIndex(api.blocks, (b) => b.prefix);
  return podsWithAddresses(api).flatMap((pod): CheckFinding[] => {
    const node = nodes.get(pod.node ?? "");
    if (node === undefined || node.isOthers) return [];
    const lost = pod.ips.filter(
      (ip) => !node.podCIDRs.some((r) => contains(r, ip)) && blocks.of(ip) === undefined,
    );
    if (lost.length === 0) return [];
    return [
      {
        code: "pod-outside-ranges",
        object: `pod ${podName(pod)}`,
        message: `${lost.join(", ")} ${lost.length === 1 ? "is" : "are"} in no podCIDR of node ${node.name} and in no block`,
        remedy: "Other nodes have no route there: start the pod anew.",
      },
    ];
  });
}

/** Pods and the copies of ledgers in IPBlocks. */
function allocations(api: ApiState, now: number): CheckFinding[] {
  const found: CheckFinding[] = [];
  const byUid = new Map(api.pods.flatMap((p) => (p.uid === "" ? [] : [[p.uid, p] as const])));
  const names = new Set(api.pods.map(podName));
  const allocated = new Map<IpAddress, IpBlock>();
  const blocks = new RangeIndex(api.blocks, (b) => b.prefix);
  for (const block of api.blocks) {
    for (const { address, pod, podUid, since, node } of block.allocations) {
      allocated.set(address, block);
      if (pod === undefined || node !== undefined || now - since < SETTLED_MS) continue;
      if (podUid === undefined ? names.has(pod) : byUid.has(podUid) || names.has(pod)) continue;
      found.push({
        code: "lease-without-pod",
        object: `IPBlock ${block.name}`,
        message: `${address} is held for pod ${pod}, which the API does not have, on node ${block.node ?? "(gone)"}`,
        remedy: `Its agent takes it back by itself once nothing of it lives: weft ipam show ${address}, and weft status on that node.`,
      });
    }
    for (const loan of block.loans) if (loan.address !== undefined) allocated.set(loan.address, block);
  }
  for (const pod of podsWithAddresses(api)) {
    if (now - pod.created < SETTLED_MS) continue;
    for (const ip of pod.ips) {
      const block = blocks.of(ip);
      // The copy may be of before the pod.
      if (block === undefined || allocated.has(ip) || (block.reported ?? 0) < pod.created) continue;
      found.push({
        code: "pod-without-lease",
        object: `pod ${podName(pod)}`,
        message: `it has ${ip} of block ${block.prefix}, and nobody holds that for it`,
        remedy: "The address may be given to another pod: start this one anew.",
      });
    }
  }
  return found;
}

/** Pods and copies in IPBlocks against the ledgers of the agents that answer. */
function ledgers(api: ApiState, agents: readonly NodeAddresses[], now: number): CheckFinding[] {
  const found: CheckFinding[] = [];
  const pods = Map.groupBy(podsWithAddresses(api), (p) => p.node);
  // By name: of a static pod the runtime has another uid than the API. One of that name elsewhere is another pod.
  const places = new Map(api.pods.map((p) => [podName(p), p.node]));
  for (const agent of agents) {
    const leases = new Map(agent.leases.map((l) => [l.address, l]));
    const held = new Set([...leases.keys(), ...agent.held.map((h) => h.address)]);
    for (const { address, origin } of agent.leases) {
      if (origin.pod === undefined || now - (origin.since ?? 0) < SETTLED_MS) continue;
      if (places.get(origin.pod) === agent.node) continue;
      found.push({
        code: "lease-without-pod",
        object: `address ${address}`,
        message: `node ${agent.node} holds it for pod ${origin.pod}, which the API does not have there`,
        remedy: `Its agent takes it back by itself once nothing of it lives: weft ipam show ${address}, and weft status on that node.`,
      });
    }
    for (const pod of pods.get(agent.node) ?? []) {
      if (now - pod.created < SETTLED_MS) continue;
      const own = pod.ips.filter((ip) => agent.ranges.some((r) => contains(r.prefix, ip)));
      for (const ip of own.filter((a) => !leases.has(a))) {
        found.push({
          code: "pod-without-lease",
          object: `pod ${podName(pod)}`,
          message: `it has ${ip}, which the ledger of node ${agent.node} does not have`,
          remedy: "The address may be given to another pod: start this one anew.",
        });
      }
    }
    for (const block of api.blocks) {
      if (block.node !== agent.node || block.reported === undefined) continue;
      if (now - block.reported < SETTLED_MS) continue;
      const listed = new Set(block.allocations.map((a) => a.address));
      const extra = [...listed].filter((a) => !held.has(a));
      const lacking = agent.leases.filter(
        (l) =>
          contains(block.prefix, l.address) &&
          !listed.has(l.address) &&
          now - (l.origin.since ?? 0) > SETTLED_MS,
      );
      if (extra.length + lacking.length === 0) continue;
      const parts = [
        ...(extra.length === 0 ? [] : [`has ${extra.join(", ")} too much`]),
        ...(lacking.length === 0 ? [] : [`lacks ${lacking.map((l) => l.address).join(", ")}`]),
      ];
      found.push({
        code: "copy-differs",
        object: `IPBlock ${block.name}`,
        message: `its status, of ${new Date(block.reported).toISOString()}, ${parts.join(" and ")}, by the ledger of node ${agent.node}`,
        remedy: "The agent writes it anew by itself; if this stays, its log says why it cannot.",
      });
    }
  }
  return found;
}
