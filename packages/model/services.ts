/**
 * Model rows of services: what clients may connect to, and who answers. Only what a proxy needs is here, because
 * there may be tens of thousands of each: no selector, no labels, no target.
 */
import type { Family, IpAddress, Prefix } from "@weft/base";
import type { Origin } from "./nouns.ts";
import type { Transport } from "./service-plan.ts";

/** How a connection finds its backend; FrontendRow.balance. */
export type Balance = "random" | "maglev";

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  /** metadata.creationTimestamp, RFC 3339 in UTC, which sorts as text; "" when it is unknown, which counts as newest. */
  readonly created: string;
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
  /** Why it is not ours to proxy: headless, ExternalName, another proxy's. Undefined: it is. */
  readonly leftAlone?: string;
  /** At most one of each family. A family without one is not served at all, whatever other addresses say. */
  readonly clusterIPs: readonly ServiceAddress[];
  readonly externalIPs: readonly ServiceAddress[];
  /** Addresses of load balancers that deliver packets as they are (ipMode VIP). */
  readonly loadBalancerIPs: readonly ServiceAddress[];
  readonly ports: readonly ServicePort[];
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** Seconds that a client keeps its backend. */
  readonly affinity?: number;
  /** Who may connect to loadBalancerIPs; undefined: everybody. */
  readonly sourceRanges?: readonly Prefix[];
  readonly healthCheckNodePort?: number;
  /** Of external addresses; undefined: as the settings say. */
  readonly balance?: Balance;
  /** Parts that are wrong and not used: "spec.ports[1].port: Invalid value: 0: ...". */
  readonly faults?: readonly string[];
}

export interface ServiceAddress {
  readonly ip: IpAddress;
  /** Where it stands: "spec.clusterIPs[0]". */
  readonly field: string;
}

export interface ServicePort {
  /** "" when the service has one port and gives it no name. */
  readonly name: string;
  readonly protocol: Transport;
  readonly port: number;
  readonly nodePort?: number;
  /** Position in spec.ports. */
  readonly index: number;
}

export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** Name of the service, in the same namespace. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
  readonly faults?: readonly string[];
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: Transport;
  readonly port: number;
}

/**
 * ready: gets connections. terminating: not ready, and serving while it ends: gets them when nobody is ready.
 * unready: neither.
 */
export type EndpointState = "ready" | "terminating" | "unready";

export interface Endpoint {
  readonly ip: IpAddress;
  readonly state: EndpointState;
  /** Node that it is on, if that is known. */
  readonly node?: string;
  /** Hints: zones and nodes that it is meant for. */
  readonly forZones?: readonly string[];
  readonly forNodes?: readonly string[];
}

/** A range that cluster addresses come from. */
export interface ServiceRange {
  readonly prefix: Prefix;
  readonly origin: Origin;
}

/** "namespace/name": what slices and services find each other by. */
export const serviceName = (s: { readonly namespace: string; readonly name: string }): string =>
  `${s.namespace}/${s.name}`;

export const serviceOfSlice = (s: EndpointSlice): string => `${s.namespace}/${s.service}`;

/** Age first, so that of two services that want the same the older one comes first in a table. */
export const serviceKey = (s: Service): string =>
  `${s.created === "" ? "unknown" : s.created} ${serviceName(s)}`;

export function serviceOrigin(s: Service, field?: string): Origin {
  return {
    kind: "Service",
    namespace: s.namespace,
    name: s.name,
    ...(s.uid === undefined ? {} : { uid: s.uid }),
    ...(field === undefined ? {} : { field }),
  };
}
