/**
 * Runs every test and counts them together: types, format and lint, then each room's tests in a process of its
 * own, so that a crash in one room takes no other's results along. Two rooms run at a time: most of what they do
 * is to wait for something. A room that hangs is ended and counts as a failure. Failures are told once more, in
 * short, below "-- what failed". The last line is "N passed, N failed", with ", N skipped" behind it if any were.
 *
 *   bun run scripts/test.ts [PATH...]   only the tests in these files or below these directories
 *
 * WEFT_TEST_MINUTES bounds each room, 25 when absent. WEFT_TEST_LANES is how many rooms run at a time, 2 when absent.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { type Count, parseFailures, parseReport } from "./report.ts";

const ROOT = resolve(import.meta.dir, "..");
const BUN = process.execPath;
const MINUTES = Number(process.env["WEFT_TEST_MINUTES"] ?? 25);
const LANES = Number(process.env["WEFT_TEST_LANES"] ?? 2);
/** Rooms that take longest begin first, so that no lane ends long after the other. */
const LONG = ["apps/agent/", "lab/"];
/** Longer than any single test needs, so that a test that hangs is told by its name. */
const TEST_MS = 120_000;
/** What a group gets between being asked to end and being ended. */
const GRACE_MS = 3000;
/** Lines of a failure in the list at the end, its first and its last ones; its room's output has all of them. */
const FIRST = 8;
const LAST = 32;

const total: Count = { passed: 0, failed: 0, skipped: 0 };
const scratch = mkdtempSync(join(tmpdir(), "weft-test-"));
const failures: string[] = [];
const running = new Set<Bun.Subprocess>();
let runs = 0;

function remember(title: string, said: string): void {
  const lines = said.split("\n").filter((line) => line.trim() !== "");
  const short =
    lines.length > FIRST + LAST + 1
      ? [...lines.slice(0, FIRST), `... ${lines.length - FIRST - LAST} lines ...`, ...lines.slice(-LAST)]
      : lines;
  failures.push([title, ...short.map((line) => `    ${line}`)].join("\n"));
}

/** The last lines of an output. */
function tail(output: string): string {
  return output.trimEnd().split("\n").slice(-LAST).join("\n");
}

function endGroup(child: Bun.Subprocess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // All of it has ended already.
  }
}

interface Outcome {
  readonly output: string;
  readonly seconds: number;
  /** Undefined when it ended well, else why it did not. */
  readonly fault?: string;
}

/**
 * Runs a command in a session of its own. Its output goes to a file: unlike a pipe, a file is not kept open by
 * a process that the command has left behind.
 */
async function run(command: readonly string[]): Promise<Outcome> {
  const started = performance.now();
  const file = join(scratch, `output-${runs++}`);
  const log = Bun.file(file);
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: log,
    stderr: log,
    detached: true,
  });
  running.add(child);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    endGroup(child, "SIGTERM");
    setTimeout(() => endGroup(child, "SIGKILL"), GRACE_MS).unref();
  }, MINUTES * 60_000);
  await child.exited;
  clearTimeout(timer);
  running.delete(child);
  endGroup(child, "SIGKILL");
  const fault = late
    ? `not done after ${MINUTES} minutes`
    : child.signalCode !== null
      ? `ended by ${child.signalCode}`
      : child.exitCode !== 0
        ? `exit code ${child.exitCode}`
        : undefined;
  const seconds = (performance.now() - started) / 1000;
  const output = readFileSync(file, "utf8");
  rmSync(file);
  return { output, seconds, ...(fault && { fault }) };
}

function tell(name: string, count: Count, { output, seconds, fault }: Outcome): void {
  if (count.failed > 0) process.stdout.write(output.endsWith("\n") ? output : `${output}\n`);
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  const why = fault === undefined ? "" : ` (${fault})`;
  console.log(
    `== ${name}: ${count.passed} passed, ${count.failed} failed${skipped} in ${seconds.toFixed(1)} s${why}`,
  );
}

/** A command that passes or fails as a whole. */
async function check(name: string, command: readonly string[]): Promise<void> {
  const outcome = await run(command);
  const failed = outcome.fault === undefined ? 0 : 1;
  tell(name, { passed: 1 - failed, failed, skipped: 0 }, outcome);
  if (failed > 0) remember(name, tail(outcome.output));
}

/** The tests of a room; counts come from the report, which the runner writes at its end. */
async function room(path: string): Promise<void> {
  const report = join(scratch, `report-${runs}.xml`);
  const command = [
    BUN,
    "test",
    "--timeout",
    `${TEST_MS}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ];
  const outcome = await run([...command, `./${path}`]);
  const text = readText(report);
  const count = parseReport(text) ?? { passed: 0, failed: 1, skipped: 0 };
  const told = parseFailures(text);
  // A file that cannot be loaded shows only in the exit code.
  if (outcome.fault !== undefined && count.failed === 0) count.failed = 1;
  const nothing = count.passed + count.failed === 0;
  // Tests that were all skipped have tested nothing: that must not look like success.
  if (nothing) count.failed = 1;
  const fault = nothing && outcome.fault === undefined ? "nothing was tested" : outcome.fault;
  tell(path, count, fault === undefined ? outcome : { ...outcome, fault });
  for (const { place, title, said } of told) remember(`${place}: ${title}`, said);
  if (count.failed > told.length) remember(`${path}: ${fault ?? "failed"}`, tail(outcome.output));
}

/** Empty when there is no such file. */
function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Every directory with tests: two levels deep where rooms are grouped, else one. */
function rooms(): string[] {
  const found = new Set<string>();
  for (const file of new Bun.Glob("*/**/*.test.ts").scanSync(ROOT)) {
    const parts = file.split("/");
    if (parts.includes("node_modules") || parts[0] === "dist") continue;
    const grouped = ["packages", "plugins", "apps"].includes(parts[0] as string);
    found.add(`${parts.slice(0, grouped ? 2 : 1).join("/")}/`);
  }
  const all = [...found].sort();
  return [...LONG.filter((path) => found.has(path)), ...all.filter((path) => !LONG.includes(path))];
}

/** As the runner wants it: below the root, a directory with a slash at its end. Throws when there is none. */
function named(path: string): string {
  for (const base of [process.cwd(), ROOT]) {
    try {
      const below = relative(ROOT, realpathSync(resolve(base, path)));
      if (below.startsWith("..")) continue;
      return below.endsWith(".ts") ? below : `${below}/`;
    } catch {
      // Not there: the other place may have it.
    }
  }
  throw new Error(`${path} is no file or directory of this checkout`);
}

function interrupted(signal: NodeJS.Signals): void {
  for (const child of running) endGroup(child, "SIGKILL");
  rmSync(scratch, { recursive: true, force: true });
  console.log(`\ninterrupted by ${signal}`);
  process.exit(130);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupted(signal));

try {
  const only = process.argv.slice(2).map(named);
  if (only.length === 0) {
    await check("types", ["node_modules/.bin/tsc", "--noEmit"]);
    await check("format and lint", ["node_modules/.bin/biome", "check", "."]);
  }
  const waiting = only.length > 0 ? only : rooms();
  const lane = async (): Promise<void> => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) await room(path);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
} catch (error) {
  const said = `!! ${error instanceof Error ? error.message : error}`;
  console.log(said);
  failures.push(said);
  total.failed++;
} finally {
  for (const child of running) endGroup(child, "SIGKILL");
  rmSync(scratch, { recursive: true, force: true });
}
if (failures.length > 0) console.log(["-- what failed", ...failures].join("\n"));
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
