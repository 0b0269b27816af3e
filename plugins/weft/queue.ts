/**
 * Deletions that the agent was not there to hear. A runtime asks once, then forgets the container; so the
 * plugin leaves a file, answers success, and the agent works the files off before it takes the next ADD.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import type { AttachmentRequest } from "./protocol.ts";

const fileOf = (r: AttachmentRequest): string =>
  `${createHash("sha256").update(`${r.network}\0${r.containerId}\0${r.interface}`).digest("hex").slice(0, 32)}.json`;

/** Leaves a deletion for the agent. The same one twice is one file. Throws what the file system says. */
export function enqueue(directory: string, request: AttachmentRequest): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = `${directory}/${fileOf(request)}`;
  const temporary = `${file}.${process.pid}.tmp`;
  const fd = openSync(temporary, "w", 0o600);
  try {
    writeSync(fd, JSON.stringify(request));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
}

export interface Queued {
  readonly file: string;
  /** Undefined when the file is no request: somebody damaged it. */
  readonly request: AttachmentRequest | undefined;
}

/** Everything that waits, in order of file names. An absent directory is an empty queue. */
export function queued(directory: string): Queued[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => ({ file: `${directory}/${name}`, request: read(`${directory}/${name}`) }));
}

/** Takes one off the queue. */
export function dequeue(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function read(file: string): AttachmentRequest | undefined {
  try {
    const value = JSON.parse(readFileSync(file, "utf8")) as Partial<AttachmentRequest>;
    const ok = typeof value.containerId === "string" && typeof value.interface === "string";
    return ok ? (value as AttachmentRequest) : undefined;
  } catch {
    return undefined;
  }
}
