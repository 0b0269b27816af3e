/**
 * The node as seen from itself: which of its links is the underlay, which addresses it sends from, how large a
 * pod's packet may be. One row, from settings, the own Node, its blocks, and what the kernel tells of links.
 */
import {
  bitsOf,
  contains,
  type Family,
  familyOf,
  type IpAddress,
  type IpWithLength,
  networkOf,
  prefixIp,
} from "@weft/base";
import type { Block, Capabilities, IpPool, Node, Problem, Settings, UnderlayLink } from "@weft/model";
import { tunnelAddressOf } from "./tunnel-address.ts";

export interface UnderlayEnd {
  readonly link: string;
  readonly address: IpWithLength;
  readonly mtu: number;
}

export interface LocalNode {
  readonly node: Node;
  readonly settings: Settings;
  readonly capabilities: Capabilities;
  readonly blocks: readonly Block[];
  /** Those that its blocks are of. */
  readonly pools: readonly IpPool[];
  /** Where the node's address of that family is. */
  readonly underlay: Readonly<Partial<Record<Family, UnderlayEnd>>>;
  /** Own end of the tunnel inside it, by family of the pods. */
  readonly tunnelAddresses: Readonly<Partial<Record<Family, IpAddress>>>;
  readonly uplinks: readonly UnderlayLink[];
}

export type Located = { readonly local: LocalNode } | { readonly problem: Problem };

export const FAMILIES: readonly Family[] = [4, 6];

/** Finds the node's own addresses on its links. A node address that is nowhere is a problem, not a guess. */
export function locate(
  node: Node,
  settings: Settings,
  capabilities: Capabilities,
  blocks: readonly Block[],
  pools: readonly IpPool[],
  links: readonly UnderlayLink[],
): Located {
  const underlay: Partial<Record<Family, UnderlayEnd>> = {};
  const uplinks = new Map<string, UnderlayLink>();
  for (const ip of node.addresses) {
    const found = findAddress(links, ip);
    if (found === undefined) {
      return {
        problem: {
          key: `underlay ${ip}`,
          message: `node address ${ip} is on none of this machine's links`,
          hint: "Give the link its address, or correct the node's InternalIP in status.addresses.",
          origin: { ...node.origin, field: "status.addresses" },
        },
      };
    }
    underlay[familyOf(ip)] = { link: found.link.name, address: found.address, mtu: found.link.mtu };
    uplinks.set(found.link.name, found.link);
  }
  const tunnelAddresses: Partial<Record<Family, IpAddress>> = {};
  for (const family of FAMILIES) {
    const address = tunnelAddressOf(blocks, family);
    if (address !== undefined) tunnelAddresses[family] = address;
  }
  return {
    local: {
      node,
      settings,
      capabilities,
      blocks,
      pools,
      underlay,
      tunnelAddresses,
      uplinks: [...uplinks.values()],
    },
  };
}

function findAddress(
  links: readonly UnderlayLink[],
  ip: IpAddress,
): { link: UnderlayLink; address: IpWithLength } | undefined {
  for (const link of links) {
    for (const address of link.addresses) if (prefixIp(address) === ip) return { link, address };
  }
  return undefined;
}

/** True if `ip` is a neighbour of ours: on the link that our own address of that family is on. */
export function onSameSubnet(local: LocalNode, ip: IpAddress): boolean {
  const end = local.underlay[familyOf(ip)];
  return (
    end !== undefined &&
    Number(end.address.split("/")[1]) < bitsOf(familyOf(ip)) &&
    contains(networkOf(end.address), ip)
  );
}

/** The node's address of that family. */
export const addressOf = (node: Node, family: Family): IpAddress | undefined =>
  node.addresses.find((a) => familyOf(a) === family);
