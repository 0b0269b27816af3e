/** Rows that a node holds because it is a node: forwarding, and a floor under each of its own blocks. */
import type { PlanRow } from "@weft/model";
import { unreachableBlock } from "../overlay/backend.ts";
import type { LocalNode } from "./local.ts";

export function nodeRows(local: LocalNode): PlanRow[] {
  const origin = { kind: "Node", name: local.node.name };
  const rows: PlanRow[] = [];
  // Forwarding makes the kernel ignore router advertisements unless accept_ra is 2: an uplink that lives by
  // them would lose its default route. So this comes first, and an uplink that ignores them is left alone.
  for (const link of local.uplinks) {
    if (!link.acceptsRouterAdvertisements) continue;
    rows.push({ kind: "sysctl", stage: 0, key: `net/ipv6/conf/${link.name}/accept_ra`, value: "2", origin });
  }
  rows.push({ kind: "sysctl", stage: 1, key: "net/ipv4/ip_forward", value: "1", origin });
  rows.push({ kind: "sysctl", stage: 1, key: "net/ipv6/conf/all/forwarding", value: "1", origin });
  // Addresses of own blocks that no pod has must end here, not loop through a default route.
  for (const block of local.blocks) rows.push(unreachableBlock(block));
  return rows;
}
