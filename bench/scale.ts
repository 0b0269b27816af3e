/**
 * One node's agent in a large cluster that is simulated: 1,000 nodes and 50,000 pods. Its memory; its CPU while
 * nothing happens, while every kubelet reports, and while pods change everywhere; and the time from a node being
 * added to its route in the kernel. And what compile and apply cost on every node's tables, in memory.
 *
 *   API server (a process of its own) 198.18.0.1/16 <---- veth ----> 198.18.1.1/16 agent of node-0, its pods
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { macFromSeed, parseIpWithLength, WeftError } from "@weft/base";
import { type RealNamespace, watch } from "@weft/kernel/rtnetlink";
import { createSide, fill, podIn } from "./cni/runner.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import { describeMachine } from "./machine.ts";
import { type BenchOptions, DEFAULT_OPTIONS } from "./options.ts";
import { readPeak, readRollup, readStat } from "./proc.ts";
import type { Figure, Report } from "./report.ts";
import { type Control, controlOf } from "./scale/control.ts";
import { nodeAddress, nodeName, OWN, podRange } from "./scale/objects.ts";
import { measureTables, type TablesResult } from "./scale/tables.ts";
import type { Session } from "./session/session.ts";
import { connect, startWeft } from "./sides/weft.ts";
import { percentile } from "./statistics.ts";

const PODS_PER_NODE = 50;
const SECONDS = 60;
const ROUNDS = 20;
const TABLES = 50;
const BETWEEN_MS = 1000;
const SETTLE_MS = 6000;
/** Of a machine that does other things too. */
const LATE_MS = 120_000;
const SERVER = "198.18.0.1";
const PORT = 8080;
/** A kubelet reports once in five minutes when nothing changes. */
const HEARTBEAT_SECONDS = 300;
const CHURN = 100;
/** What the agent is to take at most, MiB. */
const GOAL = 150;

export async function benchScale(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const seconds = options.seconds || SECONDS;
  const rounds = options.rounds || ROUNDS;
  const { nodes } = options;
  const pods = nodes * PODS_PER_NODE;
  const goal = nodes === DEFAULT_OPTIONS.nodes ? GOAL : undefined;
  const wire = session.node("wire");
  const node = session.node("weft");
  connect(
    { namespace: node, link: "eth0", address: parseIpWithLength(`${nodeAddress(OWN)}/16`) },
    { namespace: wire, link: "weft", address: parseIpWithLength(`${SERVER}/16`) },
    macFromSeed,
  );
  const control = await startServer(session, wire, nodes, pods);
  const kubeconfig = join(session.directory, "kubeconfig");
  writeFileSync(kubeconfig, kubeconfigOf(`http://${SERVER}:${PORT}`));
  say(`starting the agent of one of ${nodes} nodes with ${pods} pods`);
  const started = performance.now();
  const settings = { clusterCIDRs: ["10.128.0.0/10"], backend: "vxlan" };
  const weft = await startWeft(session, "agent", node, nodeName(OWN), { kubeconfig }, settings);
  const ready = performance.now() - started;
  const { pid } = weft.agent;
  await wholeTable(node, nodes);
  const peak = readPeak(pid);
  const side = createSide({
    name: "weft",
    node,
    list: weft.list,
    plugins: weft.plugins,
    cache: join(session.memory, "weft"),
  });
  await fill(
    side,
    Array.from({ length: PODS_PER_NODE }, () => podIn(session.pod())),
  );
  const loads: [string, { heartbeats: number; churn: number }][] = [
    ["nothing changes", { heartbeats: 0, churn: 0 }],
    ["every kubelet reports", { heartbeats: nodes / HEARTBEAT_SECONDS, churn: 0 }],
    [`and ${CHURN} pods change a second`, { heartbeats: nodes / HEARTBEAT_SECONDS, churn: CHURN }],
  ];
  const figures = [
    alone("ready after", "s", ready / 1000),
    alone("peak RSS at the start", "MiB", peak / 2 ** 20),
  ];
  for (const [name, rates] of loads) {
    say(`${name}: ${seconds} s`);
    await control.rates(rates);
    figures.push(...(await measured(pid, name, seconds, goal)));
  }
  await control.rates({ heartbeats: 0, churn: 0 });
  const { podEventsSent, churn, heartbeats, asked } = await control.counts();
  say(`${rounds} nodes are added, one after another`);
  const added = await additions(node, control, nodes, rounds, pid);
  figures.push(
    ...distribution("node added, to its route in the kernel", added.times),
    alone("node added, CPU of the agent", "ms", added.cpu),
  );
  say(`tables of ${Math.min(TABLES, nodes)} nodes, in memory`);
  figures.push(...tableFigures(await measureTables(nodes, Math.min(TABLES, nodes))));
  return {
    suite: "scale",
    peer: goal === undefined ? "no goal" : `the goal of ${goal} MiB`,
    figures,
    notes: [
      `${nodes} nodes, ${pods} pods, ${PODS_PER_NODE} of them on this node; VXLAN to every other node, IPv4`,
      `of ${churn} changes of pods, ${podEventsSent} were sent to the agent; ${heartbeats} reports of kubelets, all of them`,
      `the agent asked for ${[...new Set(asked.map(withoutParameters))].join(" and ")}`,
      "from the event to the route includes 100 ms over which the agent gathers changes",
      "tables: whole is a start with every other node, one is one more node; each against a kernel in memory",
    ],
    machine: describeMachine(session.weft, []),
    command: `node_modules/.bin/bun run bench/run.ts scale --nodes ${nodes} --rounds ${rounds} --seconds ${seconds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

async function startServer(
  session: Session,
  wire: RealNamespace,
  nodes: number,
  pods: number,
): Promise<Control> {
  const socket = join(session.directory, "api.sock");
  const program = join(import.meta.dir, "scale/api-server.ts");
  const words = [`http://${SERVER}:${PORT}`, socket, String(nodes), String(pods)];
  session.start(wire, "api", [process.execPath, "run", program, ...words]);
  const control = controlOf(socket);
  for (let tries = 0; ; tries++) {
    try {
      await control.counts();
      return control;
    } catch (cause) {
      if (tries > 1200) throw new WeftError("timeout", "the simulated API server does not answer", { cause });
      await Bun.sleep(50);
    }
  }
}

/** Of "/api/v1/pods?fieldSelector=...&limit=500", what does not change from call to call. */
const withoutParameters = (asked: string): string => asked.replace(/[?&](?!fieldSelector)[^&]*/g, "");

const routesTo = (node: RealNamespace): Set<string> =>
  new Set(node.routes({ protocol: 87, table: 254 }).map((r) => r.destination));

async function wholeTable(node: RealNamespace, nodes: number): Promise<void> {
  for (let tries = 0; routesTo(node).size < nodes; tries++) {
    if (tries > 2400)
      throw new WeftError("timeout", `the agent has made ${routesTo(node).size} of ${nodes} routes`);
    await Bun.sleep(50);
  }
}

async function measured(
  pid: number,
  name: string,
  seconds: number,
  goal: number | undefined,
): Promise<Figure[]> {
  await Bun.sleep(Math.min(SETTLE_MS, seconds * 1000));
  const before = readStat(pid).cpuSeconds;
  const started = performance.now();
  await Bun.sleep(seconds * 1000);
  const minutes = (performance.now() - started) / 60_000;
  const cpu = (readStat(pid).cpuSeconds - before) / minutes;
  const { rss, pss, anonymous } = readRollup(pid);
  return [
    { ...alone(`${name}, RSS`, "MiB", rss / 2 ** 20), peer: goal },
    { ...alone(`${name}, PSS`, "MiB", pss / 2 ** 20), peer: goal },
    alone(`${name}, of no file`, "MiB", anonymous / 2 ** 20),
    alone(`${name}, CPU in a minute`, "s", cpu),
  ];
}

/** Milliseconds of each: from asking the API server to send the event, to the kernel's own event. */
async function additions(
  node: RealNamespace,
  control: Control,
  nodes: number,
  rounds: number,
  pid: number,
): Promise<{ readonly times: readonly number[]; readonly cpu: number }> {
  const times: number[] = [];
  const before = readStat(pid).cpuSeconds;
  for (let round = 0; round < rounds; round++) {
    const index = nodes + round;
    const { promise, resolve } = Promise.withResolvers<number>();
    const stop = watch(node, (event) => {
      if (event.kind === "route" && routesTo(node).has(podRange(index))) resolve(performance.now());
    });
    try {
      const started = performance.now();
      await control.addNode(index);
      times.push((await Promise.race([promise, late(index)])) - started);
    } finally {
      stop();
    }
    // The agent compares what its own writes touched, which is part of the cost.
    await Bun.sleep(BETWEEN_MS);
  }
  return { times, cpu: ((readStat(pid).cpuSeconds - before) / rounds) * 1000 };
}

async function late(index: number): Promise<never> {
  await Bun.sleep(LATE_MS);
  throw new WeftError("timeout", `there is no route to ${podRange(index)} after ${LATE_MS / 1000} s`);
}

function tableFigures({ whole, one, rows }: TablesResult): Figure[] {
  return [
    alone("rows of one node's plan", "count", rows),
    ...distribution(
      "tables, whole, CPU of one node",
      whole.map((c) => c.cpu),
    ),
    ...distribution(
      "tables, one node more, CPU of one node",
      one.map((c) => c.cpu),
    ),
    ...distribution(
      "tables, one node more, on the clock",
      one.map((c) => c.wall),
    ),
  ];
}

const distribution = (name: string, milliseconds: readonly number[]): Figure[] =>
  [50, 99].map((p) => alone(`${name}, p${p}`, "ms", percentile(milliseconds, p)));

const alone = (name: string, unit: Figure["unit"], weft: number): Figure => ({
  name,
  unit,
  weft,
  peer: undefined,
  better: "lower",
});
