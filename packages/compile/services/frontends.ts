/**
 * The frontends of a service: each address and port that clients connect to, with the endpoints behind it.
 *
 *   address          endpoints            scope             source address
 *   cluster          internalPolicy       any               kept for pods of this node and the node itself
 *   node, balancer,  external Cluster     any               kept for the same
 *   external         external Local       outside: local    kept always
 *                                         any: cluster      (only this node's own clients come here)
 *
 * Where a policy leaves nothing: reject when no endpoint exists anywhere, so that a client knows at once; drop when
 * there are some elsewhere, because whoever sent the packet here (a balancer) should have known better and may retry.
 */
import { type Family, familyOf } from "@weft/base";
import {
  type Backend,
  type Balance,
  type EndpointSlice,
  type FrontendMatch,
  type FrontendRow,
  type Service,
  type ServiceAddress,
  type ServicePort,
  serviceOrigin,
} from "@weft/model";
import { type Candidate, type Choice, candidates, choose, type Here, isHere } from "./endpoints.ts";

/** "203.0.113.5 tcp 80", "node 4 tcp 30080": one of these is one service's. */
export const matchText = ({ address, family, protocol, port }: FrontendMatch): string =>
  `${address === "node" ? `node ${family}` : address} ${protocol} ${port}`;

/** A service port in one family, and what answers it on this node. */
export interface Served {
  readonly port: ServicePort;
  readonly family: Family;
  /** Every endpoint of it, used or not. */
  readonly all: readonly Candidate[];
  readonly choice: Choice;
}

/** Every port in every family that the service has a cluster address of. */
export function served(service: Service, slices: readonly EndpointSlice[], here: Here): Served[] {
  return service.clusterIPs.flatMap(({ ip }) =>
    service.ports.map((port): Served => {
      const family = familyOf(ip);
      const all = candidates(slices, port, family, here);
      return { port, family, all, choice: choose(all, here) };
    }),
  );
}

/** Frontends at one cluster address. */
export function clusterFrontends(
  service: Service,
  address: ServiceAddress,
  ports: readonly Served[],
): FrontendRow[] {
  return ports
    .filter(({ family }) => family === familyOf(address.ip))
    .map(({ port, choice }): FrontendRow => {
      return {
        kind: "frontend",
        scope: "any",
        match: matchAt(address, port),
        ...outcome(service.internalLocal ? choice.local : choice.cluster, choice),
        balance: "random",
        affinity: service.affinity,
        masquerade: "foreign",
        sources: undefined,
        origin: serviceOrigin(service, `${address.field}, spec.ports[${port.index}]`),
      };
    });
}

/** Frontends at balancers' and external addresses and node ports: the rows of one match together. */
export function* externalFrontends(
  service: Service,
  ports: readonly Served[],
  balance: Balance,
): Iterable<readonly [FrontendRow, ...FrontendRow[]]> {
  for (const { port, family, choice } of ports) {
    const rows = (at: ServiceAddress | Family, sources?: FrontendRow["sources"]) =>
      external(service, port, at, choice, service.balance ?? balance, sources);
    const of = (list: readonly ServiceAddress[]): ServiceAddress[] =>
      list.filter(({ ip }) => familyOf(ip) === family);
    // An address may be of both kinds: what the balancer's says of sources counts.
    for (const address of of(service.loadBalancerIPs)) yield rows(address, sourcesOf(service, family));
    for (const address of of(service.externalIPs)) yield rows(address);
    if (port.nodePort !== undefined) yield rows(family);
  }
}

/** Only a service of which this is true has external frontends. */
export const hasExternal = (service: Service): boolean =>
  service.loadBalancerIPs.length > 0 ||
  service.externalIPs.length > 0 ||
  service.ports.some((p) => p.nodePort !== undefined);

/** A list that has ranges of the other family alone closes this one: it was meant to close. */
function sourcesOf(service: Service, family: Family): FrontendRow["sources"] {
  return service.sourceRanges?.filter((range) => familyOf(range) === family);
}

function external(
  service: Service,
  port: ServicePort,
  at: ServiceAddress | Family,
  choice: Choice,
  balance: Balance,
  sources: FrontendRow["sources"],
): readonly [FrontendRow, ...FrontendRow[]] {
  const index = `spec.ports[${port.index}]`;
  const rest = {
    kind: "frontend",
    match: matchAt(at, port),
    balance,
    affinity: service.affinity,
    sources,
    origin: serviceOrigin(service, typeof at === "number" ? `${index}.nodePort` : `${at.field}, ${index}`),
  } as const;
  const any: FrontendRow = {
    ...rest,
    scope: "any",
    masquerade: "foreign",
    ...outcome(choice.cluster, choice),
  };
  if (!service.externalLocal) return [any];
  return [any, { ...rest, scope: "outside", masquerade: "never", ...outcome(choice.local, choice) }];
}

function matchAt(at: ServiceAddress | Family, { protocol, port, nodePort }: ServicePort): FrontendMatch {
  if (typeof at === "number") return { address: "node", family: at, protocol, port: nodePort ?? port };
  return { address: at.ip, family: familyOf(at.ip), protocol, port };
}

function outcome(use: readonly Candidate[], choice: Choice): Pick<FrontendRow, "action" | "backends"> {
  if (use.length === 0) return { action: choice.any ? "drop" : "reject", backends: [] };
  return { action: "balance", backends: use.map(({ ip, port }): Backend => ({ ip, port })) };
}

/** Endpoints of the service that are ready on this node, each address once: what a health check port tells. */
export function localReady(ports: readonly Served[], here: Here): number {
  const byFamily = Map.groupBy(ports, (p) => p.family);
  const counts = [...byFamily.values()].map((list) => {
    const local = list.flatMap(({ choice }) => choice.local);
    const ready = local.filter((c) => c.endpoint.state === "ready" && isHere(c.endpoint, here));
    return new Set(ready.map((c) => c.ip)).size;
  });
  return Math.max(0, ...counts);
}
