/**
 * Everything that a run makes outside of itself, so that all of it can be taken away: a directory, named network
 * namespaces weft-b-PID-LABEL for nodes, nameless ones for pods (they end with the descriptor that holds them, so
 * even a killed run leaves none), and processes.
 */
import { copyFileSync, existsSync, linkSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import { openKernel, type RealKernel } from "@weft/kernel";
import {
  createAnonymous,
  createNamed,
  deleteNamed,
  type NetnsHandle,
  namedPath,
  spawnIn,
} from "@weft/kernel/netns";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { PREFIX, removeStale, SHARED_MEMORY } from "./stale.ts";

const GRACE_MS = 3000;

export interface Started {
  readonly pid: number;
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

export interface Session {
  readonly kernel: RealKernel;
  readonly directory: string;
  /** A directory in memory, for what must not wait for a disk. */
  readonly memory: string;
  /** Path of the executable as it was at the start: a rebuild meanwhile changes nothing. */
  readonly weft: string;
  /** A new node: a named namespace, its loopback up. */
  node(label: string): RealNamespace;
  /** A pod's namespace, without a name. */
  pod(): NetnsHandle;
  /** Starts a process in a namespace; its output goes to DIRECTORY/LABEL.log. */
  start(namespace: { readonly fd: number }, label: string, argv: readonly string[]): Started;
  /** Removes everything. Can be called twice. */
  close(): Promise<void>;
}

export function openSession(executable: string): Session {
  if (process.getuid?.() !== 0) {
    throw new WeftError("permission", "making network namespaces needs root", { hint: "Run it as root." });
  }
  if (!existsSync(executable)) {
    throw new WeftError("not-found", `there is no executable ${executable}`, {
      object: executable,
      hint: "Build it with: bun run scripts/build.ts",
    });
  }
  removeStale();
  return new RealSession(executable);
}

class RealSession implements Session {
  readonly kernel = openKernel();
  readonly directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  readonly memory = mkdtempSync(join(SHARED_MEMORY, `${PREFIX}${process.pid}-`));
  readonly weft = join(this.directory, "weft");
  readonly #nodes: { readonly name: string; readonly namespace: RealNamespace }[] = [];
  readonly #pods: NetnsHandle[] = [];
  readonly #processes: Started[] = [];
  #closing: Promise<void> | undefined;

  constructor(executable: string) {
    const file = realpathSync(executable);
    bringHere(file, this.weft);
    // The plugin's shim, where there is one.
    if (existsSync(`${file}-cni`)) bringHere(`${file}-cni`, `${this.weft}-cni`);
  }

  node(label: string): RealNamespace {
    const name = `${PREFIX}${process.pid}-${label}`;
    createNamed(name);
    const namespace = this.kernel.open(namedPath(name));
    this.#nodes.push({ name, namespace });
    namespace.changeLink("lo", { up: true });
    return namespace;
  }

  pod(): NetnsHandle {
    const handle = createAnonymous();
    this.#pods.push(handle);
    return handle;
  }

  start(namespace: { readonly fd: number }, label: string, argv: readonly string[]): Started {
    const log = Bun.file(join(this.directory, `${label}.log`));
    const child = spawnIn(namespace, [...argv], { stdin: "ignore", stdout: log, stderr: log });
    const started = { pid: child.pid, exited: child.exited, kill: (s: NodeJS.Signals) => child.kill(s) };
    this.#processes.push(started);
    return started;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const p of this.#processes) p.kill("SIGTERM");
    const all = Promise.all(this.#processes.map((p) => p.exited));
    await Promise.race([all, Bun.sleep(GRACE_MS)]);
    for (const p of this.#processes) p.kill("SIGKILL");
    await all;
    for (const pod of this.#pods) pod.close();
    for (const { name, namespace } of this.#nodes) {
      namespace.close();
      deleteNamed(name);
    }
    this.kernel.close();
    for (const directory of [this.directory, this.memory])
      rmSync(directory, { recursive: true, force: true });
  }
}

/** The last lines of a process's log. */
export async function logTail(session: Session, label: string): Promise<string> {
  const names = readdirSync(session.directory);
  if (!names.includes(`${label}.log`)) return "";
  const text = await Bun.file(join(session.directory, `${label}.log`)).text();
  return text.trim().split("\n").slice(-12).join("\n");
}

function bringHere(file: string, to: string): void {
  try {
    linkSync(file, to);
  } catch {
    // Another file system.
    copyFileSync(file, to);
  }
}
