/**
 * The services compiler: everything that a node holds so that services' addresses lead to their endpoints.
 *
 *   self, nodes, blocks, pools, underlay, ranges --> own facts: source, node port addresses, ranges
 *   self, nodes -----------------------------> context -+
 *   services, slices by service ------------------------+-> cluster facts: frontends, addresses, hairpins
 *                                                       +-> external facts: frontends, health checks
 *
 * One row of `services` is one computation, which reads the slices of that service and no others; so a changed slice
 * computes one service. Of two services that want one address and port the older has it: keys of the table begin with
 * the time of creation, and of several claimants of an output key the smallest input key wins. A cluster address is
 * its service's before anybody else's external address, whatever their age: otherwise whoever may write externalIPs
 * could take over another's traffic (CVE-2020-8554).
 */
import { contains, familyOf, hostPrefix, type IpAddress } from "@weft/base";
import {
  type Balance,
  type Block,
  type EndpointSlice,
  type HairpinRow,
  type Node,
  type Origin,
  type Problem,
  type Service,
  type ServicePlanRow,
  type ServiceRange,
  type Settings,
  serviceKey,
  serviceName,
  serviceOfSlice,
  serviceOrigin,
  servicePlanKey,
} from "@weft/model";
import {
  createDatabase,
  createTable,
  type Database,
  type DerivedTable,
  derive,
  type Table,
} from "@weft/store";
import { type ClusterTables, createClusterTables } from "../cluster-tables.ts";
import { conflictProblems, isContest } from "./conflicts.ts";
import type { Candidate, Here } from "./endpoints.ts";
import {
  clusterFrontends,
  externalFrontends,
  hasExternal,
  localReady,
  matchText,
  type Served,
  served,
} from "./frontends.ts";
import { addressRows, podRanges, rangeRows } from "./node-rows.ts";

/** A health check node port: how many endpoints of its service are ready here. */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  readonly port: number;
  readonly localEndpoints: number;
}

/**
 * What the compiler says; `key` is unique in its table. Rows that one service must have together, or not at all, are
 * one fact: all that is at its cluster address, or the two scopes of one external match.
 */
export type ServiceFact =
  | { readonly type: "rows"; readonly key: string; readonly rows: readonly ServicePlanRow[] }
  | { readonly type: "health"; readonly key: string; readonly check: HealthCheck }
  | { readonly type: "problem"; readonly key: string; readonly problem: Problem };

export interface ServiceSelf {
  readonly key: "self";
  readonly name: string;
  readonly settings: Settings;
}

/** What is the same for all services. */
export interface ServiceContext extends Here {
  readonly balance: Balance;
  /** The own Node and its blocks; undefined while there is none. */
  readonly own: Node | undefined;
  readonly blocks: readonly Block[];
}

export interface Services extends ClusterTables {
  readonly database: Database;
  readonly self: Table<ServiceSelf>;
  readonly ranges: Table<ServiceRange>;
  readonly services: Table<Service>;
  readonly slices: Table<EndpointSlice>;
  /** Everything that is said; two tables never yield the same row. */
  readonly facts: readonly DerivedTable<ServiceFact>[];
  /** There is a Node of this name: without it nothing is known of this node's addresses and pods. */
  hasNode(): boolean;
  /** Undefined before `self` is there. */
  context(): ServiceContext | undefined;
  /** Health check node ports that are to be served. */
  healthChecks(): HealthCheck[];
  /** Every problem among the facts. */
  problems(): Problem[];
  /** Services that do not get what they ask for, because another one has it. */
  conflicts(): Problem[];
}

const rowFact = (row: ServicePlanRow): ServiceFact => {
  return { type: "rows", key: `${row.kind} ${servicePlanKey(row)}`, rows: [row] };
};
const problemFact = (problem: Problem): ServiceFact => {
  return { type: "problem", key: `problem ${problem.key}`, problem };
};
/** Problems are few among many facts, and asked for often. */
const PROBLEMS = { type: (fact: ServiceFact) => (fact.type === "problem" ? "problem" : undefined) };
const addressKey = (ip: IpAddress): string => `address ${ip}`;

export interface ServicesOptions {
  /** Hears what a listener of the tables threw. */
  readonly onError: (error: unknown, where: string) => void;
  /** Freeze rows as they are put, to find out who writes to them; default true. */
  readonly freeze?: boolean;
}

export function createServices(options: ServicesOptions): Services {
  const database = createDatabase(options);
  const self = createTable<ServiceSelf>(database, { name: "self", key: (r) => r.key });
  const tables = createClusterTables(database);
  const { nodes, pools, blocks, underlay } = tables;
  const ranges = createTable<ServiceRange>(database, { name: "service ranges", key: (r) => r.prefix });
  const services = createTable<Service>(database, { name: "services", key: serviceKey });
  const slices = createTable<EndpointSlice>(database, {
    name: "endpoint slices",
    key: serviceName,
    indexes: { service: serviceOfSlice },
  });

  const context = derive<ServiceSelf, ServiceContext>({
    name: "service context",
    input: self,
    key: () => "self",
    rows({ name, settings }, read) {
      const own = read.get(nodes, name);
      const { balance } = settings.services;
      return [
        { key: "self", node: name, zone: own?.zone, balance, own, blocks: read.where(blocks, "node", name) },
      ];
    },
  });

  const addressFacts = derive<ServiceSelf, ServiceFact>({
    name: "address facts",
    input: self,
    key: (f) => f.key,
    indexes: PROBLEMS,
    rows({ name, settings }, read) {
      const own = read.get(nodes, name);
      if (own === undefined) return [problemFact(unknownNode(name))];
      const { rows, problems } = addressRows(own, settings, read.all(underlay));
      return [...rows.map(rowFact), ...problems.map(problemFact)];
    },
  });

  const rangeFacts = derive<ServiceSelf, ServiceFact>({
    name: "range facts",
    input: self,
    key: (f) => f.key,
    indexes: PROBLEMS,
    rows({ name, settings }, read) {
      const pods = podRanges(read.where(blocks, "node", name), read.all(blocks), read.all(pools), settings);
      return [...pods, ...rangeRows(read.all(ranges), settings)].map(rowFact);
    },
  });

  const clusterFacts = derive<Service, ServiceFact>({
    name: "cluster facts",
    input: services,
    key: (f) => f.key,
    indexes: PROBLEMS,
    rows(service, read) {
      const facts = faultProblems(service).map(problemFact);
      if (service.leftAlone !== undefined) return facts;
      const here = read.get(context, "self");
      if (here === undefined) return facts;
      const ports = served(service, read.where(slices, "service", serviceName(service)), here);
      for (const address of service.clusterIPs) {
        const origin = serviceOrigin(service, address.field);
        const range = { kind: "service-address", prefix: hostPrefix(address.ip), origin } as const;
        const rows = [range, ...clusterFrontends(service, address, ports)];
        facts.push({ type: "rows", key: addressKey(address.ip), rows });
      }
      for (const row of hairpins(service, ports, here)) facts.push(rowFact(row));
      return facts;
    },
  });

  const externalFacts = derive<Service, ServiceFact>({
    name: "external facts",
    input: services,
    key: (f) => f.key,
    indexes: PROBLEMS,
    rows(service, read) {
      const facts: ServiceFact[] = [];
      // Most have none: what is not read need not be remembered as read.
      if (service.leftAlone !== undefined || !hasExternal(service)) return facts;
      const here = read.get(context, "self");
      if (here === undefined) return facts;
      const ports = served(service, read.where(slices, "service", serviceName(service)), here);
      for (const rows of externalFrontends(service, ports, here.balance)) {
        const { match, origin } = rows[0];
        const { address } = match;
        if (address !== "node" && read.get(clusterFacts, addressKey(address)) !== undefined) {
          facts.push(problemFact(takenByCluster(service, address, origin)));
        } else facts.push({ type: "rows", key: `frontend ${matchText(match)}`, rows });
      }
      const { namespace, name, uid, healthCheckNodePort: port } = service;
      if (port === undefined) return facts;
      const localEndpoints = localReady(ports, here);
      const check = { namespace, name, ...(uid === undefined ? {} : { uid }), port, localEndpoints };
      return [...facts, { type: "health", key: `health ${port}`, check }];
    },
  });

  const sliceFacts = derive<EndpointSlice, ServiceFact>({
    name: "slice facts",
    input: slices,
    key: (f) => f.key,
    indexes: PROBLEMS,
    rows: (slice) => (slice.faults ?? []).map((fault) => problemFact(faultOf(slice, fault))),
  });

  const facts = [addressFacts, rangeFacts, clusterFacts, externalFacts, sliceFacts];
  return {
    database,
    self,
    ...tables,
    ranges,
    services,
    slices,
    facts,
    hasNode: () => context.get("self")?.own !== undefined,
    context: () => context.get("self"),
    problems: () =>
      facts.flatMap((table) =>
        table.where("type", "problem").flatMap((f) => (f.type === "problem" ? [f.problem] : [])),
      ),
    healthChecks: () => externalFacts.rows().flatMap((fact) => (fact.type === "health" ? [fact.check] : [])),
    conflicts: () =>
      [clusterFacts, externalFacts].flatMap((table) =>
        [...table.conflicts()]
          .filter(([key]) => isContest(key))
          .flatMap(([key, claimants]) => conflictProblems(key, claimants, services)),
      ),
  };
}

/**
 * Endpoints of this node that a connection could come from and go to. By the node that the slice names, or, where it
 * names none, by their address. A pod with the node's own address needs no help: the node talks to itself.
 */
function hairpins(service: Service, ports: readonly Served[], here: ServiceContext): HairpinRow[] {
  const found = new Map<string, HairpinRow>();
  const look = ({ ip, endpoint }: Candidate): void => {
    if (endpoint.node !== undefined && endpoint.node !== here.node) return;
    if (endpoint.node === undefined && !here.blocks.some((b) => contains(b.prefix, ip))) return;
    if (found.has(ip) || here.own?.addresses.includes(ip) === true) return;
    found.set(ip, { kind: "hairpin", ip, origin: serviceOrigin(service) });
  };
  for (const { choice } of ports) {
    choice.cluster.forEach(look);
    choice.local.forEach(look);
  }
  return [...found.values()];
}

function faultProblems(service: Service): Problem[] {
  if (service.faults === undefined && service.externalIPs.length === 0) return [];
  const families = service.clusterIPs.map(({ ip }) => familyOf(ip));
  const unserved = service.externalIPs.filter(({ ip }) => !families.includes(familyOf(ip)));
  const faults = (service.faults ?? []).map((fault) => faultOf(service, fault));
  if (service.leftAlone !== undefined) return faults;
  return [
    ...faults,
    ...unserved.map(({ ip, field }): Problem => {
      return {
        key: `unserved ${serviceName(service)} ${ip}`,
        message: `${ip} is not served: the service has no cluster address of that family`,
        hint: "Make the service dual-stack, or take the address out.",
        origin: serviceOrigin(service, field),
      };
    }),
  ];
}

function faultOf(object: Service | EndpointSlice, fault: string): Problem {
  const { namespace, name } = object;
  const kind = "clusterIPs" in object ? "Service" : "EndpointSlice";
  return {
    key: `fault ${kind} ${serviceName(object)} ${fault}`,
    message: `left out: ${fault}`,
    hint: "Correct the field; the rest of the object is used.",
    origin: { kind, namespace, name },
  };
}

const takenByCluster = (service: Service, ip: IpAddress, origin: Origin): Problem => ({
  key: `taken ${ip} ${serviceName(service)} ${origin.field}`,
  message: `${ip} is a cluster address, and stays its service's`,
  hint: "Use an address that is no service's.",
  origin,
});

const unknownNode = (name: string): Problem => ({
  key: "service node",
  message: `there is no Node named ${name}`,
  hint: "Start the agent with --node set to the name of its Node object, or create that object.",
  origin: { kind: "Node", name },
});
