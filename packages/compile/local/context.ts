/** What the pod side of the agent needs to know of its node, and what keeps it from knowing. */
import { type Family, type IpAddress, prefixIp } from "@weft/base";
import type { NodeContext, PlanRow, Problem } from "@weft/model";
import { BACKENDS } from "../overlay/registry.ts";
import { addressOf, FAMILIES, type LocalNode } from "./local.ts";
import { tunnelCandidates } from "./tunnel-address.ts";

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
      hint: "Raise the underlay's MTU, or give this node no IPv6 range: a pool's spec.nodeSelector can leave it out.",
      origin,
    };
  }
  const sources: Partial<Record<Family, IpAddress>> = {};
  const held = heldAddresses(backend.device(local));
  for (const family of FAMILIES) {
    const source = addressOf(local.node, family) ?? held.find((ip) => ip === local.tunnelAddresses[family]);
    if (source !== undefined) sources[family] = source;
  }
  return {
    node: local.node.name,
    exclusive: local.node.network === "weft",
    blocks: local.blocks.map(({ prefix, pool, lentFrom }) => ({
      prefix,
      ...(pool !== undefined && { pool }),
      ...(lentFrom !== undefined && { lentFrom }),
    })),
    sources,
    reserved: tunnelCandidates(local.blocks),
    podMtu,
  };
}

/** The kernel refuses a route from an address that the node does not have, and not every backend has a tunnel. */
const heldAddresses = (device: readonly PlanRow[]): IpAddress[] =>
  device.filter((row) => row.kind === "address").map((row) => prefixIp(row.address));
