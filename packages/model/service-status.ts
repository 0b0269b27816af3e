/** What an agent says of services: part of its status, and the answers to GET /v1/services and POST /v1/services/show. */
import type { Origin } from "./nouns.ts";
import type { Problem } from "./plan.ts";
import type { FrontendRow } from "./service-plan.ts";
import type { EndpointState, Service } from "./services.ts";
import type { PlanTableStatus } from "./status.ts";

export interface ServicesStatus {
  /** active: this node's services are ours. off: they are somebody else's, or nobody's. waiting: they will be ours. */
  readonly state: "active" | "waiting" | "off";
  /** Why it is waiting or off, in one sentence. */
  readonly why: string | undefined;
  /** Where services and endpoints come from, and whether that answers. */
  readonly source: string;
  readonly services: number;
  readonly endpointSlices: number;
  readonly frontends: number;
  /** No change has been waiting for the kernel for longer than a minute. */
  readonly healthy: boolean;
  /** "[::]:10256", or why nobody listens there. */
  readonly healthz: string;
  readonly plan: readonly PlanTableStatus[];
  readonly problems: readonly Problem[];
  /** Objects and files that could not be read, each in a sentence. */
  readonly sourceErrors: readonly string[];
}

/** One line of `weft service ls`. */
export interface ServiceSummary {
  readonly namespace: string;
  readonly name: string;
  readonly type: Service["type"];
  readonly clusterIPs: readonly string[];
  /** Balancers' and external addresses. */
  readonly externalIPs: readonly string[];
  /** "80/TCP", "80:30080/TCP" */
  readonly ports: readonly string[];
  /** Endpoints that are ready, of all; each address and port once. */
  readonly ready: number;
  readonly endpoints: number;
  readonly leftAlone: string | undefined;
  readonly problems: number;
}

/** A frontend as it is planned, and as far as the kernel has come. */
export interface FrontendStatus {
  readonly row: FrontendRow;
  readonly state: "pending" | "done" | "error";
  readonly error: string | undefined;
  /** Connections to each of its backends now, in their order, without closed ones; undefined: that cannot be read. */
  readonly connections: readonly number[] | undefined;
}

/** One endpoint of one port as this node sees it. */
export interface EndpointStatus {
  readonly portName: string;
  readonly protocol: string;
  readonly ip: string;
  readonly port: number;
  readonly node: string | undefined;
  readonly slice: string;
  readonly state: EndpointState;
  /** Whether traffic that may go to any node uses it here, and traffic that must stay on this node. */
  readonly cluster: boolean;
  readonly local: boolean;
  /** Why, where one of the two is false: "is not ready", "is meant for zone b, and this node is in a". */
  readonly why: string | undefined;
}

/** The answer to `weft service show`. */
export interface ServiceDetail {
  readonly node: string;
  readonly zone: string | undefined;
  readonly service: Service;
  readonly frontends: readonly FrontendStatus[];
  readonly endpoints: readonly EndpointStatus[];
  /** Names of its EndpointSlices. */
  readonly slices: readonly string[];
  readonly problems: readonly { readonly message: string; readonly hint: string; readonly origin: Origin }[];
}
