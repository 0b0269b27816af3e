/**
 * vxlan (RFC 7348): every peer's tunnel end, its Ethernet address and its inner address are known beforehand,
 * so nothing is flooded or learned. A peer's VTEP address follows from its name, its inner address from its
 * podCIDRs or stands in a block; one forwarding entry a peer says which outer address it is behind, one neighbour entry a family
 * says which Ethernet address the gateway has.
 *
 * Pods talk to other nodes' own addresses through the tunnel too, by a table of its own that only packets from
 * own blocks look into: outside the tunnel they would cross the fabric with a bare pod address, inside the
 * main table the tunnel's outer packets would loop into the tunnel.
 */
import { type Family, familyOf, hostPrefix, type IpAddress, macFromSeed, withLength } from "@weft/base";
import type { Node, PlanRow, Problem, VxlanSettings } from "@weft/model";
import { addressOf, FAMILIES, type LocalNode, type UnderlayEnd } from "../../local/local.ts";
import { tunnelAddressOf } from "../../local/tunnel-address.ts";
import { type Backend, blockRoute, ROUTE_METRIC, unreachableBlock } from "../backend.ts";

export const TUNNEL_LINK = "weft-vxlan";
/** Table of other nodes' addresses through the tunnel, and priority of the rule that leads there. */
export const TUNNEL_TABLE = 8700;

/** Outer Ethernet, IP, UDP and VXLAN headers, less the inner Ethernet header that is counted in neither MTU. */
const OVERHEAD: Record<Family, number> = { 4: 50, 6: 70 };

/** Ethernet address of a node's tunnel end: the same on every node, whatever was restarted. */
export const vtepMac = (node: string) => macFromSeed(`vtep ${node}`);

/** Family of the outer packets that a node sends and takes: every node must find the same of every other. */
function outerFamilyOf(node: Node, wish: VxlanSettings["underlay"]): Family | undefined {
  const order: readonly Family[] = wish === "ipv4" ? [4] : wish === "ipv6" ? [6] : FAMILIES;
  return order.find((family) => addressOf(node, family) !== undefined);
}

/** Our end of the outer packets. */
function outer(local: LocalNode): { family: Family; end: UnderlayEnd; address: IpAddress } | undefined {
  const family = outerFamilyOf(local.node, local.settings.vxlan.underlay);
  if (family === undefined) return undefined;
  const end = local.underlay[family];
  const address = addressOf(local.node, family);
  return end === undefined || address === undefined ? undefined : { family, end, address };
}

/** A peer's end of them. A device talks one family: a peer that chose the other cannot be reached. */
function remoteOf(local: LocalNode, peer: Node): IpAddress | undefined {
  const family = outerFamilyOf(local.node, local.settings.vxlan.underlay);
  if (family === undefined || outerFamilyOf(peer, local.settings.vxlan.underlay) !== family) return undefined;
  return addressOf(peer, family);
}

export const vxlan: Backend = {
  name: "vxlan",
  mtu(local) {
    const out = outer(local);
    return out === undefined ? undefined : out.end.mtu - OVERHEAD[out.family];
  },

  unusable(local): Problem | undefined {
    const base = { key: "vxlan device", origin: { kind: "Settings", name: "weft", field: "vxlan" } };
    if (!local.capabilities.vxlan) {
      return {
        ...base,
        message: `this kernel (${local.capabilities.kernel}) has no VXLAN`,
        hint: "Load the vxlan module, or set backend to direct.",
      };
    }
    if (outer(local) !== undefined) return undefined;
    return {
      ...base,
      message: `node ${local.node.name} has no address for vxlan.underlay "${local.settings.vxlan.underlay}"`,
      hint: "Set vxlan.underlay to auto or to a family that every node has an address of.",
    };
  },

  device(local) {
    const out = outer(local);
    if (out === undefined) return [];
    const { checksum, offload, port, vni } = local.settings.vxlan;
    const origin = { kind: "Settings", name: "weft", field: "vxlan" };
    const rows: PlanRow[] = [
      {
        kind: "tunnel",
        name: TUNNEL_LINK,
        mac: vtepMac(local.node.name),
        mtu: out.end.mtu - OVERHEAD[out.family],
        vni,
        port,
        local: out.address,
        underlay: out.end.link,
        udpChecksum: checksum === "auto" ? out.family === 6 : checksum === "on",
        transmitChecksumOffload:
          offload === "auto" ? !local.capabilities.brokenVxlanChecksumOffload : offload === "on",
        origin,
      },
    ];
    for (const family of FAMILIES) {
      const ip = local.tunnelAddresses[family];
      if (ip === undefined) continue;
      rows.push({
        kind: "address",
        link: TUNNEL_LINK,
        address: withLength(ip, family === 4 ? 32 : 128),
        origin,
      });
    }
    // IPv6 packets are not fragmented on their way: a router tells the tunnel's end what is too big, and the kernel
    // notes it on the route into the tunnel. Only with this does forwarding look there, and tell an IPv4 pod.
    if (out.family === 6 && local.tunnelAddresses[4] !== undefined) {
      rows.push({ kind: "sysctl", stage: 1, key: "net/ipv4/ip_forward_use_pmtu", value: "1", origin });
    }
    for (const block of local.blocks) {
      rows.push({
        kind: "rule",
        from: block.prefix,
        table: TUNNEL_TABLE,
        priority: TUNNEL_TABLE,
        origin: block.origin,
      });
    }
    return rows;
  },

  peer(local, peer) {
    const remote = remoteOf(local, peer.node);
    if (remote === undefined) return [];
    const mac = vtepMac(peer.node.name);
    const origin = { ...peer.node.origin, field: "status.addresses" };
    const rows: PlanRow[] = [{ kind: "forwarding", link: TUNNEL_LINK, mac, remote, origin }];
    for (const family of FAMILIES) {
      const gateway = tunnelAddressOf(peer.blocks, family);
      if (gateway === undefined) continue;
      rows.push({ kind: "neighbour", link: TUNNEL_LINK, ip: gateway, mac, origin });
      const source = local.tunnelAddresses[family];
      const address = addressOf(peer.node, family);
      if (source !== undefined && address !== undefined)
        rows.push(nodeRoute(peer.node, address, gateway, source));
    }
    return rows;
  },

  reach(local, peer, block) {
    const family = familyOf(block.prefix);
    const remote = remoteOf(local, peer.node);
    const gateway = tunnelAddressOf(peer.blocks, family);
    const source = local.tunnelAddresses[family];
    if (remote !== undefined && gateway !== undefined && source !== undefined) {
      return {
        path: { node: peer.node.name, block: block.prefix, backend: "vxlan", via: remote },
        rows: [blockRoute(block, TUNNEL_LINK, gateway, true, source)],
      };
    }
    const why =
      source === undefined
        ? `node ${local.node.name} has no IPv${family} block for its end of the tunnel`
        : gateway === undefined
          ? block.pool === undefined
            ? `the block has no room for the tunnel's own address (four addresses at least)`
            : `node ${peer.node.name} has not said yet which address its end of the tunnel has`
          : differentFamilies(local, peer.node);
    return {
      problem: {
        key: `vxlan ${peer.node.name} ${block.prefix}`,
        message: `block ${block.prefix} of node ${peer.node.name} cannot be reached through VXLAN: ${why}`,
        hint: "Give both nodes a range of that family and an underlay address of one family.",
        origin: block.origin,
      },
      rows: [unreachableBlock(block)],
    };
  },
};

function differentFamilies(local: LocalNode, peer: Node): string {
  const wish = local.settings.vxlan.underlay;
  const theirs = outerFamilyOf(peer, wish);
  const they = theirs === undefined ? "has no address for that" : `over IPv${theirs}`;
  return `node ${local.node.name} sends tunnel packets over IPv${outerFamilyOf(local.node, wish)}, node ${peer.name} ${they}`;
}

/** A peer's own address as our pods reach it. */
function nodeRoute(peer: Node, address: IpAddress, gateway: IpAddress, source: IpAddress): PlanRow {
  return {
    kind: "route",
    destination: hostPrefix(address),
    table: TUNNEL_TABLE,
    type: "unicast",
    link: TUNNEL_LINK,
    gateway,
    onlink: true,
    source,
    metric: ROUTE_METRIC,
    origin: { ...peer.origin, field: "status.addresses" },
  };
}
