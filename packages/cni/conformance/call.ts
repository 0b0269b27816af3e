/** One bare call of a plugin under test: exactly the environment and input given, and everything that came back. */
import type { ErrorResult } from "../errors.ts";
import { type Spawn, spawnProcess } from "../runtime/spawn.ts";

export interface Call {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly spawn?: Spawn;
}

export interface Answer {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function callPlugin({ argv, environment, stdin, spawn = spawnProcess }: Call): Promise<Answer> {
  const child = spawn(argv, { environment, stdin: Buffer.from(stdin) });
  const { code } = await child.exited;
  await Promise.all([child.stdout.ended, child.stderr.ended]);
  return { code, stdout: child.stdout.text(), stderr: child.stderr.text() };
}

/** The error JSON of a plugin that failed. Throws when it did not fail as the specification says. */
export function errorOf({ code, stdout, stderr }: Answer): ErrorResult {
  const context = `exit code ${code}, stdout ${JSON.stringify(stdout)}, stderr ${JSON.stringify(stderr)}`;
  if (code === 0 || code === null) throw new Error(`expected a failure: ${context}`);
  const error = JSON.parse(stdout) as ErrorResult;
  if (typeof error.code !== "number" || typeof error.msg !== "string") {
    throw new Error(`expected an error with code and msg: ${context}`);
  }
  return error;
}
