/**
 * EndpointSlices of Services with a selector (Kubernetes documentation, "EndpointSlices"). Pure.
 *
 * Pods of one family whose ports are the same (a named port can be another number in each pod) share slices, of at most
 * a hundred endpoints each. An endpoint stays in the slice that it is in, so that one pod's change is one small write;
 * new ones fill up what has room. Slices that somebody else wrote are left alone: ours bear our name.
 */
import { isIp } from "@weft/base";
import { ENDPOINT_SLICES, type Resource, SERVICES } from "@weft/cluster/client";
import {
  type Endpoint,
  type EndpointPort,
  type EndpointSliceObject,
  equal,
  type NodeObject,
  ownedBy,
  type PodObject,
  type ServiceObject,
} from "./objects.ts";
import { isReady } from "./replica-set.ts";
import { selectsAll } from "./selector.ts";
import type { Outcome, Write } from "./write.ts";

export const MANAGER = "endpointslice-controller.weft.network";
export const SERVICE_NAME = "kubernetes.io/service-name";
const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
const HEADLESS = "service.kubernetes.io/headless";
const ZONE = "topology.kubernetes.io/zone";
const MOST_ENDPOINTS = 100;

/** A slice that this controller made for that service. */
export const isOurs = ({ metadata }: EndpointSliceObject): boolean =>
  metadata.labels?.[MANAGED_BY] === MANAGER;

/**
 * `service` undefined: it is gone, and its slices go. `pods` and `slices` are those of the namespace; the slices are
 * those of the service.
 */
export function reconcileEndpointSlices(
  service: ServiceObject | undefined,
  pods: readonly PodObject[],
  nodes: ReadonlyMap<string, NodeObject>,
  slices: readonly EndpointSliceObject[],
): Outcome {
  const ours = slices.filter((s) => isOurs(s) && s.metadata.deletionTimestamp === undefined);
  const selector = service?.spec.selector;
  const wanted =
    service !== undefined &&
    service.metadata.deletionTimestamp === undefined &&
    service.spec.type !== "ExternalName" &&
    Object.keys(selector ?? {}).length > 0;
  if (!wanted) return { writes: ours.map(removal) };
  const selected = pods.filter((pod) => selectsAll(selector, pod.metadata.labels) && hasAddress(pod));
  const groups = groupsOf(service, selected, nodes);
  const writes: Write[] = [];
  const left = new Set(ours);
  for (const group of groups) {
    const own = ours.filter((s) => s.addressType === group.family && equal(s.ports ?? [], group.ports));
    for (const slice of own) left.delete(slice);
    writes.push(...fill(service, group, own));
  }
  return { writes: [...writes, ...[...left].map(removal)] };
}

const removal = (object: EndpointSliceObject): Write => ({ verb: "delete", kind: ENDPOINT_SLICES, object });

/** A pod that has ended, or has no network yet, is no endpoint. */
const hasAddress = ({ status }: PodObject): boolean =>
  (status?.podIPs ?? []).length > 0 && status?.phase !== "Succeeded" && status?.phase !== "Failed";

interface Group {
  readonly family: string;
  readonly ports: readonly EndpointPort[];
  /** By the pods' names. */
  readonly endpoints: readonly Endpoint[];
}

function groupsOf(
  service: ServiceObject,
  pods: readonly PodObject[],
  nodes: ReadonlyMap<string, NodeObject>,
): Group[] {
  const groups: Group[] = [];
  for (const family of service.spec.ipFamilies ?? ["IPv4"]) {
    const byPorts = new Map<string, { ports: readonly EndpointPort[]; endpoints: Endpoint[] }>();
    for (const pod of pods.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
      const address = pod.status?.podIPs?.find(({ ip }) => familyOf(ip) === family)?.ip;
      if (address === undefined) continue;
      const ports = portsOf(service, pod);
      const key = JSON.stringify(ports);
      const group = byPorts.get(key) ?? { ports, endpoints: [] };
      group.endpoints.push(endpointOf(service, pod, address, nodes));
      byPorts.set(key, group);
    }
    // A service nobody serves has an empty slice, which tells that from one nobody has looked at.
    if (byPorts.size === 0) groups.push({ family, ports: [], endpoints: [] });
    for (const group of byPorts.values()) groups.push({ family, ...group });
  }
  return groups;
}

const familyOf = (ip: string): string => (!isIp(ip) ? "" : ip.includes(":") ? "IPv6" : "IPv4");

/** A port whose name the pod does not have is left out. */
function portsOf({ spec }: ServiceObject, pod: PodObject): EndpointPort[] {
  return (spec.ports ?? []).flatMap(
    ({ name = "", port, protocol = "TCP", targetPort = port, appProtocol }) => {
      const number = typeof targetPort === "number" ? targetPort : namedPort(pod, targetPort, protocol);
      return number === undefined
        ? []
        : [{ name, port: number, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) }];
    },
  );
}

const namedPort = ({ spec }: PodObject, name: string, protocol: string): number | undefined =>
  spec.containers
    .flatMap(({ ports = [] }) => ports)
    .find((p) => p.name === name && (p.protocol ?? "TCP") === protocol)?.containerPort;

function endpointOf(
  service: ServiceObject,
  pod: PodObject,
  address: string,
  nodes: ReadonlyMap<string, NodeObject>,
): Endpoint {
  const { name, namespace, uid, deletionTimestamp } = pod.metadata;
  const terminating = deletionTimestamp !== undefined;
  const serving = isReady(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const zone = nodes.get(pod.spec.nodeName ?? "")?.metadata.labels?.[ZONE];
  const { hostname, subdomain } = pod.spec;
  const named = typeof hostname === "string" && subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(named ? { hostname } : {}),
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: {
      kind: "Pod",
      ...(namespace === undefined ? {} : { namespace }),
      name,
      ...(uid === undefined ? {} : { uid }),
    },
  };
}

/** Endpoints into the slices that are there, and new ones for what finds no room. */
function fill(service: ServiceObject, group: Group, own: readonly EndpointSliceObject[]): Write[] {
  const wanted = new Map(group.endpoints.map((e) => [idOf(e), e]));
  const contents = own.map((slice) => {
    const kept = (slice.endpoints ?? []).flatMap((e) => {
      const now = wanted.get(idOf(e));
      wanted.delete(idOf(e));
      return now ?? [];
    });
    return { slice, endpoints: kept };
  });
  const waiting = [...wanted.values()];
  for (const content of contents) {
    content.endpoints.push(...waiting.splice(0, Math.max(0, MOST_ENDPOINTS - content.endpoints.length)));
  }
  const fresh: Endpoint[][] = [];
  while (waiting.length > 0) fresh.push(waiting.splice(0, MOST_ENDPOINTS));
  const empty = contents.filter(({ endpoints }) => endpoints.length === 0);
  const isAllEmpty = empty.length === contents.length && fresh.length === 0;
  if (isAllEmpty && contents.length === 0) fresh.push([]);
  const surplus = new Set(isAllEmpty ? empty.slice(1) : empty);
  const writes: Write[] = [];
  for (const content of contents) {
    const { slice, endpoints } = content;
    if (surplus.has(content)) writes.push(removal(slice));
    else {
      const labels = labelsOf(service);
      if (equal(slice.endpoints ?? [], endpoints) && equal(slice.metadata.labels, labels)) continue;
      const object = { ...slice, metadata: { ...slice.metadata, labels }, endpoints };
      writes.push({ verb: "update", kind: ENDPOINT_SLICES, object });
    }
  }
  return [...writes, ...fresh.map((endpoints) => creation(service, group, endpoints))];
}

const idOf = ({ addresses, targetRef }: Endpoint): string => `${targetRef?.uid} ${addresses[0]}`;

function labelsOf({ metadata, spec }: ServiceObject): Record<string, string> {
  const { [HEADLESS]: _, ...labels } = metadata.labels ?? {};
  return {
    ...labels,
    ...(spec.clusterIP === "None" ? { [HEADLESS]: "" } : {}),
    [SERVICE_NAME]: metadata.name,
    [MANAGED_BY]: MANAGER,
  };
}

function creation(service: ServiceObject, { family, ports }: Group, endpoints: readonly Endpoint[]): Write {
  const { name, namespace } = service.metadata;
  const kind: Resource = ENDPOINT_SLICES;
  const object = {
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: labelsOf(service),
      ownerReferences: [ownedBy(SERVICES, service)],
    },
    addressType: family,
    ports,
    endpoints,
  } as unknown as EndpointSliceObject;
  return { verb: "create", kind, object };
}
