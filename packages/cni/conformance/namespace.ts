/** Network namespaces for tests, made and removed with ip(8), which needs to be root. */
import { existsSync, readdirSync } from "node:fs";

export interface TestNamespace {
  readonly name: string;
  readonly path: string;
  /** Runs a command inside and returns its standard output. Throws when it fails. */
  run(...argv: string[]): string;
  /** Removing twice is no error. */
  remove(): void;
}

const DIRECTORY = "/run/netns";
let sequence = 0;

function ip(...args: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["ip", ...args]);
  if (exitCode !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

/** Makes the namespace `<prefix><pid>-<number>`. */
export function createTestNamespace(prefix: string): TestNamespace {
  const name = `${prefix}${process.pid}-${sequence++}`;
  const path = `${DIRECTORY}/${name}`;
  ip("netns", "add", name);
  return {
    name,
    path,
    run: (...argv) => ip("netns", "exec", name, ...argv),
    remove() {
      if (existsSync(path)) ip("netns", "del", name);
    },
  };
}

/** Removes namespaces of this prefix whose process is gone: what a crash left behind. */
export function removeStaleNamespaces(prefix: string): void {
  if (!existsSync(DIRECTORY)) return;
  for (const name of readdirSync(DIRECTORY)) {
    if (!name.startsWith(prefix)) continue;
    const pid = /^(\d+)-\d+$/.exec(name.slice(prefix.length))?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) ip("netns", "del", name);
  }
}
