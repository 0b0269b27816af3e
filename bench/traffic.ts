/**
 * What Weft costs a packet: pod to pod on one node, across two nodes by routes, across two nodes by VXLAN; each
 * against the same path of bare namespaces with the same hops (sides/bare.ts), the sides by turns.
 */
import { join } from "node:path";
import { addressAt, type IpAddress, macFromSeed, parseIp, parsePrefix, withLength } from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { createSide, podIn } from "./cni/runner.ts";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import type { Figure, Report } from "./report.ts";
import type { Session } from "./session/session.ts";
import { attachBare, makeRouter, routeDirect, routeVxlan } from "./sides/bare.ts";
import { connect, startWeft } from "./sides/weft.ts";
import { median, ratioQuartiles } from "./statistics.ts";
import { type Path, roundTrips, startServers, throughput, waitForServers } from "./traffic/measure.ts";

const ROUNDS = 15;
const SECONDS = 1;
const NODES = [
  { name: "node1", address: parseIp("198.18.1.11"), podRange: parsePrefix("10.244.1.0/24") },
  { name: "node2", address: parseIp("198.18.1.12"), podRange: parsePrefix("10.244.2.0/24") },
] as const;

type Backend = "direct" | "vxlan";
interface Fabric {
  readonly local: Path;
  readonly across: Path;
  /** Of the pods' interfaces: both sides have the same. */
  readonly mtu: number;
}

export async function benchTraffic(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const rounds = options.rounds || ROUNDS;
  const seconds = options.seconds || SECONDS;
  const make = async (backend: Backend) => {
    const weft = await weftFabric(session, backend);
    return { weft, peer: bareFabric(session, backend, weft.mtu) };
  };
  const direct = await make("direct");
  const vxlan = await make("vxlan");
  const paths = [
    { name: "on one node", weft: direct.weft.local, peer: direct.peer.local },
    { name: "across nodes, direct", weft: direct.weft.across, peer: direct.peer.across },
    { name: "across nodes, VXLAN", weft: vxlan.weft.across, peer: vxlan.peer.across },
  ];
  for (const { weft, peer } of paths) for (const path of [weft, peer]) await waitForServers(path);
  const figures: Figure[] = [];
  const samples = paths.map((path) => ({ path, trips: noSamples(), speed: noSamples() }));
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    for (const { path, trips, speed } of samples) {
      for (const side of round % 2 === 0 ? SIDES : SIDES.toReversed()) {
        trips[side].push(await roundTrips(path[side], seconds));
        speed[side].push(await throughput(path[side], seconds));
      }
    }
  }
  for (const { path, trips, speed } of samples) {
    figures.push(figure(`${path.name}, TCP round trips`, "1/s", trips));
    figures.push(figure(`${path.name}, TCP throughput`, "Gbit/s", speed));
  }
  return {
    suite: "traffic",
    peer: "the same path of bare namespaces",
    figures,
    notes: [
      `median of ${rounds} runs of ${seconds} s each, the sides by turns; one connection; IPv4`,
      `MTU ${direct.weft.mtu} (direct) and ${vxlan.weft.mtu} (VXLAN) on both sides`,
      "round trips are of one byte, the client blocking in recv; throughput is iperf3's",
      "bare: veth pairs, routes and a hand-made VXLAN device; no filter and no agent",
    ],
    machine: describeMachine(session.weft, ["iperf3"]),
    command: `node_modules/.bin/bun run bench/run.ts traffic --rounds ${rounds} --seconds ${seconds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

type Samples = Record<"weft" | "peer", number[]>;
const SIDES = ["weft", "peer"] as const;
const noSamples = (): Samples => ({ weft: [], peer: [] });
const figure = (name: string, unit: Figure["unit"], { weft, peer }: Samples): Figure => ({
  name,
  unit,
  weft: median(weft),
  peer: median(peer),
  better: "higher",
  quartiles: ratioQuartiles(weft, peer),
});

/** Two nodes joined by one wire. */
function makeNodes(session: Session, label: string): readonly [RealNamespace, RealNamespace] {
  const nodes = [session.node(`${label}-1`), session.node(`${label}-2`)] as const;
  const end = (i: 0 | 1) => ({
    namespace: nodes[i],
    link: "eth0",
    address: withLength(NODES[i].address, 24),
  });
  connect(end(0), end(1), macFromSeed);
  return nodes;
}

async function weftFabric(session: Session, backend: Backend): Promise<Fabric> {
  const nodes = makeNodes(session, `weft-${backend}`);
  let mtu = 0;
  const attach: ((pod: NetnsHandle) => Promise<string>)[] = [];
  for (const [i, { name }] of NODES.entries()) {
    const label = `agent-${backend}-${name}`;
    const namespace = nodes[i] as RealNamespace;
    const weft = await startWeft(session, label, namespace, name, NODES, { backend });
    const side = createSide({
      name: "weft",
      node: namespace,
      list: weft.list,
      plugins: weft.plugins,
      cache: join(session.memory, label),
    });
    attach.push(async (pod) => {
      const { ips } = await side.runtime.add(side.list, podIn(pod).spec);
      const inside = session.kernel.open(pod.path);
      mtu = inside.link("eth0")?.mtu ?? 0;
      inside.close();
      return (ips[0]?.address ?? "").split("/")[0] as string;
    });
  }
  const [on1, on2] = attach as [(typeof attach)[0], (typeof attach)[0]];
  const [client, near, far] = [session.pod(), session.pod(), session.pod()];
  await on1(client);
  const local = { from: client, to: await on1(near) };
  const across = { from: client, to: await on2(far) };
  startServers(session, `weft-${backend}-near`, near);
  startServers(session, `weft-${backend}-far`, far);
  return { local, across, mtu };
}

function bareFabric(session: Session, backend: Backend, mtu: number): Fabric {
  const nodes = makeNodes(session, `bare-${backend}`);
  const ends = NODES.map(({ address, podRange }, i) => ({
    node: nodes[i] as RealNamespace,
    address,
    pods: podRange,
  }));
  const [a, b] = ends as [(typeof ends)[0], (typeof ends)[0]];
  for (const { node } of ends) makeRouter(node);
  if (backend === "direct") routeDirect(a, b);
  else routeVxlan(a, b, mtu);
  const [client, near, far] = [session.pod(), session.pod(), session.pod()];
  const attach = (end: (typeof ends)[0], pod: NetnsHandle, host: bigint): IpAddress => {
    const ip = addressAt(end.pods, host);
    attachBare(session, end.node, pod, ip, mtu);
    return ip;
  };
  attach(a, client, 2n);
  const local = { from: client, to: attach(a, near, 3n) };
  const across = { from: client, to: attach(b, far, 4n) };
  startServers(session, `bare-${backend}-near`, near);
  startServers(session, `bare-${backend}-far`, far);
  return { local, across, mtu };
}
