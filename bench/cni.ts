/**
 * Pod ADD and DEL, Weft against the reference plugins: the same runtime, the same kernel, by turns.
 *
 *   alone     one ADD, then its DEL, the sides alternating
 *   burst     so many ADDs at once, then their DELs, the sides alternating
 *   memory    one more burst for each side, watched; not among the timed ones, as watching takes time
 *
 * All pods of a burst are in namespaces that are made before and used again: making and ending a namespace costs
 * more than many an ADD, goes on in the background, and is the container runtime's business.
 */
import { type Peak, peakDuring } from "./cni/memory-watch.ts";
import { burst, fill, type Pod, podIn, type Side, timed } from "./cni/runner.ts";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { readStat } from "./proc.ts";
import type { Figure, Report } from "./report.ts";
import type { Session } from "./session/session.ts";
import { startBothSides } from "./sides/both.ts";
import { REFERENCE_PACKAGE, referenceName } from "./sides/bridge.ts";
import { median, medianPercentile } from "./statistics.ts";

const ROUNDS = 5;
/** ADDs alone, one after the other, in a round. */
const ALONE = 25;
/** Milliseconds after a burst: what the kernel and the agent do later must not fall into the next. */
const restAfter = (size: number): number => 350 + 5 * size;

type Operation = "add" | "del";
const OPERATIONS: readonly Operation[] = ["add", "del"];

/** Times in milliseconds, by side, operation and round. */
type Times = Record<Side["name"], Record<Operation, number[][]>>;
/** Seconds of CPU that all of a burst took: the plugins' processes and the agent; by side, operation and round. */
type Cpu = Times;
const noTimes = (): Times => ({ weft: { add: [], del: [] }, peer: { add: [], del: [] } });

export async function benchCni(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const { sides, agent } = await startBothSides(session);
  for (const side of sides) {
    say(`${side.name}: ${options.pods} pods`);
    await fill(side, makePods(session, options.pods));
  }
  const namespaces = Array.from({ length: options.burst }, () => session.pod());
  const rounds = options.rounds || ROUNDS;
  const alone = noTimes();
  const together = noTimes();
  const cpu: Cpu = noTimes();
  for (let round = 0; round <= rounds; round++) {
    // The first round only warms up: what is loaded and allocated once.
    say(round === 0 ? "warming up" : `round ${round} of ${rounds}`);
    const order = round % 2 === 0 ? sides : sides.toReversed();
    await measureAlone(order, session.pod(), round === 0 ? noTimes() : alone);
    for (const side of order) {
      const [times, seconds] = round === 0 ? [noTimes(), noTimes()] : [together, cpu];
      await measureBurst(
        side,
        side.name === "weft" ? agent : undefined,
        namespaces.map(podIn),
        times,
        seconds,
      );
    }
  }
  const peaks: Record<Side["name"], Peak> = { weft: await peakOf("weft"), peer: await peakOf("peer") };

  async function peakOf(name: Side["name"]): Promise<Peak> {
    await Bun.sleep(restAfter(options.burst));
    const side = sides.find((s) => s.name === name) as Side;
    const pods = namespaces.map(podIn);
    const peak = await peakDuring(name === "weft" ? agent : undefined, () => burst("add", side, pods));
    await burst("del", side, pods);
    return peak;
  }

  return {
    suite: "cni",
    peer: referenceName(),
    figures: [
      ...figuresOf("alone", alone, [50, 99]),
      ...figuresOf(`burst of ${options.burst}`, together, [50, 99]),
      ...lastOf(options.burst, together),
      ...cpuFigures(options.burst, cpu),
      ...memoryFigures(options.burst, peaks),
    ],
    notes: [
      `${options.pods} pods on each side; IPv4; cniVersion 1.0.0; no port mappings`,
      `each percentile is the median of those of ${rounds} rounds; ${ALONE} operations alone in a round`,
      "time is from exec of the first plugin to the answer of the last; in a burst all are asked for at once",
      "CPU is of the plugins' processes and of the agent, until the agent is at rest again; other load changes it least",
      "resident memory counts the executable's pages once for each process; own memory is of no file",
      "Weft checks the source of every packet of a pod; the peer is set up without any filter",
    ],
    machine: describeMachine(session.weft, [REFERENCE_PACKAGE]),
    command: `node_modules/.bin/bun run bench/run.ts cni --pods ${options.pods} --burst ${options.burst} --rounds ${rounds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

const makePods = (session: Session, count: number): Pod[] =>
  Array.from({ length: count }, () => podIn(session.pod()));

async function measureAlone(
  sides: readonly Side[],
  namespace: ReturnType<Session["pod"]>,
  times: Times,
): Promise<void> {
  const found = new Map(sides.map((side) => [side, { add: [] as number[], del: [] as number[] }]));
  for (let i = 0; i < ALONE; i++) {
    for (const [side, samples] of found) {
      const pod = podIn(namespace);
      for (const operation of OPERATIONS) samples[operation].push(await timed(operation, side, pod));
    }
  }
  for (const [{ name }, samples] of found) {
    for (const operation of OPERATIONS) times[name][operation].push(samples[operation]);
  }
}

async function measureBurst(
  side: Side,
  agent: number | undefined,
  pods: readonly Pod[],
  times: Times,
  cpu: Cpu,
): Promise<void> {
  for (const operation of OPERATIONS) {
    const before = cpuSoFar(agent);
    times[side.name][operation].push(await burst(operation, side, pods));
    // What the agent does a moment later belongs to it as well.
    await Bun.sleep(restAfter(pods.length));
    cpu[side.name][operation].push([cpuSoFar(agent) - before]);
  }
}

const cpuSoFar = (agent: number | undefined): number =>
  readStat(process.pid).childrenCpuSeconds + (agent === undefined ? 0 : readStat(agent).cpuSeconds);

function cpuFigures(size: number, cpu: Cpu): Figure[] {
  return OPERATIONS.map((operation) => {
    const each = (side: Side["name"]): number => (median(cpu[side][operation].flat()) * 1000) / size;
    return {
      name: `${operation.toUpperCase()} burst of ${size}, CPU of one`,
      unit: "ms",
      weft: each("weft"),
      peer: each("peer"),
      better: "lower",
    };
  });
}

function figuresOf(what: string, times: Times, percentiles: readonly number[]): Figure[] {
  return OPERATIONS.flatMap((operation) =>
    percentiles.map(
      (p): Figure => ({
        name: `${operation.toUpperCase()} ${what}, p${p}`,
        unit: "ms",
        weft: medianPercentile(times.weft[operation], p),
        peer: medianPercentile(times.peer[operation], p),
        better: "lower",
      }),
    ),
  );
}

/** Until the last of a burst has its answer. */
function lastOf(size: number, times: Times): Figure[] {
  return OPERATIONS.map((operation) => {
    const last = (side: Side["name"]): number => median(times[side][operation].map((r) => Math.max(...r)));
    return {
      name: `${operation.toUpperCase()} burst of ${size}, all`,
      unit: "ms",
      weft: last("weft"),
      peer: last("peer"),
      better: "lower",
    };
  });
}

function memoryFigures(size: number, { weft, peer }: Record<Side["name"], Peak>): Figure[] {
  const mib = (bytes: number): number => bytes / 2 ** 20;
  const figure = (name: string, a: number, b: number | undefined): Figure => ({
    name,
    unit: "MiB",
    weft: mib(a),
    peer: b === undefined ? undefined : mib(b),
    better: "lower",
  });
  return [
    figure(`burst of ${size}, plugins resident`, weft.resident, peer.resident),
    figure(`burst of ${size}, plugins own memory`, weft.anonymous, peer.anonymous),
    figure(`burst of ${size}, agent resident`, weft.agent, undefined),
    figure(`burst of ${size}, plugins and agent resident`, weft.resident + weft.agent, peer.resident),
    figure(
      `burst of ${size}, plugins and agent own memory`,
      weft.anonymous + weft.agentAnonymous,
      peer.anonymous,
    ),
    {
      name: `burst of ${size}, processes at the peak`,
      unit: "count",
      weft: weft.processes,
      peer: peer.processes,
      better: "lower",
    },
  ];
}
