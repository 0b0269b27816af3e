/**
 * Deletions that the agent was not there to hear. A runtime asks once, then forgets the container; so the
 * plugin leaves a file, answers success, and the agent works the files off before it takes the next ADD.
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { CniError, CODE } from "@weft/cni";
import { faultPoint } from "./fault-points.ts";
import type { AttachmentRequest } from "./protocol.ts";

const fileOf = (r: AttachmentRequest): string =>
  `${new Bun.CryptoHasher("sha256").update(`${r.network}\0${r.containerId}\0${r.interface}`).digest("hex").slice(0, 32)}.json`;

/**
 * Leaves a deletion for the agent; returns the file. The same one twice is one file. Throws error 5 with the
 * directory when it cannot be written: the runtime must try again, because nobody else will.
 */
export function enqueue(directory: string, request: AttachmentRequest): string {
  try {
    return write(directory, request);
  } catch (error) {
    throw new CniError(CODE.io, `the agent is away, and the deletion cannot be left for it in ${directory}`, {
      hint: "Free space there or correct its permissions, or start the agent.",
      cause: error,
    });
  }
}

function write(directory: string, request: AttachmentRequest): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = `${directory}/${fileOf(request)}`;
  const temporary = `${file}.${process.pid}.tmp`;
  // Not synchronized with the disk: after a power cut there is no container left to delete.
  writeFileSync(temporary, JSON.stringify(request), { mode: 0o600 });
  faultPoint("plugin:del-written");
  renameSync(temporary, file);
  return file;
}

export interface Queued {
  readonly file: string;
  /** Undefined when the file is no request: somebody damaged it. */
  readonly request: AttachmentRequest | undefined;
}

/** Everything that waits, in order of file names. An absent directory is an empty queue. */
export function queued(directory: string): Queued[] {
  return namesIn(directory)
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

/** Half-written files whose writer is long gone: it was killed, and its runtime will ask again. */
const ABANDONED_MS = 60_000;

/** Removes what killed plugins left half written. */
export function sweep(directory: string, now: number): void {
  for (const name of namesIn(directory)) {
    if (!name.endsWith(".tmp")) continue;
    const file = `${directory}/${name}`;
    const written = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (written !== undefined && now - written > ABANDONED_MS) dequeue(file);
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
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
