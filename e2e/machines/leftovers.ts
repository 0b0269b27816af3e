/** Removes all that a cluster is made of; also what a run that was killed has left. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { MACHINES, PREFIX } from "../paths.ts";
import { removeCgroups } from "./cgroups.ts";
import { removeNamespaces } from "./underlay.ts";

/** Processes, with them mounts and the other namespaces, then cgroups, network namespaces and files. */
export async function removeCluster(cluster: string, keepLogs = false): Promise<void> {
  await removeCgroups(`${PREFIX}${cluster}-`);
  await removeNamespaces(`${PREFIX}${cluster}-`);
  if (!keepLogs) rmSync(join(MACHINES, cluster), { recursive: true, force: true });
}

/** Every cluster of the suite. */
export async function removeLeftovers(): Promise<void> {
  await removeCgroups(PREFIX);
  await removeNamespaces(PREFIX);
  rmSync(MACHINES, { recursive: true, force: true });
}
