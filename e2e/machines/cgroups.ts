/**
 * One cgroup directory a machine in every hierarchy of cgroup v1. It is the root of the machine's cgroup namespace,
 * it accounts for all of the machine's processes, and it is how they are found again: whatever escapes its parent
 * still stands in there.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import { until } from "../command.ts";
import { PREFIX } from "../paths.ts";

export interface Hierarchy {
  /** Where it is mounted. */
  readonly path: string;
  /** Controllers as mount(8) takes them: "cpu,cpuacct", "none,name=systemd". */
  readonly options: string;
}

const NEEDED = ["cpu", "cpuacct", "cpuset", "memory", "pids"];

/** From /proc/self/mountinfo. Throws "unsupported" where the controllers are in cgroup v2. */
export function hierarchies(): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [left, right] = line.split(" - ");
    const path = left?.split(" ")[4];
    const [type, , options] = right?.split(" ") ?? [];
    if (type !== "cgroup" || path === undefined || options === undefined) continue;
    const controllers = options.split(",").filter((o) => !["rw", "ro", "xattr"].includes(o));
    found.push({
      path,
      options: controllers.map((c) => (c.startsWith("name=") ? `none,${c}` : c)).join(","),
    });
  }
  const missing = NEEDED.filter((c) => !found.some((h) => h.options.split(",").includes(c)));
  if (missing.length > 0) {
    throw new WeftError("unsupported", `no cgroup v1 hierarchy has ${missing.join(", ")}`, {
      hint: "Machines are made with cgroup v1 so far: boot with systemd.unified_cgroup_hierarchy=0.",
    });
  }
  return found;
}

/** Makes the machine's directories and gives them, one a hierarchy. */
export function makeCgroups(machine: string): string[] {
  return hierarchies().map(({ path, options }) => {
    const directory = join(path, machine);
    mkdirSync(directory, { recursive: true });
    if (options.split(",").includes("cpuset")) {
      // A new cpuset is empty and takes no process.
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        writeFileSync(join(directory, file), readFileSync(join(path, file)));
      }
    }
    return directory;
  });
}

/**
 * Ends every process in the directories whose name begins so, or with `whole` is that, by pid, and removes the
 * directories.
 */
export async function removeCgroups(prefix: string, whole = false): Promise<void> {
  if (!prefix.startsWith(PREFIX)) throw new WeftError("invalid", `${prefix} is not the suite's`);
  const roots = hierarchies().flatMap(({ path }) =>
    readdirSync(path)
      .filter((name) => (whole ? name === prefix : name.startsWith(prefix)))
      .map((name) => join(path, name)),
  );
  await until(`cgroups ${prefix} empty`, 30, () => {
    const pids = new Set(roots.flatMap(below).flatMap(processesOf));
    for (const pid of pids) kill(pid);
    return pids.size === 0 ? true : undefined;
  });
  for (const root of roots) {
    // A directory is busy for a moment after its last process has gone.
    await until(`${root} removed`, 10, () => {
      for (const directory of below(root)) if (existsSync(directory)) rmdirSync(directory);
      return true;
    });
  }
}

/** The directory and all below it, the deepest first. */
function below(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const inner = readdirSync(directory).map((name) => join(directory, name));
  return [...inner.filter((path) => statSync(path).isDirectory()).flatMap(below), directory];
}

function processesOf(directory: string): number[] {
  try {
    const text = readFileSync(join(directory, "cgroup.procs"), "utf8");
    return text.split("\n").filter(Boolean).map(Number);
  } catch {
    return []; // Removed meanwhile.
  }
}

function kill(pid: number): void {
  try {
    if (pid > 1 && pid !== process.pid) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
