/**
 * Pod start under real kubelets: two clusters of one node each stand side by side, one with Weft and one with the
 * reference plugins, and take turns with bursts of pods. Started by ../pods, which has set up what is needed.
 */
import { writeSync } from "node:fs";
import { join } from "node:path";
import { describeError, hintOf, isInvalid } from "@weft/base";
import {
  bridgeNetwork,
  buildPrograms,
  type Cluster,
  removeLeftovers,
  startCluster,
  weftNetwork,
} from "@weft/e2e";
import { renderReport } from "../report.ts";
import { type Burst, runBurst } from "./burst.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { reportOf, type SideName, type Versions } from "./report.ts";

const WEFT = join(import.meta.dir, "../../dist/weft");

const say = (text: string): void => void writeSync(2, `bench: ${text}\n`);
/** Set once the run was interrupted. */
let ending: Promise<void> | undefined;

function interrupt(): void {
  if (ending !== undefined) return;
  say("interrupted: removing everything");
  ending = removeLeftovers().finally(() => process.exit(130));
}

type Sides = Readonly<Record<SideName, Cluster>>;

async function startSides(): Promise<Sides> {
  const programs = await buildPrograms();
  const start = (name: string, network: ReturnType<typeof bridgeNetwork>): Promise<Cluster> =>
    startCluster({ name, families: "dual", racks: [1], network, programs });
  const weft = await start("bweft", weftNetwork({ backend: "auto" }));
  return { weft, peer: await start("bpeer", bridgeNetwork()) };
}

async function measure(sides: Sides, { burst, rounds }: Options): Promise<Record<SideName, Burst[]>> {
  const bursts: Record<SideName, Burst[]> = { weft: [], peer: [] };
  for (let round = 0; round <= rounds; round++) {
    // The first round only warms up: what is loaded and allocated once.
    say(round === 0 ? "warming up" : `round ${round} of ${rounds}`);
    const order: readonly SideName[] = round % 2 === 0 ? ["weft", "peer"] : ["peer", "weft"];
    for (const side of order) {
      const found = await runBurst(sides[side], round, burst);
      say(`  ${side}: all ready after ${(found.whole / 1000).toFixed(1)} s, ADD ${found.add.toFixed(1)} ms`);
      if (round > 0) bursts[side].push(found);
    }
  }
  return bursts;
}

async function versionsOf({ nodes }: Cluster): Promise<Versions> {
  const machine = nodes[0]!.machine;
  const last = (text: string, at: number): string => text.trim().split(/\s+/)[at] ?? "unknown";
  return {
    kubernetes: last(await machine.exec(["kubelet", "--version"]), 1),
    containerd: last(await machine.exec(["containerd", "--version"]), 2),
  };
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    writeSync(1, USAGE);
    return 0;
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
  await removeLeftovers();
  try {
    const sides = await startSides();
    const report = reportOf(await measure(sides, options), options, WEFT, await versionsOf(sides.weft));
    writeSync(1, options.json ? `${JSON.stringify(report, undefined, 2)}\n` : `${renderReport(report)}\n`);
    for (const cluster of Object.values(sides)) await cluster.stop();
    return 0;
  } finally {
    await ending;
    await removeLeftovers();
  }
}

try {
  process.exit(await main());
} catch (error) {
  // What fails because everything is being taken away is no news.
  await ending;
  const hint = hintOf(error);
  writeSync(2, `bench: ${describeError(error)}\n${hint === undefined ? "" : `       ${hint}\n`}`);
  process.exit(isInvalid(error) ? 2 : 1);
}
