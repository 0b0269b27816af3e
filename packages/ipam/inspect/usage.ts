/** How full pools and nodes are. */
import { contains, type IpAddress, type Prefix } from "@weft/base";
import type { IpBlock, RangeUse, SecondsLeft } from "@weft/model";
import { poolRange, rangeSize, usableRange } from "../block.ts";
import type { ApiState, ClusterState, PoolFact } from "./state.ts";
import { podsWithAddresses } from "./state.ts";

export interface PoolUse {
  readonly pool: string;
  readonly cidr: Prefix;
  readonly blockSize: number;
  /** Addresses that can be handed out, at most Number.MAX_SAFE_INTEGER. */
  readonly size: number;
  readonly used: number;
  readonly blocks: number;
  readonly nodes: number;
  readonly loans: number;
  /** The node whose blocks of this pool are used most. */
  readonly fullest: { readonly node: string; readonly used: number; readonly size: number } | undefined;
  readonly left: SecondsLeft;
  readonly state: string;
}

export interface NodeRangeUse {
  readonly node: string;
  readonly range: Prefix;
  readonly size: number;
  readonly used: number;
  readonly left: SecondsLeft;
  /** Whose counting it is: the agent's ledger, or the statuses of pods. */
  readonly by: "agent" | "pods";
}

export interface UsageReport {
  readonly pools: readonly PoolUse[];
  readonly nodes: readonly NodeRangeUse[];
}

/** `left` says until when a pool lasts, where somebody knows. */
export function usageReport(
  state: ClusterState,
  left: (pool: string) => SecondsLeft = () => undefined,
): UsageReport {
  return {
    pools:
      state.api === undefined ? poolsOfAgents(state) : state.api.pools.map((p) => poolUse(p, state, left)),
    nodes: nodeRanges(state),
  };
}

/** Addresses of a block that somebody has: as its node's agent says, or else as its status and its loans do. */
export function blockUse(block: IpBlock, agents: ClusterState["agents"]): { used: number; size: number } {
  const ledger = agents
    .find((a) => a.node === block.node)
    ?.ranges.find((r) => r.prefix === block.prefix && r.lentFrom === undefined);
  if (ledger !== undefined) return { used: ledger.used, size: ledger.size };
  const held = new Set<IpAddress>(block.allocations.map((a) => a.address));
  for (const loan of block.loans) if (loan.address !== undefined) held.add(loan.address);
  if (block.tunnelAddress !== undefined) held.add(block.tunnelAddress);
  return { used: held.size, size: 0 };
}

function poolUse(
  pool: PoolFact,
  { api, agents }: ClusterState,
  left: (pool: string) => SecondsLeft,
): PoolUse {
  const blocks = (api as ApiState).blocks.filter((b) => b.pool === pool.name && b.poolUid === pool.uid);
  const byNode = new Map<string, { used: number; size: number }>();
  let used = 0;
  for (const block of blocks) {
    const use = blockUse(block, agents);
    used += use.used;
    if (block.node === undefined) continue;
    const sum = byNode.get(block.node) ?? { used: 0, size: 0 };
    sum.used += use.used;
    sum.size += rangeSize(poolRange(block.prefix, pool.cidr));
    byNode.set(block.node, sum);
  }
  const [fullest] = [...byNode]
    .map(([node, use]) => ({ node, ...use }))
    .sort((a, b) => b.used / b.size - a.used / a.size || (a.node < b.node ? -1 : 1));
  return {
    pool: pool.name,
    cidr: pool.cidr,
    blockSize: pool.blockSize,
    size: rangeSize(usableRange(pool.cidr)),
    used,
    blocks: blocks.length,
    nodes: byNode.size,
    loans: blocks.reduce((n, b) => n + b.loans.filter((l) => l.address !== undefined).length, 0),
    fullest,
    left: left(pool.name),
    state: pool.disabled ? "disabled" : pool.ready ? "ready" : "not ready",
  };
}

/** Of pools that only agents know of: their blocks. */
function poolsOfAgents({ agents }: ClusterState): PoolUse[] {
  const all = agents.flatMap((a) => a.ranges.map((r) => ({ node: a.node, ...r })));
  const own = all.filter((r) => r.pool !== undefined && r.lentFrom === undefined);
  return [...Map.groupBy(own, (r) => r.pool as string)].map(([pool, ranges]): PoolUse => {
    const byNode = [...Map.groupBy(ranges, (r) => r.node)].map(([node, list]) => ({
      node,
      used: sum(list, (r) => r.used),
      size: sum(list, (r) => r.size),
    }));
    byNode.sort((a, b) => b.used / b.size - a.used / a.size || (a.node < b.node ? -1 : 1));
    return {
      pool,
      cidr: "" as Prefix,
      blockSize: 0,
      size: sum(ranges, (r) => r.size),
      used: sum(ranges, (r) => r.used),
      blocks: ranges.length,
      nodes: byNode.length,
      loans: sum(ranges, (r) => r.lent),
      fullest: byNode[0],
      left: undefined,
      state: "as agents have it",
    };
  });
}

const sum = <T>(list: readonly T[], of: (one: T) => number): number =>
  list.reduce((n, one) => n + of(one), 0);

function nodeRanges({ api, agents }: ClusterState): NodeRangeUse[] {
  const known = new Map(agents.map((a) => [a.node, a]));
  const byAgent = (node: string, ranges: readonly RangeUse[]): NodeRangeUse[] =>
    ranges
      .filter((r) => r.pool === undefined && r.lentFrom === undefined)
      .map(({ prefix, size, used, left }) => ({
        node,
        range: prefix,
        size,
        used,
        left,
        by: "agent" as const,
      }));
  if (api === undefined) return agents.flatMap((a) => byAgent(a.node, a.ranges));
  const pods = Map.groupBy(podsWithAddresses(api), (p) => p.node ?? "");
  return api.nodes
    .filter((n) => !n.isOthers)
    .flatMap((n) => {
      const agent = known.get(n.name);
      if (agent !== undefined) return byAgent(n.name, agent.ranges);
      return n.podCIDRs.map(
        (range): NodeRangeUse => ({
          node: n.name,
          range,
          size: rangeSize(usableRange(range)),
          used: (pods.get(n.name) ?? []).flatMap((p) => p.ips).filter((ip) => contains(range, ip)).length,
          left: undefined,
          by: "pods",
        }),
      );
    });
}
