/** A directory of manifests: read once, or watched. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MAX_TEXT, tooLarge } from "./documents.ts";
import { combine, type FileRows, type ManifestRows } from "./manifests.ts";
import { type FileReading, type ManifestObject, readObjects, type WholeObjects } from "./objects.ts";
import { type Signature, signatureOf, type WatchOptions, watchForChanges } from "./watch.ts";

export type { WatchOptions } from "./watch.ts";

export interface DirectoryWatch {
  stop(): void;
}

/**
 * Rows of all *.yaml, *.yml and *.json files of a directory, in lexical order; not of its subdirectories and
 * not of names that begin with a dot. Never throws: what cannot be read is an error of the rows.
 */
export function readDirectory(directory: string): ManifestRows {
  const watched = new ManifestFiles(directory);
  watched.refresh(true);
  return watched.rows();
}

/**
 * Reads a directory and keeps reading it: `onChange` is called before this returns, and then whenever rows,
 * warnings or errors are not what they were. What is lost by a fault stays in force until the fault is gone:
 * an object that a file had before it became faulty, and all of a directory that vanished after the start.
 * What is taken out of a faultless file, or with its file, goes.
 */
export function watchDirectory(
  directory: string,
  onChange: (rows: ManifestRows) => void,
  options: WatchOptions = {},
): DirectoryWatch {
  const files = new ManifestFiles(directory);
  let last = "";
  return watchForChanges(
    directory,
    (hasty) => {
      const state = files.refresh(hasty);
      const rows = files.rows();
      const now = JSON.stringify(rows);
      if (now !== last) {
        last = now;
        onChange(rows);
      }
      return state;
    },
    options,
  );
}

/** One object of a directory, as its file has it. */
export interface SourceObject {
  /** "Deployment default/web": for messages. */
  readonly key: string;
  /** "web.yaml:12" */
  readonly place: string;
  readonly value: Readonly<Record<string, unknown>>;
}

export interface SourceObjects {
  /** In the order of their keys. */
  readonly objects: readonly SourceObject[];
  readonly warnings: readonly string[];
  readonly errors: readonly string[];
}

/** The same for whoever wants the objects themselves, of every kind, and not their rows. */
export function watchObjects(
  directory: string,
  whole: WholeObjects,
  onChange: (objects: SourceObjects) => void,
  options: WatchOptions = {},
): DirectoryWatch {
  const files = new ManifestFiles(directory, whole);
  let last = "";
  return watchForChanges(
    directory,
    (hasty) => {
      const state = files.refresh(hasty);
      const { sources = [], warnings, errors } = files.rows();
      const objects = { objects: sources, warnings, errors };
      const now = JSON.stringify(objects);
      if (now !== last) {
        last = now;
        onChange(objects);
      }
      return state;
    },
    options,
  );
}

interface KnownFile extends FileRows {
  /** Of what was read; undefined when it must be read again. */
  readonly signature: string | undefined;
}

class ManifestFiles {
  readonly #directory: string;
  readonly #whole: WholeObjects | undefined;
  #files = new Map<string, KnownFile>();
  #error: string | undefined;

  constructor(directory: string, whole?: WholeObjects) {
    this.#directory = directory;
    this.#whole = whole;
  }

  rows(): ManifestRows {
    const rows = combine([...this.#files.values()]);
    return this.#error === undefined ? rows : { ...rows, errors: [this.#error, ...rows.errors] };
  }

  /** Reads what changed. A file that may still be being written is left for the next time, unless `hasty`. */
  refresh(hasty: boolean): "settled" | "unsettled" {
    let names: string[];
    try {
      names = readdirSync(this.#directory).filter((name) => /^[^.].*\.(yaml|yml|json)$/.test(name));
      this.#error = undefined;
    } catch (error) {
      this.#error = `${this.#directory}: ${(error as Error).message}`;
      return "settled";
    }
    const files = new Map<string, KnownFile>();
    let settled = true;
    for (const name of names.sort()) {
      const known = this.#files.get(name);
      const path = join(this.#directory, name);
      const signature = attempt(() => signatureOf(path));
      if (signature === undefined) continue;
      if (!(signature instanceof Error)) {
        if (!signature.regular) continue;
        settled &&= signature.settled;
        if (known !== undefined && (known.signature === signature.text || (!signature.settled && !hasty))) {
          files.set(name, known);
          continue;
        }
        if (!signature.settled && !hasty) continue;
      }
      const read = readFile(path, name, signature, this.#whole);
      if (read !== undefined) files.set(name, withRetained(read, known));
    }
    this.#files = files;
    return settled ? "settled" : "unsettled";
  }
}

/** Undefined when the file is gone. */
function readFile(
  path: string,
  name: string,
  signature: Signature | Error,
  whole: WholeObjects | undefined,
): (FileReading & Pick<KnownFile, "signature">) | undefined {
  const failed = (why: string, known?: string): FileReading & { signature: string | undefined } => {
    return { objects: [], warnings: [], errors: [`${name}: ${why}`], signature: known };
  };
  if (signature instanceof Error) return failed(signature.message);
  if (signature.size > MAX_TEXT) return failed(tooLarge(signature.size), signature.text);
  const text = attempt(() => new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path)));
  if (text instanceof Error) {
    if ((text as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (text instanceof TypeError) return failed("is not UTF-8 text", signature.text);
    return failed(text.message);
  }
  return { ...readObjects(text, name, whole), signature: signature.settled ? signature.text : undefined };
}

/** While a file has faults, what it had before and has not now stays in force. */
function withRetained<T extends FileReading>(read: T, before: FileRows | undefined): T & FileRows {
  if (read.errors.length === 0 || before === undefined) return read;
  const present = new Set(read.objects.map((o) => o.key));
  const retained: ManifestObject[] = [...before.objects, ...(before.retained ?? [])].filter(
    (o) => !present.has(o.key),
  );
  return { ...read, retained };
}

function attempt<T>(action: () => T): T | Error {
  try {
    return action();
  } catch (error) {
    return error as Error;
  }
}
