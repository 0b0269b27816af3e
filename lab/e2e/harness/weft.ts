/**
 * The executable under test, built once a file of tests and called as a user calls it. Labs are named after the
 * process that made them ("e" PID and two digits), so that what an earlier run left can be told from what runs.
 */
import { afterAll, beforeAll } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { listNamed } from "@weft/kernel/netns";
import { tearDown } from "../../down.ts";
import { LAB_DIRECTORY, listLabs } from "../../state.ts";

export const CHECKOUT = join(import.meta.dir, "../../..");
const HOMES = "/tmp/weft-e2e-";
/** Files of this run. */
export const HOME = `${HOMES}${process.pid}`;
export const WEFT = `${HOME}/weft`;

const BUILD_MS = 120_000;
const COMMAND_MS = 100_000;

export interface Done {
  /** Exit code; 128 + signal is the shell's business, so a killed command has -1. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

/** A terminal's worth of environment without colours; tables are as wide as they need. */
const ENVIRONMENT = {
  ...process.env,
  PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
  NO_COLOR: "1",
  COLUMNS: "250",
};

/** Starts a command; `stdout` and `stderr` are to be read. */
export const start = (argv: readonly string[], timeout = COMMAND_MS) =>
  Bun.spawn([...argv], {
    cwd: CHECKOUT,
    env: ENVIRONMENT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout,
    killSignal: "SIGKILL",
  });

export async function run(argv: readonly string[], timeout?: number): Promise<Done> {
  const started = performance.now();
  const child = start(argv, timeout);
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { code: child.exitCode ?? -1, stdout, stderr, ms: performance.now() - started };
}

/** `weft WORD...` */
export const weft = (...words: readonly string[]): Promise<Done> => run([WEFT, ...words]);

/** The same, for what must succeed. */
export async function weftOk(...words: readonly string[]): Promise<string> {
  return ok(await weft(...words), `weft ${words.join(" ")}`);
}

/** Standard output of what must have succeeded. */
export function ok({ code, stdout, stderr }: Done, what: string): string {
  if (code !== 0) throw new Error(`${what}: exit code ${code}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Registers the hooks of a file of tests: the executable before them, nothing left after them. */
export function useWeft(): void {
  beforeAll(async () => {
    await removeStale();
    mkdirSync(HOME, { recursive: true });
    ok(await run([process.execPath, "run", "scripts/build.ts", WEFT], BUILD_MS), "building the executable");
  }, BUILD_MS);
  afterAll(async () => {
    for (const name of made.splice(0)) await tearDown(name);
    rmSync(HOME, { recursive: true, force: true });
  }, 120_000);
}

const made: string[] = [];
let count = 0;

/** A name for a lab, which is removed when the file of tests ends. */
export function newLabName(): string {
  const name = `e${process.pid}${String(count++ % 100).padStart(2, "0")}`;
  made.push(name);
  return name;
}

/** A directory below HOME. */
export function newDirectory(name: string): string {
  const path = join(HOME, `${name}-${count}`);
  mkdirSync(path, { recursive: true });
  return path;
}

/** Labs and files of runs whose process is gone. */
async function removeStale(): Promise<void> {
  const left = new Set([
    ...listLabs(),
    ...listNamed("weft-e").map((namespace) => namespace.split("-")[1] ?? ""),
  ]);
  for (const name of left) {
    const pid = /^e(\d+)\d\d$/.exec(name)?.[1];
    if (pid !== undefined && !isTestRun(pid)) await tearDown(name);
  }
  for (const file of existsSync(LAB_DIRECTORY) ? readdirSync(LAB_DIRECTORY) : []) {
    const pid = /^e(\d+)\d\d\.lock/.exec(file)?.[1];
    if (pid !== undefined && !isTestRun(pid)) rmSync(join(LAB_DIRECTORY, file), { force: true });
  }
  for (const home of new Bun.Glob("weft-e2e-*").scanSync({ cwd: "/tmp", onlyFiles: false })) {
    const pid = /^weft-e2e-(\d+)$/.exec(home)?.[1];
    if (pid !== undefined && !isTestRun(pid)) rmSync(join("/tmp", home), { recursive: true, force: true });
  }
}

/** True while the process lives and is a test runner: the number alone may have come to name another. */
function isTestRun(pid: string): boolean {
  try {
    // Of any checkout: two may run at once.
    return basename(readlinkSync(`/proc/${pid}/exe`)) === basename(readlinkSync("/proc/self/exe"));
  } catch {
    return false;
  }
}

/** Polls until `look` gives something that is neither undefined nor false. Throws with what `seen` says. */
export async function until<T>(
  what: string,
  ms: number,
  look: () => Promise<T | undefined | false>,
  seen: () => unknown = () => "",
  pollMs = 50,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}; ${JSON.stringify(seen())}`);
    await Bun.sleep(pollMs);
  }
}

/** A line for the reader of the test's output: what was measured. */
export const measured = (what: string, ms: number): void =>
  console.log(`measured: ${what}: ${(ms / 1000).toFixed(2)} s`);
