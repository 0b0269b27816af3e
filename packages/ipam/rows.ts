/** A row of the table "workload", and the entry it stands for. */
import type { IpAddress, Mac } from "@weft/base";
import type { HostPort, Workload } from "@weft/model";
import type { LedgerEntry, WorkloadState } from "./address-manager.ts";

/** A type, not an interface: only a type is accepted as named parameters. */
export type Row = {
  id: string;
  state: WorkloadState;
  boot: string;
  network: string;
  container_id: string;
  interface: string;
  namespace_path: string;
  namespace_identity: string;
  pod_namespace: string | null;
  pod_name: string | null;
  pod_uid: string | null;
  mac: Mac;
  host_link: string;
  since: number;
};

/** Parameters that insert a new workload, in state "allocating". */
export function parametersOf(workload: Workload): Omit<Row, "boot"> {
  return {
    id: workload.id,
    state: "allocating",
    network: workload.network,
    container_id: workload.containerId,
    interface: workload.interface,
    namespace_path: workload.namespacePath,
    namespace_identity: workload.namespaceIdentity,
    pod_namespace: workload.podNamespace ?? null,
    pod_name: workload.podName ?? null,
    pod_uid: workload.podUid ?? null,
    mac: workload.mac,
    host_link: workload.hostLink,
    since: workload.since,
  };
}

/** A row of the table "host_port", without what it belongs to. */
export type HostPortColumns = {
  host_ip: IpAddress | null;
  host_port: number;
  protocol: HostPort["protocol"];
  container_port: number;
};

export const hostPortColumns = (port: HostPort): HostPortColumns => ({
  host_ip: port.hostIp ?? null,
  host_port: port.hostPort,
  protocol: port.protocol,
  container_port: port.containerPort,
});

const toHostPort = (columns: HostPortColumns): HostPort => ({
  hostIp: columns.host_ip ?? undefined,
  hostPort: columns.host_port,
  protocol: columns.protocol,
  containerPort: columns.container_port,
});

export function toEntry(
  row: Row,
  addresses: readonly IpAddress[],
  hostPorts: readonly HostPortColumns[],
): LedgerEntry {
  return {
    state: row.state,
    workload: {
      id: row.id,
      network: row.network,
      containerId: row.container_id,
      interface: row.interface,
      namespacePath: row.namespace_path,
      namespaceIdentity: row.namespace_identity,
      podNamespace: row.pod_namespace ?? undefined,
      podName: row.pod_name ?? undefined,
      podUid: row.pod_uid ?? undefined,
      addresses,
      hostPorts: hostPorts.map(toHostPort),
      mac: row.mac,
      hostLink: row.host_link,
      since: row.since,
    },
  };
}
