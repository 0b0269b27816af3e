/**
 * Which endpoints of a service port a node uses.
 *
 * Two lists, because two policies can hold at once: "cluster" for traffic that may go to any node, "local" for
 * traffic that must stay on this one. Each takes the ready endpoints, and only when it has none of them those that
 * are ending and still serve (KEP-1669). Hints narrow the cluster list, never the local one (KEP-2433, KEP-3015):
 *
 *   every ready endpoint has hints for nodes, and one is meant for this node -> those that are
 *   else every ready endpoint has hints for zones, and one for this node's   -> those that are
 *   else                                                                     -> all that are ready
 *
 * A hint that would leave a node without endpoints therefore does nothing.
 */
import { type Family, familyOf, type IpAddress, ipBytes } from "@weft/base";
import type { Backend, Endpoint, EndpointSlice, ServicePort } from "@weft/model";

/** The node that is compiled for, as far as endpoints care. */
export interface Here {
  readonly node: string;
  readonly zone: string | undefined;
}

/** An endpoint at the port that serves the service's port. */
export interface Candidate extends Backend {
  readonly endpoint: Endpoint;
  /** Name of the slice that it is in. */
  readonly slice: string;
}

export interface Choice {
  readonly cluster: readonly Candidate[];
  readonly local: readonly Candidate[];
  /** Somebody somewhere could answer: nothing to reject, though policy may keep the packets from it. */
  readonly any: boolean;
  /** Which hints narrowed the cluster list. */
  readonly topology: "node" | "zone" | undefined;
}

export const isHere = (endpoint: Endpoint, here: Here): boolean => endpoint.node === here.node;

const RANK = { ready: 0, terminating: 1, unready: 2 } as const;

/**
 * The endpoints of one port in one family, each address and port once, sorted. An endpoint that moves from one slice
 * to another is in both for a while, maybe in different states: the entry on this node counts, then the readier one,
 * then the one of the slice that comes first by name.
 */
export function candidates(
  slices: readonly EndpointSlice[],
  port: ServicePort,
  family: Family,
  here: Here,
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const p of slice.ports) {
      if (p.name !== port.name || p.protocol !== port.protocol) continue;
      for (const endpoint of slice.endpoints) {
        const key = `${endpoint.ip} ${p.port}`;
        const known = found.get(key);
        if (known !== undefined && !isBetter(endpoint, known.endpoint, here)) continue;
        found.set(key, { ip: endpoint.ip, port: p.port, endpoint, slice: slice.name });
      }
    }
  }
  return sorted([...found.values()]);
}

function isBetter(a: Endpoint, b: Endpoint, here: Here): boolean {
  if (isHere(a, here) !== isHere(b, here)) return isHere(a, here);
  return RANK[a.state] < RANK[b.state];
}

/** By address, then port: each address is converted once, because there may be thousands. */
function sorted(list: Candidate[]): Candidate[] {
  if (list.length < 2) return list;
  const order = list.map(({ ip }, at) => ({ at, value: familyOf(ip) === 4 ? valueOf4(ip) : valueOf6(ip) }));
  const port = ({ at }: { at: number }): number => (list[at] as Candidate).port;
  order.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : port(a) - port(b)));
  return order.map(({ at }) => list[at] as Candidate);
}

/** Of canonical text, without the checks of a parser. */
function valueOf4(ip: IpAddress): number {
  let value = 0;
  let part = 0;
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i);
    if (code === 46) {
      value = value * 256 + part;
      part = 0;
    } else part = part * 10 + code - 48;
  }
  return value * 256 + part;
}

/** 32 hexadecimal digits. */
const valueOf6 = (ip: IpAddress): string => Buffer.from(ipBytes(ip)).toString("hex");

export function choose(all: readonly Candidate[], here: Here): Choice {
  const ready = all.every((c) => c.endpoint.state === "ready")
    ? all
    : all.filter((c) => c.endpoint.state === "ready");
  const ending = ready === all ? [] : all.filter((c) => c.endpoint.state === "terminating");
  const topology = topologyOf(ready, here);
  const localReady = ready.filter((c) => isHere(c.endpoint, here));
  const near = topology === undefined ? ready : ready.filter((c) => isMeantFor(c.endpoint, topology, here));
  return {
    cluster: ready.length > 0 ? near : ending,
    local: localReady.length > 0 ? localReady : ending.filter((c) => isHere(c.endpoint, here)),
    any: ready.length > 0 || ending.length > 0,
    topology,
  };
}

function topologyOf(ready: readonly Candidate[], here: Here): Choice["topology"] {
  const covers = (of: (e: Endpoint) => readonly string[] | undefined, name: string | undefined): boolean =>
    name !== undefined &&
    ready.every((c) => of(c.endpoint) !== undefined) &&
    ready.some((c) => of(c.endpoint)?.includes(name));
  if (covers((e) => e.forNodes, here.node)) return "node";
  return covers((e) => e.forZones, here.zone) ? "zone" : undefined;
}

export function isMeantFor(endpoint: Endpoint, topology: Choice["topology"], here: Here): boolean {
  if (topology === "node") return endpoint.forNodes?.includes(here.node) === true;
  if (topology === "zone") return here.zone !== undefined && endpoint.forZones?.includes(here.zone) === true;
  return true;
}
