/** Starting a child process and catching what it prints. A runtime may be given another way to start children. */
import type { Clock } from "@weft/base";

export interface SpawnOptions {
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
}

export interface ChildProcess {
  readonly pid: number;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
  /** Settles when the process has ended: its exit code, or the signal that ended it. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  readonly stdout: OutputCollector;
  readonly stderr: OutputCollector;
}

/**
 * Starts a program: `argv[0]` is its path. Throws what the system says (ENOENT, EACCES, ENOEXEC, ETXTBSY).
 * To run plugins inside of a node's namespace, give the runtime a Spawn that switches to it around spawnProcess, as
 * children start in the namespace of the calling thread, or one that puts `ip netns exec NODE` before argv.
 */
export type Spawn = (argv: readonly string[], options: SpawnOptions) => ChildProcess;

/** Bytes that a stream is read to at most; what comes after is dropped. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

export class OutputCollector {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  readonly #cancel: () => Promise<void>;
  /** Settles at the end of the stream, or when it breaks. */
  readonly ended: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    const reader = stream.getReader();
    this.#cancel = () => reader.cancel();
    this.ended = this.#read(() => reader.read());
  }

  async #read(next: () => Promise<{ done: boolean; value?: Uint8Array | undefined }>): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await next();
        if (done || value === undefined) return;
        if (this.#length < OUTPUT_LIMIT) this.#chunks.push(value);
        this.#length += value.length;
      }
    } catch {
      // The stream was given up: what has come so far counts.
    }
  }

  /** Stops reading; what has come so far stays. */
  giveUp(): void {
    this.#cancel().catch(() => {});
  }

  get truncated(): boolean {
    return this.#length > OUTPUT_LIMIT;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}

/**
 * To be called when the process has ended: waits for the ends of its outputs, but no longer than `ms`, since a child
 * that it left behind may hold them open for as long as it likes; then they are given up.
 */
export async function drain(
  outputs: readonly OutputCollector[],
  ms: number,
  clock: Pick<Clock, "setTimeout">,
): Promise<void> {
  const { promise: lingered, resolve } = Promise.withResolvers<void>();
  const cancel = clock.setTimeout(resolve, ms);
  await Promise.race([Promise.all(outputs.map((output) => output.ended)), lingered]);
  cancel();
  for (const output of outputs) output.giveUp();
}

/** The usual way to start a plugin. */
export const spawnProcess: Spawn = (argv, { environment, stdin }) => {
  const child = Bun.spawn([...argv], {
    env: { ...environment },
    stdin,
    stdout: "pipe",
    stderr: "pipe",
  });
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    exited: child.exited.then(() => ({
      code: child.exitCode,
      signal: child.signalCode === null ? null : String(child.signalCode),
    })),
    stdout: new OutputCollector(child.stdout),
    stderr: new OutputCollector(child.stderr),
  };
};
