/** Host ports of an ADD: read from what the runtime passes, and held against those of the node's other workloads. */
import { familyOf, type IpAddress } from "@weft/base";
import { CniError, CODE, OWN_CODE, type PortMapping } from "@weft/cni";
import type { LedgerEntry } from "@weft/ipam";
import { type FlowFilter, IP_PROTOCOL } from "@weft/kernel/port";
import {
  type HostPort,
  hostAddressOf,
  hostPortsContradict,
  hostPortsOverlap,
  hostPortText,
  isAnyAddress,
  originText,
  type Workload,
  workloadOrigin,
} from "@weft/model";

const textOf = (p: HostPort): string => hostPortText(p.hostIp, p.hostPort, p.protocol);

/** Mappings without a host port publish nothing, as Kubernetes has it. Throws CniError 7. */
export function hostPortsOf(mappings: readonly PortMapping[]): HostPort[] {
  const ports = mappings
    .filter((m) => m.hostPort !== 0)
    .map(({ hostIP, hostPort, protocol, containerPort }): HostPort => {
      const port = { hostIp: hostIP, hostPort, protocol, containerPort };
      if (containerPort === 0) throw invalid(`host port ${textOf(port)} leads to container port 0`);
      return port;
    });
  for (const [i, port] of ports.entries()) {
    const other = ports.slice(0, i).find((p) => hostPortsContradict(p, port));
    if (other === undefined) continue;
    throw invalid(
      `host port ${textOf(port)} leads to two ports of the container, ${other.containerPort} and ${port.containerPort}`,
    );
  }
  return ports;
}

const invalid = (message: string): CniError =>
  new CniError(CODE.invalidConfiguration, `runtimeConfig.portMappings: ${message}`, {
    hint: "Correct hostPort, hostIP and protocol of the pod's containers.",
  });

export interface Holder {
  readonly entry: LedgerEntry;
  /** The port that is asked for and cannot be had. */
  readonly wanted: HostPort;
  readonly held: HostPort;
}

/** Who has one of the ports, if anybody does; the oldest first. */
export function holderOf(ports: readonly HostPort[], entries: readonly LedgerEntry[]): Holder | undefined {
  for (const entry of entries) {
    for (const held of entry.workload.hostPorts) {
      const wanted = ports.find((port) => hostPortsOverlap(port, held));
      if (wanted !== undefined) return { entry, wanted, held };
    }
  }
  return undefined;
}

export function hostPortTaken({ entry, wanted, held }: Holder): CniError {
  const as = textOf(wanted) === textOf(held) ? "" : `, as ${textOf(held)}`;
  return new CniError(
    OWN_CODE.hostPortTaken,
    `host port ${textOf(wanted)} is held by ${whoHas(entry.workload)}${as}`,
    {
      hint:
        "It is free again when that one is gone. Two pods on one node cannot have one host port: give one another " +
        "hostPort or hostIP, or another node.",
    },
  );
}

function whoHas(w: Workload): string {
  const container = `container ${w.containerId.slice(0, 13)}`;
  return w.podName === undefined ? container : `${originText(workloadOrigin(w))} (${container})`;
}

export const hostPortTexts = (ports: readonly HostPort[]): string => ports.map(textOf).join(", ");

/**
 * Flows of UDP and SCTP that know nothing of a change of host ports, and that a client keeps alive by itself:
 *
 *   the ports came   those to the node itself, which no packet would lead to the pod any more
 *   the ports went   those to the pod, whose address the next pod may have
 *
 * `own` are the node's addresses. TCP goes on for as long as the pod answers, as with services.
 */
export function staleFlows(w: Workload, own: readonly IpAddress[], event: "came" | "went"): FlowFilter[] {
  return w.addresses.flatMap((target) => {
    const family = familyOf(target);
    return w.hostPorts.flatMap((port): FlowFilter[] => {
      const address = hostAddressOf(port, family);
      if (address === undefined || port.protocol === "tcp") return [];
      const { hostPort: destinationPort, containerPort } = port;
      const of = { family, protocol: IP_PROTOCOL[port.protocol] };
      if (event === "went") {
        const reply = { source: target, sourcePort: containerPort };
        return [{ ...of, translated: true, original: { destinationPort }, reply }];
      }
      const at = isAnyAddress(address) ? own.filter((ip) => familyOf(ip) === family) : [address];
      return at.map((destination) => ({
        ...of,
        translated: false,
        original: { destination, destinationPort },
      }));
    });
  });
}
