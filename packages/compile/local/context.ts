/** What the pod side of the agent needs to know of its node, and what keeps it from knowing. */
import type { Family, IpAddress } from "@weft/base";
import type { NodeContext, Problem } from "@weft/model";
import { BACKENDS } from "../overlay/registry.ts";
import { FAMILIES, type LocalNode, sourceOf } from "./local.ts";

/** Smallest MTU that IPv6 works with (RFC 8200 section 5). */
const IPV6_LEAST_MTU = 1280;

export function contextOf(local: LocalNode): NodeContext | Problem {
  const backend = BACKENDS[local.settings.backend];
  const unusable = backend.unusable(local);
  if (unusable !== undefined) return unusable;
  const derived = backend.mtu(local);
  const origin = { ...local.node.origin, field: "status.addresses" };
  if (derived === undefined) {
    return {
      key: "context",
      message: `node ${local.node.name} has no address`,
      hint: "Give the node an InternalIP in status.addresses.",
      origin,
    };
  }
  const wanted = local.settings.mtu;
  if (wanted !== "auto" && wanted > derived) {
    return {
      key: "mtu",
      message: `mtu ${wanted} does not fit: backend ${backend.name} on this underlay carries ${derived}`,
      hint: `Set mtu to auto, or to ${derived} or less, or raise the underlay's MTU.`,
      origin: { kind: "Settings", name: "weft", field: "mtu" },
    };
  }
  const podMtu = wanted === "auto" ? derived : wanted;
  const hasV6 = local.blocks.some((b) => b.prefix.includes(":"));
  if (hasV6 && podMtu < IPV6_LEAST_MTU) {
    return {
      key: "mtu",
      message: `pods would have an MTU of ${podMtu}, but IPv6 needs ${IPV6_LEAST_MTU}`,
      hint: "Raise the underlay's MTU.",
      origin,
    };
  }
  const sources: Partial<Record<Family, IpAddress>> = {};
  for (const family of FAMILIES) {
    const source = sourceOf(local, family);
    if (source !== undefined) sources[family] = source;
  }
  return {
    node: local.node.name,
    blocks: local.blocks.map((b) => b.prefix),
    sources,
    reserved: Object.values(local.tunnelAddresses),
    podMtu,
  };
}
