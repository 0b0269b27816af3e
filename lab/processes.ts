/**
 * Processes by pid and start time: a pid alone can come to name another process. Start times are in clock
 * ticks since the boot (proc_pid_stat(5), field 22), so they mean something within one boot only.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { type Clock, systemClock } from "@weft/base";

/** A killed process may take that long to be gone on a machine that has much else to do. */
const KILLED_MS = 10_000;

export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Random id of this boot. */
export const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/** The process that has this pid now; undefined when there is none or it is a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The command stands in parentheses and may hold anything, so the fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const startTime = fields[19];
  return startTime === undefined || fields[0] === "Z" || fields[0] === "X" ? undefined : { pid, startTime };
}

export const isAlive = (p: ProcessIdentity): boolean => identify(p.pid)?.startTime === p.startTime;

/** Signals the process, or with `group` the whole group that it leads, unless it is gone. */
export function signal(p: ProcessIdentity, name: NodeJS.Signals, group = false): void {
  if (p.pid <= 1 || !isAlive(p)) return;
  try {
    process.kill(group ? -p.pid : p.pid, name);
  } catch (error) {
    // It ended in between, or leads no group.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    if (group) signal(p, name);
  }
}

/** Waits until all are gone. False when some are still there after `ms`. */
export async function waitGone(
  processes: readonly ProcessIdentity[],
  ms: number,
  clock: Clock = systemClock,
): Promise<boolean> {
  const end = clock.monotonic() + ms;
  while (processes.some(isAlive)) {
    if (clock.monotonic() >= end) return false;
    await Bun.sleep(10);
  }
  return true;
}

/** SIGTERM, and SIGKILL for those that are still there after `graceMs`. Waits until they are gone. */
export async function terminate(
  processes: readonly ProcessIdentity[],
  graceMs: number,
  group = false,
): Promise<void> {
  for (const p of processes) signal(p, "SIGTERM", group);
  if (await waitGone(processes, graceMs)) return;
  for (const p of processes) signal(p, "SIGKILL", group);
  await waitGone(processes, KILLED_MS);
}

/**
 * All processes whose network namespace is one of `identities` ("device:inode"), except this one. The machine's
 * own namespace, that of process 1, is never looked for.
 */
export function processesIn(identities: ReadonlySet<string>): ProcessIdentity[] {
  const spared = new Set([namespaceIdentity("/proc/1/ns/net"), namespaceIdentity("/proc/self/ns/net")]);
  const found: ProcessIdentity[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^[1-9][0-9]*$/.test(entry)) continue;
    const identity = namespaceIdentity(`/proc/${entry}/ns/net`);
    if (identity === undefined || spared.has(identity) || !identities.has(identity)) continue;
    const p = identify(Number(entry));
    if (p !== undefined) found.push(p);
  }
  return found;
}

/** All processes that have these words one after the other in their command line, except this one. */
export function processesWith(words: readonly string[]): ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^[1-9][0-9]*$/.test(entry) || Number(entry) === process.pid) continue;
    let line: string;
    try {
      line = readFileSync(`/proc/${entry}/cmdline`, "utf8");
    } catch {
      continue;
    }
    if (!`\0${line}`.includes(`\0${words.join("\0")}\0`)) continue;
    const p = identify(Number(entry));
    if (p !== undefined) found.push(p);
  }
  return found;
}

/** True if somebody in the process's network namespace listens on all of these TCP ports. */
export function listensOn(pid: number, ports: readonly number[]): boolean {
  const LISTEN = "0A";
  const open = new Set<number>();
  for (const table of ["tcp", "tcp6"]) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, "utf8");
    } catch {
      continue;
    }
    for (const line of text.split("\n").slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (local !== undefined && state === LISTEN) {
        open.add(Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16));
      }
    }
  }
  return ports.every((port) => open.has(port));
}

/** "device:inode" of a namespace file; undefined when it is not there. */
export function namespaceIdentity(path: string): string | undefined {
  try {
    const stat = statSync(path);
    return `${stat.dev}:${stat.ino}`;
  } catch {
    return undefined;
  }
}
