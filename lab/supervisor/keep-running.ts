/**
 * Keeps one command running: starts it in a network namespace, starts it again when it ends, slower each time
 * that it does not last. It leads a process group of its own, so that what it has started ends with it.
 */
import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { type Clock, describeError } from "@weft/base";
import { spawnIn } from "@weft/kernel/netns";
import { identify, type ProcessIdentity, terminate } from "../processes.ts";
import { Backoff } from "./wait.ts";

export interface Command {
  /** A function is asked at each start. */
  readonly argv: readonly string[] | (() => readonly string[]);
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
  /** Whether it is started again after that end; always by default. */
  readonly again?: (end: End) => boolean;
}

/** How it ended, with times in milliseconds since the epoch. */
export interface End {
  /** 128 + signal when a signal ended it. */
  readonly exitCode: number;
  readonly signal: NodeJS.Signals | undefined;
  readonly startedAt: number;
  readonly endedAt: number;
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
  #lastEnd: End | undefined;
  #startedAt = 0;
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
  get lastEnd(): End | undefined {
    return this.#lastEnd;
  }
  /** When it was started last, in milliseconds since the epoch. */
  get startedAt(): number {
    return this.#startedAt;
  }
  /** It does not run, and will be started again. */
  get waits(): boolean {
    return this.#cancelRestart !== undefined;
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

  /** Ends the process that runs now; what follows is as if it had ended by itself. */
  async kill(graceMs: number): Promise<void> {
    if (this.#process !== undefined) await terminate([this.#process], graceMs, true);
  }

  #spawn(): void {
    const { environment, namespace, log } = this.#command;
    const { clock, changed } = this.#options;
    const started = clock.monotonic();
    let argv: readonly string[] = [];
    try {
      argv = typeof this.#command.argv === "function" ? this.#command.argv() : this.#command.argv;
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
        this.#startedAt = clock.now();
        this.#startError = undefined;
        child.exited.then(() => {
          endGroup(child.pid);
          const { exitCode, signalCode } = child;
          const signal = signalCode as NodeJS.Signals | null;
          this.#lastEnd = {
            exitCode: signal === null ? (exitCode ?? 0) : 128 + (constants.signals[signal] ?? 0),
            signal: signal ?? undefined,
            startedAt: this.#startedAt,
            endedAt: clock.now(),
          };
          this.#ended(started, signal === null ? `exit code ${exitCode}` : `signal ${signal}`);
        });
      } finally {
        closeSync(output);
      }
    } catch (error) {
      this.#startError = `cannot start ${argv[0] ?? "it"}: ${describeError(error)}`;
      this.#ended(started, undefined);
      return;
    }
    changed();
  }

  #ended(started: number, exit: string | undefined): void {
    const { clock, changed } = this.#options;
    this.#process = undefined;
    if (exit !== undefined) this.#lastExit = exit;
    const isLast =
      exit !== undefined && this.#lastEnd !== undefined && this.#options.again?.(this.#lastEnd) === false;
    if (this.#wanted && !isLast) {
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
export function endGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // Nothing is left.
  }
}
