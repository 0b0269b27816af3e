/** A row of the table "workload", and the entry it stands for. */
import type { IpAddress, Mac } from "@weft/base";
import type { Workload } from "@weft/model";
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

export function toEntry(row: Row, addresses: readonly IpAddress[]): LedgerEntry {
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
      mac: row.mac,
      hostLink: row.host_link,
      since: row.since,
    },
  };
}
