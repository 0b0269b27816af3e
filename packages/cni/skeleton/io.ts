/**
 * What a plugin's process touches: environment, standard streams, and whether a path names its own namespace.
 * The real one uses plain system calls: process.stdin and process.stdout cost 10 ms to load.
 */
import { fstatSync, readSync, statSync, writeSync } from "node:fs";

export interface PluginIo {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads standard input to its end, but never more than `limit` + 1 bytes: that many say that it is too long. */
  readStdin(limit: number): Uint8Array;
  writeStdout(text: string): void;
  writeStderr(text: string): void;
  /** Device and inode of a namespace file; undefined when there is no such file. "self" is the process's own. */
  namespaceIdentity(path: string): string | undefined;
}

const CHUNK = 65536;

/** Sleeps without giving up the thread: for descriptors that somebody made nonblocking. */
function nap(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

const isAgain = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "EAGAIN";

export function readAll(fd: number, limit: number): Uint8Array {
  // A terminal or /dev/null has no configuration, and a terminal would wait for the user.
  if (fstatSync(fd).isCharacterDevice()) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  for (let total = 0; total <= limit; ) {
    const chunk = new Uint8Array(Math.min(CHUNK, limit + 1 - total));
    try {
      const n = readSync(fd, chunk);
      if (n === 0) break;
      chunks.push(chunk.subarray(0, n));
      total += n;
    } catch (error) {
      if (!isAgain(error)) throw error;
      nap();
    }
  }
  return Buffer.concat(chunks);
}

export function writeAll(fd: number, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if (!isAgain(error)) throw error;
      nap();
    }
  }
}

/** The input and output of this process. */
export function processIo(): PluginIo {
  return {
    environment: process.env,
    readStdin: (limit) => readAll(0, limit),
    writeStdout: (text) => writeAll(1, text),
    writeStderr: (text) => writeAll(2, text),
    namespaceIdentity(path) {
      const stat = statSync(path === "self" ? "/proc/thread-self/ns/net" : path, { throwIfNoEntry: false });
      return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
    },
  };
}
