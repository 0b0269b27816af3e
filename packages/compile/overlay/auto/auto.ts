/**
 * auto: direct to nodes on our own subnet, VXLAN to all others. Chosen for each block, because a peer may be a
 * neighbour in one family only. Two nodes always choose alike: being on one subnet is mutual.
 */
import { familyOf } from "@weft/base";
import type { Block } from "@weft/model";
import { addressOf, FAMILIES, type LocalNode, onSameSubnet } from "../../local/local.ts";
import type { Backend, Peer } from "../backend.ts";
import { direct } from "../direct/direct.ts";
import { vxlan } from "../vxlan/vxlan.ts";

function goesDirect(local: LocalNode, peer: Peer, block: Block): boolean {
  const via = addressOf(peer.node, familyOf(block.prefix));
  return via !== undefined && onSameSubnet(local, via);
}

export const auto: Backend = {
  name: "auto",
  mtu(local) {
    const mtus = [direct.mtu(local), vxlan.mtu(local)].filter((m) => m !== undefined);
    return mtus.length === 0 ? undefined : Math.min(...mtus);
  },
  unusable: (local) => vxlan.unusable(local),
  device: (local) => vxlan.device(local),
  peer(local, peer) {
    // A neighbour's own address is reached without the tunnel in that family, so only the rest is kept.
    const rows = vxlan.peer(local, peer).filter((row) => {
      if (row.kind !== "route") return true;
      const ip = addressOf(peer.node, familyOf(row.destination));
      return ip === undefined || !onSameSubnet(local, ip);
    });
    const direct4and6 = FAMILIES.every((family) => {
      const blocks = peer.blocks.filter((b) => familyOf(b.prefix) === family);
      return blocks.every((b) => goesDirect(local, peer, b));
    });
    return direct4and6 ? [] : rows;
  },
  reach: (local, peer, block) => (goesDirect(local, peer, block) ? direct : vxlan).reach(local, peer, block),
};
