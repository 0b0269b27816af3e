/** One execution of a plugin: environment and standard input in, its standard output or a typed error out. */
import type { Clock } from "@weft/base";
import { type CniError, parseErrorResult } from "../errors.ts";
import type { Command } from "../skeleton/requirements.ts";
import { PluginExecutionError } from "./errors.ts";
import { type ChildProcess, drain, type Spawn } from "./spawn.ts";

export interface Execution {
  /** Path of the executable. */
  readonly file: string;
  /** Name of the plugin in messages. */
  readonly plugin: string;
  readonly command: Command;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
  readonly timeoutMs: number;
}

export interface Executor {
  readonly spawn: Spawn;
  readonly clock: Clock;
}

/** How long an output may stay open after the plugin has ended, held by a child that it left behind. */
const LINGER_MS = 1000;
const BUSY_TRIES = 5;
const BUSY_WAIT_MS = 200;

/**
 * Runs the plugin and returns what it printed. Throws the plugin's own CniError when it printed one and failed, and
 * PluginExecutionError otherwise. A plugin that is still running after the timeout is killed.
 */
export async function execute(execution: Execution, executor: Executor): Promise<string> {
  const { plugin, command } = execution;
  const child = await start(execution, executor);
  let timedOut = false;
  const cancel = executor.clock.setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, execution.timeoutMs);
  const exit = await child.exited;
  cancel();
  await drain([child.stdout, child.stderr], LINGER_MS, executor.clock);

  const stderr = child.stderr.text();
  const fail = (failure: "timeout" | "killed" | "exit" | "output", message: string): never => {
    throw new PluginExecutionError(failure, message, { plugin, command, stderr });
  };
  if (timedOut) return fail("timeout", `still running after ${execution.timeoutMs} ms, and was killed`);
  if (exit.signal !== null) return fail("killed", `killed by ${exit.signal}`);
  if (child.stdout.truncated) return fail("output", "printed more than a result can be");
  const stdout = child.stdout.text();
  if (exit.code === 0) return stdout;
  const error = reportedError(stdout, plugin, command);
  if (error !== undefined) throw error;
  const shown = stdout.trim() === "" ? "" : `, printing "${stdout.trim().slice(0, 200)}"`;
  return fail("exit", `exit code ${exit.code}${shown}`);
}

async function start(execution: Execution, { spawn, clock }: Executor): Promise<ChildProcess> {
  const { file, plugin, command, environment, stdin } = execution;
  for (let attempt = 1; ; attempt++) {
    try {
      return spawn([file], { environment, stdin });
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      // Somebody is just writing the executable: it will be whole in a moment.
      if (code === "ETXTBSY" && attempt < BUSY_TRIES) {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, BUSY_WAIT_MS));
        continue;
      }
      if (code === "EACCES" || code === "ENOEXEC") {
        throw new PluginExecutionError("not-executable", `${file} cannot be executed`, {
          plugin,
          command,
          cause,
        });
      }
      throw new PluginExecutionError(code === "ENOENT" ? "absent" : "spawn", `${file} cannot be started`, {
        plugin,
        command,
        cause,
      });
    }
  }
}

function reportedError(stdout: string, plugin: string, command: Command): CniError | undefined {
  try {
    return parseErrorResult(JSON.parse(stdout), `plugin ${plugin} (${command})`);
  } catch {
    return undefined;
  }
}
