/** A workload as the ledger has it. */
import type { Workload } from "@weft/model";

export const workload = (id: string, namespacePath: string, more: Partial<Workload> = {}): Workload => ({
  id: `${id}/eth0`,
  network: "weft",
  containerId: id,
  interface: "eth0",
  namespacePath,
  namespaceIdentity: "",
  podNamespace: "shop",
  podName: "web",
  hostPorts: [],
  podUid: "uid-web",
  addresses: [],
  mac: "02:00:00:00:00:01" as Workload["mac"],
  hostLink: "weft0",
  since: 1,
  ...more,
});
