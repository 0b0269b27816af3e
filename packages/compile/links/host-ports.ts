/**
 * Host ports of one workload into plan rows: for each of its addresses those that are of its family, and that it may come
 * to itself by them. One whose address is of a family that the workload lacks leads nowhere, as with the reference plugin.
 */
import { familyOf } from "@weft/base";
import {
  type HostPort,
  hostAddressOf,
  type PlanRow,
  planKey,
  type Workload,
  workloadOrigin,
} from "@weft/model";

export function hostPortRows(w: Workload): PlanRow[] {
  // Two that say the same, such as one of no address and one of 0.0.0.0, are one row.
  const rows = new Map<string, PlanRow>();
  for (const target of w.addresses) {
    for (const port of w.hostPorts) {
      const address = hostAddressOf(port, familyOf(target));
      if (address === undefined) continue;
      const origin = { ...workloadOrigin(w), field: fieldOf(w, port) };
      const { hostPort, protocol, containerPort } = port;
      for (const row of [
        { kind: "host-port", address, protocol, port: hostPort, target, targetPort: containerPort, origin },
        { kind: "host-port-hairpin", ip: target, origin },
      ] as const) {
        const key = `${row.kind} ${planKey(row)}`;
        if (!rows.has(key)) rows.set(key, row);
      }
    }
  }
  return [...rows.values()];
}

/** The runtime does not say of which container of a pod a port is. */
const fieldOf = (w: Workload, { hostPort }: HostPort): string =>
  w.podName === undefined
    ? `portMappings[hostPort=${hostPort}]`
    : `spec.containers[*].ports[hostPort=${hostPort}]`;

/** Those that lead nowhere, because the workload has no address of their family. */
export const unreachableHostPorts = (w: Workload): HostPort[] =>
  w.hostPorts.filter((port) => w.addresses.every((ip) => hostAddressOf(port, familyOf(ip)) === undefined));
