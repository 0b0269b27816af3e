/**
 * One workload into plan rows: its veth pair and the container's side of it, the node's routes and permanent
 * neighbour entries, what it may send from, and ports of the node that lead to it. Pure and constant in the number of workloads.
 */
import { familyOf, hostPrefix, linkLocalOf, type Mac, parseMac } from "@weft/base";
import { type NodeContext, type PlanRow, type Workload, workloadOrigin } from "@weft/model";
import { ROUTE_METRIC } from "../overlay/backend.ts";
import { hostPortRows } from "./host-ports.ts";

/** Ethernet address of the node's end of every pair: what a container's gateway entry points to. */
export const GATEWAY_MAC: Mac = parseMac("02:77:65:66:74:01");

export function attachmentRows(w: Workload, context: NodeContext): PlanRow[] {
  const origin = workloadOrigin(w);
  const rows: PlanRow[] = [];
  const hasV6 = w.addresses.some((a) => familyOf(a) === 6);
  for (const ip of hasV6 ? [...w.addresses, linkLocalOf(w.mac)] : w.addresses) {
    rows.push({ kind: "allowed-source", link: w.hostLink, mac: w.mac, ip, origin });
  }
  rows.push({
    kind: "attachment",
    workload: w.id,
    namespacePath: w.namespacePath,
    namespaceIdentity: w.namespaceIdentity,
    hostLink: w.hostLink,
    hostMac: GATEWAY_MAC,
    alias:
      w.podName === undefined
        ? `container ${w.containerId.slice(0, 64)}`
        : `pod ${w.podNamespace}/${w.podName}`,
    interface: w.interface,
    mac: w.mac,
    mtu: context.podMtu,
    addresses: w.addresses,
    origin,
  });
  for (const ip of w.addresses) {
    rows.push({ kind: "neighbour", link: w.hostLink, ip, mac: w.mac, origin });
    rows.push({
      kind: "route",
      destination: hostPrefix(ip),
      table: 254,
      type: "unicast",
      link: w.hostLink,
      gateway: undefined,
      onlink: false,
      source: context.sources[familyOf(ip)],
      metric: ROUTE_METRIC,
      origin,
    });
  }
  return [...rows, ...hostPortRows(w)];
}
