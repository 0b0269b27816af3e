/**
 * Keeps one command running: starts it in a network namespace, starts it again when it ends, slower each time
 * that it does not last. It leads a process group of its own, so that what it has started ends with it.
 */
import { closeSync, openSync } from "node:fs";
import { type Clock, describeError } from "@weft/base";
import { spawnIn } from "@weft/kernel/netns";
import { identify, type ProcessIdentity, terminate } from "../processes.ts";
import { Backoff } from "./wait.ts";

export interface Command {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Descriptor of the namespace, open until the command is stopped. */
  readonly namespace: { readonly fd: number };
  /** Both outputs are appended to it. */
  readonly log: string;
}

export interface KeepRunningOptions {
  readonly clock: Clock;
  /** After each start, end, and failed start. */
  readonly changed: () => void;
}

/** Having run for so long counts as success: the next wait is the shortest again. */
const STEADY_MS = 10_000;

export class KeepRunning {
  readonly #command: Command;
  readonly #options: KeepRunningOptions;
  #process: ProcessIdentity | undefined;
  #cancelRestart: (() => void) | undefined;
  readonly #backoff = new Backoff();
  #wanted = false;
  #restarts = 0;
  #lastExit: string | undefined;
  #startError: string | undefined;

  constructor(command: Command, options: KeepRunningOptions) {
    this.#command = command;
    this.#options = options;
  }

  get process(): ProcessIdentity | undefined {
    return this.#process;
  }
  /** Times that it was started again. */
  get restarts(): number {
    return this.#restarts;
  }
  get lastExit(): string | undefined {
    return this.#lastExit;
  }
  /** Why it could not be started, while it waits to be tried again. */
  get startError(): string | undefined {
    return this.#startError;
  }

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#spawn();
  }

  /** SIGTERM to the group, SIGKILL after `graceMs`; resolves when the process is gone. Does not start again. */
  async stop(graceMs: number): Promise<void> {
    this.#wanted = false;
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
    if (this.#process !== undefined) await terminate([this.#process], graceMs, true);
  }

  #spawn(): void {
    const { argv, environment, namespace, log } = this.#command;
    const { clock, changed } = this.#options;
    const started = clock.monotonic();
    try {
      const output = openSync(log, "a", 0o600);
      try {
        const child = spawnIn(namespace, [...argv], {
          stdin: "ignore",
          stdout: output,
          stderr: output,
          env: { ...environment },
          // A session, and so a group, of its own.
          detached: true,
        });
        this.#process = identify(child.pid);
        this.#startError = undefined;
        child.exited.then(() => {
          endGroup(child.pid);
          const { exitCode, signalCode } = child;
          this.#ended(started, signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`);
        });
      } finally {
        closeSync(output);
      }
    } catch (error) {
      this.#startError = `cannot start ${argv[0]}: ${describeError(error)}`;
      this.#ended(started, undefined);
      return;
    }
    changed();
  }

  #ended(started: number, exit: string | undefined): void {
    const { clock, changed } = this.#options;
    this.#process = undefined;
    if (exit !== undefined) this.#lastExit = exit;
    if (this.#wanted) {
      if (clock.monotonic() - started >= STEADY_MS) this.#backoff.reset();
      this.#cancelRestart = clock.setTimeout(() => {
        this.#cancelRestart = undefined;
        if (exit !== undefined) this.#restarts++;
        this.#spawn();
      }, this.#backoff.next());
    }
    changed();
  }
}

/** What a command has left running ends with it, as everything in a container does. */
function endGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // Nothing is left.
  }
}
