/** Who has an address, what a block, pool, node or pod has. */
import { contains, type IpAddress, isIp, type Prefix, parseIp, parsePrefix } from "@weft/base";
import type { AddressFormer, AddressOrigin, IpBlock, NodeAddresses } from "@weft/model";
import { RangeIndex } from "./range-index.ts";
import { type ClusterState, podName, podsWithAddresses } from "./state.ts";

/** One way in which an address is held, and who says so. */
export interface Holding {
  readonly address: IpAddress;
  readonly by: "agent" | "IPBlock" | "Pod";
  readonly origin: AddressOrigin;
  /** In words: "ready", "on loan", "end of a tunnel", "borrowed". */
  readonly state: string;
  readonly block: Prefix | undefined;
  readonly pool: string | undefined;
}

export interface Answer {
  readonly kind: "address" | "pool" | "block" | "node" | "pod";
  readonly what: string;
  readonly holdings: readonly Holding[];
  /** Those that had it before, the latest first; as far as the agents that were asked remember. */
  readonly former: readonly AddressFormer[];
  /** Of an address: the range that it is of, whoever's. */
  readonly range:
    | { readonly prefix: Prefix; readonly pool: string | undefined; readonly node: string | undefined }
    | undefined;
  /** Of a block. */
  readonly blocks: readonly IpBlock[];
}

/** Every way in which addresses are held now. */
export function holdings({ api, agents }: ClusterState): Holding[] {
  const found: Holding[] = agents.flatMap(ofAgent);
  if (api === undefined) return found;
  for (const block of api.blocks) {
    for (const a of block.allocations) {
      // The end of a tunnel is told of below.
      if (a.address === block.tunnelAddress) continue;
      found.push({
        address: a.address,
        by: "IPBlock",
        origin: {
          node: a.node ?? block.node ?? "",
          pod: a.pod,
          podUid: a.podUid,
          containerId: a.containerId,
          interface: undefined,
          since: a.since === 0 ? undefined : a.since,
        },
        state: a.node === undefined ? "ready" : "on loan",
        block: block.prefix,
        pool: block.pool,
      });
    }
    for (const l of block.loans) {
      if (l.address === undefined || block.allocations.some((a) => a.address === l.address)) continue;
      found.push({
        address: l.address,
        by: "IPBlock",
        origin: { ...nobody(l.node), pod: l.pod },
        state: l.tunnel ? "end of a tunnel, on loan" : l.returned ? "on loan, going back" : "on loan",
        block: block.prefix,
        pool: block.pool,
      });
    }
    if (block.tunnelAddress !== undefined && block.node !== undefined) {
      found.push({
        address: block.tunnelAddress,
        by: "IPBlock",
        origin: nobody(block.node),
        state: "end of a tunnel",
        block: block.prefix,
        pool: block.pool,
      });
    }
  }
  const blocks = new RangeIndex(api.blocks, (b) => b.prefix);
  for (const pod of podsWithAddresses(api)) {
    for (const address of pod.ips) {
      const block = blocks.of(address);
      found.push({
        address,
        by: "Pod",
        origin: { ...nobody(pod.node ?? ""), pod: podName(pod), podUid: pod.uid },
        state: "in its status",
        block: block?.prefix,
        pool: block?.pool,
      });
    }
  }
  return found;
}

const nobody = (node: string): AddressOrigin => ({
  node,
  pod: undefined,
  podUid: undefined,
  containerId: undefined,
  interface: undefined,
  since: undefined,
});

function ofAgent({ node, leases, held, ranges }: NodeAddresses): Holding[] {
  const rangeOf = (address: IpAddress) => {
    const inside = ranges.filter((r) => contains(r.prefix, address));
    // A borrowed address is a range of its own, which says more than one that it lies in.
    return inside.find((r) => r.lentFrom !== undefined) ?? inside[0];
  };
  return [
    ...leases.map(({ address, origin, state }): Holding => {
      const range = rangeOf(address);
      return {
        address,
        by: "agent",
        origin,
        state: range?.lentFrom === undefined ? state : `${state}, borrowed`,
        block: range?.lentFrom ?? range?.prefix,
        pool: range?.pool,
      };
    }),
    ...held.map(
      ({ address, block, node: holder, pod, loan, since }): Holding => ({
        address,
        by: "agent",
        origin: { ...nobody(holder), pod, since },
        state: loan === undefined ? "end of a tunnel" : `on loan from ${node}`,
        block,
        pool: rangeOf(address)?.pool,
      }),
    ),
  ];
}

/** Undefined: there is nothing of that name. Throws "invalid" for a prefix that is none. */
export function find(state: ClusterState, what: string): Answer | undefined {
  const all = holdings(state);
  const former = state.agents.flatMap((a) => a.former);
  const none = { holdings: [], former: [], range: undefined, blocks: [] };
  if (isIp(what)) {
    const address = parseIp(what);
    return {
      kind: "address",
      what: address,
      holdings: all.filter((h) => h.address === address),
      former: former.filter((f) => f.address === address),
      range: rangeOf(state, address),
      blocks: [],
    };
  }
  const blocks = state.api?.blocks ?? [];
  if (/^[0-9a-fA-F:.]+\/[0-9]+$/.test(what)) {
    const prefix = parsePrefix(what);
    return {
      ...none,
      kind: "block",
      what: prefix,
      ...within(all, former, prefix),
      blocks: blocks.filter((b) => b.prefix === prefix),
    };
  }
  if (what.includes("/")) {
    const mine = all.filter((h) => h.origin.pod === what);
    const mineBefore = former.filter((f) => f.origin.pod === what);
    const exists = state.api?.pods.some((p) => podName(p) === what) === true;
    if (mine.length === 0 && mineBefore.length === 0 && !exists) return undefined;
    return { ...none, kind: "pod", what, holdings: mine, former: mineBefore };
  }
  const pool = state.api?.pools.find((p) => p.name === what);
  if (pool !== undefined || all.some((h) => h.pool === what)) {
    const own = blocks.filter((b) => b.pool === what);
    return { ...none, kind: "pool", what, holdings: all.filter((h) => h.pool === what), blocks: own };
  }
  const block = blocks.find((b) => b.name === what);
  if (block !== undefined)
    return { ...none, kind: "block", what, ...within(all, former, block.prefix), blocks: [block] };
  const isNode =
    state.api?.nodes.some((n) => n.name === what) === true || state.agents.some((a) => a.node === what);
  if (isNode) {
    return {
      ...none,
      kind: "node",
      what,
      holdings: all.filter((h) => h.origin.node === what),
      blocks: blocks.filter((b) => b.node === what),
    };
  }
  const byContainer = all.filter((h) => what.length >= 8 && h.origin.containerId?.startsWith(what) === true);
  const formerly = former.filter((f) => what.length >= 8 && f.origin.containerId?.startsWith(what) === true);
  if (byContainer.length + formerly.length === 0) return undefined;
  return { ...none, kind: "pod", what, holdings: byContainer, former: formerly };
}

const within = (all: readonly Holding[], former: readonly AddressFormer[], prefix: Prefix) => ({
  holdings: all.filter((h) => contains(prefix, h.address)),
  former: former.filter((f) => contains(prefix, f.address)),
});

function rangeOf({ api, agents }: ClusterState, address: IpAddress): Answer["range"] {
  const block = api?.blocks.find((b) => contains(b.prefix, address));
  if (block !== undefined) return { prefix: block.prefix, pool: block.pool, node: block.node };
  for (const node of api?.nodes ?? []) {
    const prefix = node.podCIDRs.find((p) => contains(p, address));
    if (prefix !== undefined) return { prefix, pool: undefined, node: node.name };
  }
  for (const agent of agents) {
    const range = agent.ranges.find((r) => r.lentFrom === undefined && contains(r.prefix, address));
    if (range !== undefined) return { prefix: range.prefix, pool: range.pool, node: agent.node };
  }
  const pool = api?.pools.find((p) => contains(p.cidr, address));
  return pool === undefined ? undefined : { prefix: pool.cidr, pool: pool.name, node: undefined };
}
