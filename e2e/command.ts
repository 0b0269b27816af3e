/** Commands of this machine, run to their end. */
import { WeftError } from "@weft/base";

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Ended by SIGKILL after this many milliseconds; 60,000 when absent. */
  readonly timeout?: number;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS = 60_000;

/** Runs a command and tells how it ended, whatever the exit code. A command that is too slow ends with 137. */
export async function attempt(command: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const child = Bun.spawn([...command], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdin: options.input === undefined ? "ignore" : new Blob([options.input]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeout ?? TIMEOUT_MS);
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const code = await child.exited;
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/** Runs a command and gives what it wrote. Throws "internal" with its own words when it fails. */
export async function run(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  return outputOf(command.join(" "), await attempt(command, options));
}

/** What the command wrote. Throws "internal" with its last words when it failed. */
export function outputOf(command: string, { code, stdout, stderr }: Outcome): string {
  if (code === 0) return stdout;
  const said = (stderr.trim() || stdout.trim()).split("\n").slice(-12).join("\n");
  throw new WeftError("internal", `${command}: exit code ${code}: ${said}`);
}

/**
 * Calls `look` until it gives something, every `every` milliseconds. Throws "timeout" with `what` after `seconds`,
 * with the last error of `look` as cause.
 */
export async function until<T>(
  what: string,
  seconds: number,
  look: () => Promise<T | undefined> | T | undefined,
  every = 100,
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  let cause: unknown;
  while (performance.now() < end) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      cause = error;
    }
    await Bun.sleep(every);
  }
  throw new WeftError("timeout", `${what}: not so after ${seconds} s`, { cause });
}
