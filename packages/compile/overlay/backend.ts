/**
 * A backend carries packets to the pods of other nodes. One folder each; adding one is a folder and a line in
 * registry.ts. Functions are pure and know one peer at a time, so that a change of one node costs one node.
 */
import type { IpAddress } from "@weft/base";
import type { BackendName, Block, Node, PeerPath, PlanRow, Problem } from "@weft/model";
import type { LocalNode } from "../local/local.ts";

/** A peer with all of its blocks, sorted. */
export interface Peer {
  readonly node: Node;
  readonly blocks: readonly Block[];
}

/** How one block of a peer is reached: rows for the kernel and the path for `status`; or why it is not. */
export type Reach =
  | { readonly path: PeerPath; readonly rows: readonly PlanRow[] }
  | { readonly problem: Problem; readonly rows: readonly PlanRow[] };

export interface Backend {
  readonly name: BackendName;
  /** The largest packet that a pod may send through this backend, for every peer that could appear. */
  mtu(local: LocalNode): number | undefined;
  /** Why this backend cannot run on this node at all, if it cannot. */
  unusable(local: LocalNode): Problem | undefined;
  /** What the node holds whatever its peers are: devices, their addresses. */
  device(local: LocalNode): readonly PlanRow[];
  /** What the node holds once for a peer, whatever its blocks: neighbours, forwarding entries. */
  peer(local: LocalNode, peer: Peer): readonly PlanRow[];
  /** The route to one block of a peer. */
  reach(local: LocalNode, peer: Peer, block: Block): Reach;
}

/** The route that keeps an unreachable block's packets from following the default route into the fabric. */
export function unreachableBlock(block: Block): PlanRow {
  return {
    kind: "route",
    destination: block.prefix,
    table: 254,
    type: "unreachable",
    link: undefined,
    gateway: undefined,
    onlink: false,
    source: undefined,
    metric: UNREACHABLE_METRIC,
    origin: block.origin,
  };
}

/** Behind any other route to the same prefix. */
export const UNREACHABLE_METRIC = 4096;

export function blockRoute(
  block: Block,
  link: string,
  gateway: IpAddress,
  onlink: boolean,
  source: IpAddress,
): PlanRow {
  return {
    kind: "route",
    destination: block.prefix,
    table: 254,
    type: "unicast",
    link,
    gateway,
    onlink,
    source,
    metric: ROUTE_METRIC,
    origin: block.origin,
  };
}

/**
 * The kernel knows routes to one prefix apart by metric alone, and replaces by it. So this is one that nobody
 * has by default (IPv6's is 1024, its on-link routes' 256, DHCP clients' begin at 100): a route of somebody
 * else to the same prefix stays beside ours. The same in both families, because IPv6 has no metric 0.
 */
export const ROUTE_METRIC = 87;
