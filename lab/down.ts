/** Removing a lab, in whatever state it is. */

import { namedPath } from "@weft/kernel/netns";
import { labNamespaces, removeNamespaces } from "./build.ts";
import { type LabIo, requireRoot } from "./io.ts";
import { withLock } from "./lock.ts";
import { parseLabName } from "./options.ts";
import { bootId, isAlive, namespaceIdentity, processesIn, processesWith, terminate } from "./processes.ts";
import {
  type LabRecord,
  listLabs,
  outsideCommands,
  readProcesses,
  readRecord,
  removeStateDirectory,
} from "./state.ts";

/** The supervisor stops its containers first, which may take their grace period. */
const SUPERVISOR_GRACE_MS = 6000;
const GRACE_MS = 1000;

/** Removes everything of the lab; succeeds when there is nothing. Returns the exit code. */
export async function labDown(name: string, io: Pick<LabIo, "write">): Promise<number> {
  requireRoot();
  const lab = parseLabName(name);
  const removed = await withLock(lab, () => tearDown(lab));
  const started = removed.milliseconds / 1000;
  io.write(
    removed.nothing
      ? `lab "${lab}": nothing to remove\n`
      : `lab "${lab}" removed: ${removed.namespaces} namespaces, ${removed.processes} processes (${started.toFixed(2)} s)\n`,
  );
  return 0;
}

export interface Removed {
  readonly nothing: boolean;
  readonly namespaces: number;
  readonly processes: number;
  readonly milliseconds: number;
}

/** The same without lock and words. */
export async function tearDown(lab: string): Promise<Removed> {
  const started = performance.now();
  const existed = listLabs().includes(lab);
  // Start times mean something within one boot only.
  const recorded = recordOf(lab)?.bootId === bootId() ? readProcesses(lab).filter(isAlive) : [];
  const supervisors = recorded.filter((p) => p.kind === "supervisor");
  await terminate(supervisors, SUPERVISOR_GRACE_MS);
  await terminate(recorded, GRACE_MS, true);
  const inside = processesOf(lab);
  await terminate(inside, GRACE_MS);
  const namespaces = removeNamespaces(lab);
  removeStateDirectory(lab);
  const processes = new Set([...recorded, ...inside].map((p) => p.pid)).size;
  return {
    nothing: !existed && namespaces.length === 0,
    namespaces: namespaces.length,
    processes,
    milliseconds: performance.now() - started,
  };
}

/** Everything that runs in a namespace of the lab, shells of its users too; and what it has outside of them. */
function processesOf(lab: string): ReturnType<typeof processesIn> {
  const identities = labNamespaces(lab).map((name) => namespaceIdentity(namedPath(name)));
  const inside = processesIn(new Set(identities.filter((id) => id !== undefined)));
  return [...inside, ...outsideCommands(lab).flatMap(processesWith)];
}

/** A record that cannot be read keeps nobody from removing the lab. */
function recordOf(lab: string): LabRecord | undefined {
  try {
    return readRecord(lab);
  } catch {
    return undefined;
  }
}
