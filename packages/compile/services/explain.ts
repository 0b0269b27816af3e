/** Services for people: a line for each, and of one of them why each endpoint is used on this node, or is not. */
import {
  type EndpointSlice,
  type EndpointStatus,
  type FrontendRow,
  type Problem,
  type Service,
  type ServiceSummary,
  serviceName,
} from "@weft/model";
import { type Candidate, type Choice, isHere, isMeantFor } from "./endpoints.ts";
import { type Served, served } from "./frontends.ts";
import type { ServiceContext, Services } from "./services.ts";

/** Problems by the object that they are about: "Service default/web". */
export function problemsByObject(problems: Iterable<Problem>): ReadonlyMap<string, readonly Problem[]> {
  return Map.groupBy(problems, ({ origin }) => `${origin.kind} ${origin.namespace}/${origin.name}`);
}

/** Every problem that the compiler tells of now. */
export function allProblems(services: Services): Problem[] {
  return [...services.problems(), ...services.conflicts()];
}

/** In order of namespace and name. */
export function summaries(services: Services): ServiceSummary[] {
  const context = services.context();
  const problems = problemsByObject(allProblems(services));
  return [...services.services.rows()]
    .map((service): ServiceSummary => {
      const slices = services.slices.where("service", serviceName(service));
      const ports = context === undefined ? [] : served(service, slices, context);
      const endpoints = ports.flatMap((p) => p.all);
      return {
        namespace: service.namespace,
        name: service.name,
        type: service.type,
        clusterIPs: service.clusterIPs.map(({ ip }) => ip),
        externalIPs: [...new Set([...service.loadBalancerIPs, ...service.externalIPs].map(({ ip }) => ip))],
        ports: service.ports.map(({ port, nodePort, protocol }) => {
          return `${nodePort === undefined ? port : `${port}:${nodePort}`}/${protocol.toUpperCase()}`;
        }),
        ready: endpoints.filter(({ endpoint }) => endpoint.state === "ready").length,
        endpoints: endpoints.length,
        leftAlone: service.leftAlone,
        problems: problems.get(`Service ${serviceName(service)}`)?.length ?? 0,
      };
    })
    .sort((a, b) => (serviceName(a) < serviceName(b) ? -1 : 1));
}

export interface Explanation {
  readonly service: Service;
  readonly frontends: readonly FrontendRow[];
  readonly endpoints: readonly EndpointStatus[];
  readonly slices: readonly string[];
  readonly problems: readonly Problem[];
}

/** Undefined when there is no such service. */
export function explainService(services: Services, namespace: string, name: string): Explanation | undefined {
  const wanted = serviceName({ namespace, name });
  const service = services.services.rows().find((s) => serviceName(s) === wanted);
  if (service === undefined) return undefined;
  const slices = services.slices.where("service", wanted);
  const context = services.context();
  const ports = context === undefined ? [] : served(service, slices, context);
  const problems = problemsByObject(allProblems(services));
  return {
    service,
    frontends: frontendsOf(services, wanted),
    endpoints: context === undefined ? [] : ports.flatMap((port) => endpointsOf(port, context)),
    slices: slices.map((s) => s.name),
    problems: [
      ...(problems.get(`Service ${wanted}`) ?? []),
      ...slices.flatMap((s: EndpointSlice) => problems.get(`EndpointSlice ${serviceName(s)}`) ?? []),
    ],
  };
}

function frontendsOf(services: Services, wanted: string): FrontendRow[] {
  const found: FrontendRow[] = [];
  for (const table of services.facts) {
    for (const fact of table.rows()) {
      if (fact.type !== "rows") continue;
      for (const row of fact.rows) {
        const { namespace, name } = row.origin;
        if (row.kind === "frontend" && `${namespace}/${name}` === wanted) found.push(row);
      }
    }
  }
  return found;
}

function endpointsOf({ port, all, choice }: Served, here: ServiceContext): EndpointStatus[] {
  const cluster = new Set(choice.cluster);
  const local = new Set(choice.local);
  return all.map((candidate): EndpointStatus => {
    const { ip, endpoint } = candidate;
    const used = { cluster: cluster.has(candidate), local: local.has(candidate) };
    return {
      portName: port.name,
      protocol: port.protocol,
      ip,
      port: candidate.port,
      node: endpoint.node,
      slice: candidate.slice,
      state: endpoint.state,
      ...used,
      why: reason(candidate, choice, used, here),
    };
  });
}

function reason(
  { endpoint }: Candidate,
  choice: Choice,
  used: { readonly cluster: boolean; readonly local: boolean },
  here: ServiceContext,
): string | undefined {
  if (used.cluster && used.local) return undefined;
  if (endpoint.state === "unready") return "is not ready";
  const reasons: string[] = [];
  if (!used.cluster) {
    if (endpoint.state === "terminating") reasons.push("is ending, and others are ready");
    else if (!isMeantFor(endpoint, choice.topology, here)) {
      const meant = choice.topology === "node" ? endpoint.forNodes : endpoint.forZones;
      const own = choice.topology === "node" ? here.node : here.zone;
      reasons.push(`is meant for ${choice.topology} ${meant?.join(", ")}, and this is ${own}`);
    }
  }
  if (!used.local && !isHere(endpoint, here)) {
    reasons.push(
      endpoint.node === undefined ? "is on no node that its slice names" : `is on node ${endpoint.node}`,
    );
  } else if (!used.local && used.cluster) reasons.push("is ending, and others here are ready");
  return reasons.join("; ");
}
