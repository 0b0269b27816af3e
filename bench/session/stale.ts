/** What a run that was killed has left: its namespaces, the processes in them, its directory. */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deleteNamed, listNamed, namedPath } from "@weft/kernel/netns";

/** Of names of namespaces and directories; the process id follows. */
export const PREFIX = "weft-b-";
export const SHARED_MEMORY = "/dev/shm";

/** The process that made something of that name; undefined for a name that is none of ours. */
export function ownerOf(name: string): number | undefined {
  const match = /^weft-b-([1-9][0-9]*)-/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Removes what belongs to runs whose process is gone. */
export function removeStale(): void {
  const isStale = (name: string): boolean => {
    const owner = ownerOf(name);
    return owner !== undefined && !existsSync(`/proc/${owner}`);
  };
  const namespaces = listNamed(PREFIX).filter(isStale);
  const identities = new Set(namespaces.map((name) => identityOf(namedPath(name))));
  identities.delete(undefined);
  identities.delete(identityOf("/proc/1/ns/net"));
  identities.delete(identityOf("/proc/self/ns/net"));
  if (identities.size > 0) {
    for (const entry of readdirSync("/proc")) {
      if (!/^[1-9][0-9]*$/.test(entry) || !identities.has(identityOf(`/proc/${entry}/ns/net`))) continue;
      try {
        process.kill(Number(entry), "SIGKILL");
      } catch {
        // It ended in between.
      }
    }
  }
  for (const name of namespaces) deleteNamed(name);
  for (const parent of [tmpdir(), SHARED_MEMORY]) {
    for (const name of readdirSync(parent).filter(isStale)) {
      rmSync(join(parent, name), { recursive: true, force: true });
    }
  }
}

function identityOf(path: string): string | undefined {
  try {
    const stat = statSync(path);
    return `${stat.dev}:${stat.ino}`;
  } catch {
    return undefined;
  }
}
