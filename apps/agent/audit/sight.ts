/**
 * What can be seen of a node's sandboxes from where the agent runs: which of them still live.
 *
 *   processes   of the node, each with its network namespace. Needs the host's PID namespace and CAP_SYS_PTRACE.
 *   cgroups     of the kubelet's pods, by pod and container. Needs the node's /sys/fs/cgroup, for reading, and no
 *               capability: for an agent in a pod it is mounted at /host/sys/fs/cgroup.
 *
 * Either is believed only when it shows something that must be there on a node with pods.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Workload } from "@weft/model";

export interface Sight {
  /** False only when nothing of the sandbox is left. `newer` is the sandbox that the same pod has now, if it has. */
  lives(workload: Workload, newer: Workload | undefined): boolean;
}

/** The best there is; undefined when nothing can be seen. */
export const look = (): Sight | undefined => seeProcesses() ?? seeCgroups();

/** As /proc/PID/comm has them: 15 characters. The last is a lab's supervisor. */
const RUNTIMES = /^(containerd(-shim.*)?|crio|conmon|dockerd|kubelet|weft-lab)$/;

/** Undefined when a process hides its namespace, or no runtime is among them: then most are hidden. */
export function seeProcesses(): Sight | undefined {
  const occupied = new Set<string>();
  let sighted = false;
  for (const entry of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      sighted ||= RUNTIMES.test(readFileSync(`/proc/${entry}/comm`, "utf8").trimEnd());
      const namespace = namespaceOf(`/proc/${entry}/ns/net`);
      if (namespace !== undefined) occupied.add(namespace);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // It may have ended while it was looked at. What may not be looked at could be in any namespace; but for the
      // init of all, which some machines guard: where the runtime is among what it began, it is in no sandbox.
      if (code !== "ENOENT" && code !== "ESRCH" && entry !== "1") return undefined;
    }
  }
  if (!sighted) return undefined;
  return {
    lives({ namespacePath }) {
      const namespace = namespaceOf(namespacePath);
      return namespace === undefined || occupied.has(namespace);
    },
  };
}

/** Device and inode; undefined when there is none. */
function namespaceOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

const CGROUPS = ["/host/sys/fs/cgroup", "/sys/fs/cgroup"];
/** kubepods, class of service, pod, container, and what a container makes inside of itself. */
const DEEPEST = 6;

/** Undefined when there are no pods' cgroups, or none that has a process. */
export function seeCgroups(roots: readonly string[] = CGROUPS): Sight | undefined {
  const populated = roots
    .flatMap((root) => [root, join(root, "pids")])
    .flatMap((root) => populatedBelow(root));
  if (populated.length === 0) return undefined;
  const has = (text: string): boolean => populated.some((path) => path.includes(text));
  return {
    lives({ containerId, podUid }, newer) {
      if (has(containerId)) return true;
      // Sandboxes' cgroups bear their ids, unless this runtime names them otherwise: then nothing is known.
      if (newer !== undefined) return !has(newer.containerId);
      return podUid === undefined || has(`pod${podUid}`) || has(`pod${podUid.replaceAll("-", "_")}`);
    },
  };
}

/** Paths of the pods' cgroups that have processes, whoever may see these. */
function populatedBelow(root: string): string[] {
  const found: string[] = [];
  const visit = (path: string, depth: number): void => {
    if (!isPopulated(path)) return;
    found.push(path);
    if (depth < DEEPEST) for (const name of directoriesOf(path)) visit(join(path, name), depth + 1);
  };
  for (const name of directoriesOf(root)) if (/^kubepods/.test(name)) visit(join(root, name), 1);
  return found;
}

/**
 * Counts what is below as well, and processes of other PID namespaces, which cgroup.procs would not show. What cannot
 * be read may have some.
 */
function isPopulated(path: string): boolean {
  try {
    const events = join(path, "cgroup.events");
    if (existsSync(events)) return !/^populated 0$/m.test(readFileSync(events, "utf8"));
    return readFileSync(join(path, "pids.current"), "utf8").trim() !== "0";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ENOENT";
  }
}

function directoriesOf(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? e.name : []));
  } catch {
    // Gone meanwhile, or not there at all.
    return [];
  }
}
