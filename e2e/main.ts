/**
 * Runs the suites, each on a cluster of its own. Started by ./run, which has set up what is needed.
 *
 *   main.ts [SUITE...] [--case PATTERN] [--hold]
 *   main.ts --build
 *
 * --case runs only the cases whose names match that regular expression; --hold leaves each cluster up after its cases until Ctrl-C.
 * --build builds what the clusters and the tests with kubectl need, and runs no suite.
 *
 * Failures are told once more below "-- what failed". The last line is "N passed, N failed", with ", N skipped" behind it if any were.
 */
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeError, hintOf } from "@weft/base";
import { buildPrograms, type Programs } from "./build/programs.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { diagnose } from "./diagnose.ts";
import { removeLeftovers } from "./machines/leftovers.ts";
import { FAILURES } from "./paths.ts";
import { say, step } from "./progress.ts";
import { bridge } from "./tests/bridge.ts";
import { installSuite } from "./tests/install.ts";
import { migrateSuite } from "./tests/migrate.ts";
import type { Case, Suite } from "./tests/suite.ts";
import { weftSuites } from "./tests/weft.ts";

const SUITES: readonly Suite[] = [bridge, installSuite, migrateSuite, ...weftSuites];

const count = { passed: 0, failed: 0, skipped: 0 };
/** What is told once more at the end. */
const failures: string[] = [];
const { values: flags, positionals: chosen } = parseArgs({
  options: {
    build: { type: "boolean", default: false },
    case: { type: "string", default: "" },
    hold: { type: "boolean", default: false },
  },
  allowPositionals: true,
});

const pattern = new RegExp(flags.case);
/** Set once the run was interrupted. */
let ending: Promise<void> | undefined;

function fail(said: string, cases = 1): void {
  count.failed += cases;
  failures.push(said);
  say(`✗ ${said}`);
}

async function finish(): Promise<never> {
  await ending;
  if (failures.length > 0) console.log(["-- what failed", ...failures].join("\n"));
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  console.log(`${count.passed} passed, ${count.failed} failed${skipped}`);
  process.exit(count.failed > 0 || count.passed === 0 ? 1 : 0);
}

async function runCase(suite: Suite, cluster: Cluster, { name, run, skip }: Case): Promise<void> {
  const title = `${suite.title}: ${name}`;
  const from = performance.now();
  const took = (): string => `${((performance.now() - from) / 1000).toFixed(1)} s`;
  try {
    const reason = await skip?.(cluster);
    if (reason !== undefined) {
      count.skipped++;
      say(`- ${title}: skipped: ${reason}`);
      return;
    }
    await run(cluster);
    if (ending !== undefined) return;
    count.passed++;
    say(`✓ ${title}: ${took()}`);
  } catch (error) {
    // What it worked on is being taken away.
    if (ending !== undefined) return;
    fail(`${title}: failed after ${took()}: ${describeError(error)}`);
    say(`  more in ${await diagnose(cluster, title)}`);
  }
}

async function runSuite(suite: Suite, programs: Programs): Promise<void> {
  const options = { ...suite.cluster(), programs };
  let cluster: Cluster;
  if (ending !== undefined) return;
  try {
    cluster = await step(`${suite.title}: cluster up`, () => startCluster(options));
  } catch (error) {
    fail(`${suite.title}: no cluster, so no case ran: ${describeError(error)}`, suite.cases.length);
    return;
  }
  const before = count.passed + count.failed;
  const cases = suite.cases.filter((c) => pattern.test(c.name));
  try {
    for (const c of cases) await runCase(suite, cluster, c);
    if (cases.length > 0 && count.passed + count.failed === before && ending === undefined) {
      fail(`${suite.title}: every case was skipped: nothing was tested`);
    }
    if (flags.hold) {
      say(
        `the cluster stays until Ctrl-C; kubectl: nsenter --target ${cluster.controlPlane.pid} --all kubectl`,
      );
      await new Promise(() => {});
    }
  } finally {
    await step(`${suite.title}: cluster removed`, () => cluster.stop());
  }
}

function interrupted(signal: NodeJS.Signals): void {
  if (ending !== undefined) return;
  say(`${signal}: removing everything`);
  ending = removeLeftovers().finally(() => process.exit(130));
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupted(signal));

try {
  const unknown = chosen.filter((name) => !SUITES.some((s) => s.title === name));
  if (unknown.length > 0) {
    throw new Error(`no suite ${unknown.join(", ")}; there are ${SUITES.map((s) => s.title).join(", ")}`);
  }
  await removeLeftovers();
  rmSync(FAILURES, { recursive: true, force: true });
  const programs = await buildPrograms();
  if (flags.build) process.exit(0);
  for (const suite of SUITES) {
    if (chosen.length === 0 || chosen.includes(suite.title)) await runSuite(suite, programs);
  }
} catch (error) {
  const hint = hintOf(error);
  fail(`${describeError(error)}${hint === undefined ? "" : `. ${hint}`}`);
}
await finish();
