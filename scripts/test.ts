/**
 * Runs every test and counts them together: types, lint, the import graph, then each room's tests by itself, so
 * that a crash in one room takes no other's results along. Ends with one line "N passed, N failed, N skipped".
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const total: Count = { passed: 0, failed: 0, skipped: 0 };
const faults: string[] = [];
const scratch = mkdtempSync(join(tmpdir(), "weft-test-"));
const only = process.argv.slice(2);

function add(name: string, count: Count, seconds: number): void {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  console.log(
    `== ${name}: ${count.passed} passed, ${count.failed} failed${skipped} in ${seconds.toFixed(1)} s`,
  );
  // A room whose every test was skipped has tested nothing: that must not look like success.
  if (count.passed === 0 && count.failed === 0) faults.push(`${name}: nothing was tested`);
}

function check(name: string, command: string[]): void {
  const started = performance.now();
  const run = Bun.spawnSync(command, { stdout: "inherit", stderr: "inherit" });
  const ok = run.exitCode === 0;
  add(name, { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }, (performance.now() - started) / 1000);
}

/** A room's tests in a process of their own; counts come from the report file. */
async function room(path: string): Promise<void> {
  const report = join(scratch, `${path.replaceAll("/", "-")}.xml`);
  const started = performance.now();
  const run = Bun.spawn(
    [
      process.execPath,
      "test",
      "--timeout",
      "120000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      `./${path}/`,
    ],
    { stdout: "pipe", stderr: "pipe" },
  );
  const output = (await Promise.all([new Response(run.stdout).text(), new Response(run.stderr).text()])).join(
    "",
  );
  const code = await run.exited;
  const count = readReport(report);
  if (code !== 0) console.log(output);
  if (count === undefined) {
    faults.push(`${path}: the runner ended without a report (exit code ${code})`);
    return;
  }
  // A failure outside of any test (a file that cannot be loaded) shows only in the exit code.
  if (code !== 0 && count.failed === 0) count.failed = 1;
  add(path, count, (performance.now() - started) / 1000);
}

function readReport(file: string): Count | undefined {
  try {
    const head = /<testsuites [^>]*>/.exec(readFileSync(file, "utf8"))?.[0] ?? "";
    const number = (name: string): number =>
      Number(new RegExp(` ${name}="([0-9]+)"`).exec(head)?.[1] ?? Number.NaN);
    const [tests, failures, skipped] = [number("tests"), number("failures"), number("skipped")];
    if (Number.isNaN(tests + failures + skipped)) return undefined;
    return { passed: tests - failures - skipped, failed: failures, skipped };
  } catch {
    return undefined;
  }
}

function rooms(): string[] {
  const found = new Set<string>();
  for (const file of new Bun.Glob("{packages,plugins,apps}/*/**/*.test.ts").scanSync(".")) {
    if (!file.includes("node_modules")) found.add(file.split("/").slice(0, 2).join("/"));
  }
  for (const file of new Bun.Glob("{lab,bench,scripts}/**/*.test.ts").scanSync("."))
    found.add(file.split("/")[0] as string);
  return [...found].sort();
}

try {
  if (only.length === 0) {
    check("types", ["node_modules/.bin/tsc", "--noEmit"]);
    check("format and lint", ["node_modules/.bin/biome", "check", "."]);
  }
  for (const path of only.length > 0 ? only : rooms()) await room(path.replace(/\/+$/, ""));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
for (const fault of faults) console.log(`!! ${fault}`);
if (faults.length > 0) total.failed += faults.length;
console.log(
  `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`,
);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
