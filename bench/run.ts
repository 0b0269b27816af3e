/**
 * Measures Weft side by side with its peers and prints both:
 *
 *     node_modules/.bin/bun run bench/run.ts cni --pods 250
 *
 * Exit codes: 0 measured, 1 failed, 2 wrong use, 130 interrupted. Everything it made is gone then.
 */
import { writeSync } from "node:fs";
import { describeError, hintOf, isInvalid } from "@weft/base";
import { benchAgent } from "./agent.ts";
import { benchCni } from "./cni.ts";
import { benchKubeProxy } from "./kube-proxy.ts";
import { type BenchOptions, parseBenchOptions, type Suite } from "./options.ts";
import { benchPools } from "./pools.ts";
import { type Report, renderReport } from "./report.ts";
import { benchScale } from "./scale.ts";
import { benchServices } from "./services.ts";
import { openSession, type Session } from "./session/session.ts";
import { benchTraffic } from "./traffic.ts";

const RUN: Record<Suite, (session: Session, options: BenchOptions, say: Say) => Promise<Report>> = {
  cni: benchCni,
  agent: benchAgent,
  traffic: benchTraffic,
  services: benchServices,
  scale: benchScale,
  "kube-proxy": benchKubeProxy,
  pools: benchPools,
};
type Say = (text: string) => void;

const say: Say = (text) => void writeSync(2, `bench: ${text}\n`);
let session: Session | undefined;
let interrupted = false;

async function interrupt(): Promise<void> {
  if (interrupted) return;
  interrupted = true;
  say("interrupted: removing everything");
  await session?.close();
  process.exit(130);
}

async function main(): Promise<number> {
  const options = parseBenchOptions(process.argv.slice(2));
  const reports: Report[] = [];
  for (const suite of options.suites) {
    session = openSession(options.weft);
    try {
      const report = await RUN[suite](session, options, say);
      reports.push(report);
      if (!options.json) writeSync(1, `${renderReport(report)}\n`);
    } finally {
      await session.close();
    }
  }
  if (options.json) writeSync(1, `${JSON.stringify(reports, undefined, 2)}\n`);
  return 0;
}

process.on("SIGINT", () => void interrupt());
process.on("SIGTERM", () => void interrupt());
try {
  process.exit(await main());
} catch (error) {
  // What fails because everything is being taken away is no news.
  if (interrupted) await new Promise(() => {});
  const hint = hintOf(error);
  writeSync(2, `bench: ${describeError(error)}\n${hint === undefined ? "" : `       ${hint}\n`}`);
  process.exit(isInvalid(error) ? 2 : 1);
}
