/** Settings of services. */
import type { Prefix } from "@weft/base";
import type { Balance } from "./services.ts";

export interface ServiceSettings {
  /** auto: unless kube-proxy's chains are found on the node. */
  readonly enabled: "auto" | "on" | "off";
  /** How connections to external addresses (node ports, load balancers, externalIPs) find their backend. */
  readonly balance: Balance;
  /**
   * Addresses of the node that take node ports. primary: the node's InternalIP of each family; all: every address of
   * its links; else those that lie in one of the prefixes.
   */
  readonly nodePortAddresses: "primary" | "all" | readonly Prefix[];
  /** TCP port of /healthz and /livez, as kube-proxy has them; 0: none. */
  readonly healthzPort: number;
  /** TCP connections to an endpoint that is gone are reset by their client's next packet; else they wait for its timeouts. */
  readonly resetConnections: boolean;
}

export const DEFAULT_SERVICE_SETTINGS: ServiceSettings = {
  enabled: "auto",
  balance: "random",
  nodePortAddresses: "primary",
  healthzPort: 10256,
  resetConnections: false,
};
