/**
 * What both comparisons of plugins measure: ADDs and DELs alone and in bursts, the sides by turns.
 *
 * All pods of a burst are in namespaces that are made before and used again: making and ending a namespace costs
 * more than many an ADD, goes on in the background, and is the container runtime's business.
 */
import type { NetnsHandle } from "@weft/kernel/netns";
import type { BenchOptions } from "../options.ts";
import { readStat } from "../proc.ts";
import type { Figure } from "../report.ts";
import type { Session } from "../session/session.ts";
import { median, medianPercentile } from "../statistics.ts";
import { burst, fill, type Pod, type Side, timed } from "./runner.ts";

const ROUNDS = 5;
/** ADDs alone, one after the other, in a round. */
export const ALONE = 25;
/** Milliseconds after a burst: what the kernel and the agent do later must not fall into the next. */
export const restAfter = (size: number): number => 350 + 5 * size;

type Operation = "add" | "del";
const OPERATIONS: readonly Operation[] = ["add", "del"];

/** Times in milliseconds, by side, operation and round. */
type Times = Record<Side["name"], Record<Operation, number[][]>>;
const noTimes = (): Times => ({ weft: { add: [], del: [] }, peer: { add: [], del: [] } });

/** A side with what belongs to it. */
export interface Measured {
  readonly side: Side;
  /** The agent's process, whose CPU counts too. */
  readonly agent?: number;
  /** New pods, one in each of these namespaces, made before anything is measured. */
  pods(namespaces: readonly NetnsHandle[]): readonly Pod[] | Promise<readonly Pod[]>;
}

export interface Rounds {
  readonly rounds: number;
  /** Those of each burst. */
  readonly namespaces: readonly NetnsHandle[];
  readonly figures: readonly Figure[];
}

/** Fills both sides with pods, then measures. */
export async function measureRounds(
  session: Session,
  options: BenchOptions,
  both: readonly Measured[],
  say: (text: string) => void,
): Promise<Rounds> {
  for (const one of both) {
    say(`${one.side.name}: ${options.pods} pods`);
    const namespaces = Array.from({ length: options.pods }, () => session.pod());
    await fill(one.side, await one.pods(namespaces));
  }
  const namespaces = Array.from({ length: options.burst }, () => session.pod());
  const rounds = options.rounds || ROUNDS;
  const alone = noTimes();
  const together = noTimes();
  /** Seconds of CPU that all of a burst took: the plugins' processes and the agent. */
  const cpu = noTimes();
  for (let round = 0; round <= rounds; round++) {
    // The first round only warms up: what is loaded and allocated once.
    say(round === 0 ? "warming up" : `round ${round} of ${rounds}`);
    const order = round % 2 === 0 ? both : both.toReversed();
    await measureAlone(order, session.pod(), round === 0 ? noTimes() : alone);
    for (const one of order) {
      const [times, seconds] = round === 0 ? [noTimes(), noTimes()] : [together, cpu];
      await measureBurst(one, await one.pods(namespaces), times, seconds);
    }
  }
  const figures = [
    ...figuresOf("alone", alone, [50, 99]),
    ...figuresOf(`burst of ${options.burst}`, together, [50, 99]),
    ...lastOf(options.burst, together),
    ...cpuFigures(options.burst, cpu),
  ];
  return { rounds, namespaces, figures };
}

async function measureAlone(both: readonly Measured[], namespace: NetnsHandle, times: Times): Promise<void> {
  const found = new Map(both.map((one) => [one, { add: [] as number[], del: [] as number[] }]));
  for (let i = 0; i < ALONE; i++) {
    for (const [one, samples] of found) {
      const [pod] = (await one.pods([namespace])) as [Pod];
      for (const operation of OPERATIONS) samples[operation].push(await timed(operation, one.side, pod));
    }
  }
  for (const [{ side }, samples] of found) {
    for (const operation of OPERATIONS) times[side.name][operation].push(samples[operation]);
  }
}

async function measureBurst(
  { side, agent }: Measured,
  pods: readonly Pod[],
  times: Times,
  cpu: Times,
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

function cpuFigures(size: number, cpu: Times): Figure[] {
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
