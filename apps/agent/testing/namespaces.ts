/** Network namespaces of this test process, and the removal of those that a crashed one left. */
import { existsSync } from "node:fs";
import { openKernel, type RealKernel } from "@weft/kernel";
import {
  createNamed,
  deleteNamed,
  inNetns,
  listNamed,
  namedPath,
  openNetns,
  spawnSyncIn,
} from "@weft/kernel/netns";

const PREFIX = "weft-t-ag";
let sequence = 0;

/** A namespace with a kernel handle for the inside. */
export class TestNamespace {
  readonly name: string;
  readonly path: string;
  readonly kernel: RealKernel;

  constructor(role: string) {
    this.name = `${PREFIX}${process.pid}-${role}${sequence++}`;
    this.path = namedPath(this.name);
    createNamed(this.name);
    const handle = openNetns(this.path);
    this.kernel = inNetns(handle.fd, () => openKernel());
    handle.close();
    this.kernel.self.changeLink("lo", { up: true });
  }

  get self(): RealKernel["self"] {
    return this.kernel.self;
  }

  /** Runs a command inside, whatever its exit code. */
  try(...argv: string[]): { code: number; out: string } {
    const { exitCode, stdout, stderr } = spawnSyncIn(this.self, argv);
    return { code: exitCode, out: stdout.toString() + stderr.toString() };
  }

  /** Runs a command inside and returns what it printed. Throws when it fails. */
  run(...argv: string[]): string {
    const { code, out } = this.try(...argv);
    if (code !== 0) throw new Error(`${argv.join(" ")}: exit code ${code}: ${out}`);
    return out;
  }

  /** The words of `line` as a command. */
  sh(line: string): string {
    return this.run(...line.split(" "));
  }

  /** Takes the name away and our own handle: the namespace goes with its last process. */
  remove(): void {
    this.kernel.close();
    deleteNamed(this.name);
  }
}

/** Removes namespaces whose test process is gone. */
export function removeStaleNamespaces(): void {
  for (const name of listNamed(PREFIX)) {
    const pid = /^\d+/.exec(name.slice(PREFIX.length))?.[0];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) deleteNamed(name);
  }
}

/** Names of this process's namespaces that are still there. */
export const ownNamespaces = (): string[] => listNamed(`${PREFIX}${process.pid}-`);
