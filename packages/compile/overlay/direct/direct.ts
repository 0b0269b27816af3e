/**
 * direct: no encapsulation. The route to a peer's block goes through the peer's own address, which must be a
 * neighbour on our subnet: a router between would have to know pod routes, and it was not told any.
 */
import { familyOf } from "@weft/base";
import { addressOf, onSameSubnet } from "../../local/local.ts";
import { type Backend, blockRoute, unreachableBlock } from "../backend.ts";

export const direct: Backend = {
  name: "direct",
  mtu(local) {
    const mtus = [local.underlay[4]?.mtu, local.underlay[6]?.mtu].filter((m) => m !== undefined);
    return mtus.length === 0 ? undefined : Math.min(...mtus);
  },
  unusable: () => undefined,
  device: () => [],
  peer: () => [],
  reach(local, peer, block) {
    const family = familyOf(block.prefix);
    const via = addressOf(peer.node, family);
    const end = local.underlay[family];
    const source = addressOf(local.node, family);
    if (via !== undefined && end !== undefined && source !== undefined && onSameSubnet(local, via)) {
      return {
        path: { node: peer.node.name, block: block.prefix, backend: "direct", via },
        rows: [blockRoute(block, end.link, via, false, source)],
      };
    }
    const why =
      via === undefined || end === undefined
        ? `${via === undefined ? peer.node.name : local.node.name} has no IPv${family} address`
        : `${via} is not on the subnet of ${end.address}`;
    return {
      problem: {
        key: `direct ${peer.node.name} ${block.prefix}`,
        message: `block ${block.prefix} of node ${peer.node.name} cannot be reached directly: ${why}`,
        hint: "Set backend to auto or vxlan.",
        origin: block.origin,
      },
      rows: [unreachableBlock(block)],
    };
  },
};
