/** Rows that a node holds because it is a node: forwarding, and a floor under each of its own blocks. */
import { type Family, familyOf } from "@weft/base";
import type { PlanRow } from "@weft/model";
import { unreachableBlock } from "../overlay/backend.ts";
import { FAMILIES, type LocalNode } from "./local.ts";

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

export function nodeRows(local: LocalNode): PlanRow[] {
  const origin = { kind: "Node", name: local.node.name };
  const rows: PlanRow[] = [];
  const families = new Set(local.blocks.map((b) => familyOf(b.prefix)));
  // A family that no pod here has is left as the machine has it: its kernel may not even know IPv6.
  // Forwarding makes the kernel ignore router advertisements unless accept_ra is 2: an uplink that lives by
  // them would lose its default route. So this comes first, and an uplink that ignores them is left alone.
  for (const link of local.uplinks) {
    if (!link.acceptsRouterAdvertisements || !families.has(6)) continue;
    rows.push({ kind: "sysctl", stage: 0, key: `net/ipv6/conf/${link.name}/accept_ra`, value: "2", origin });
  }
  for (const family of FAMILIES)
    if (families.has(family))
      rows.push({ kind: "sysctl", stage: 1, key: FORWARDING[family], value: "1", origin });
  // Addresses of own blocks that no pod has must end here, not loop through a default route.
  for (const block of local.blocks) rows.push(unreachableBlock(block));
  return rows;
}
