/** What an earlier supervisor of the lab has left when it was killed. */
import type { Logger } from "@weft/base";
import { deleteNamed, namedPath } from "@weft/kernel/netns";
import { labNamespaces } from "../build.ts";
import { isAlive, namespaceIdentity, processesIn, processesWith, terminate } from "../processes.ts";
import { outsideCommands, readProcesses } from "../state.ts";
import { namespaceName } from "../topology.ts";

const GRACE_MS = 1000;

/** Ends its agents and containers, and everything that runs in its pods. */
export async function endLeftProcesses(lab: string, logger: Logger): Promise<void> {
  const recorded = readProcesses(lab).filter((p) => p.pid !== process.pid && isAlive(p));
  const pods = podNamespaces(lab).map((name) => namespaceIdentity(namedPath(name)));
  const inPods = processesIn(new Set(pods.filter((id) => id !== undefined)));
  const others = [...inPods, ...outsideCommands(lab).flatMap(processesWith)];
  if (recorded.length + others.length === 0) return;
  logger.info("ending what an earlier supervisor left", { processes: recorded.length + others.length });
  await Promise.all([terminate(recorded, GRACE_MS, true), terminate(others, GRACE_MS)]);
}

/**
 * Namespaces of an earlier supervisor's pods. One that a node's CNI cache knows stays until that node has run
 * its DEL; a new pod of the same name waits for that. Those that no node knows are removed at once.
 */
export class LeftNamespaces {
  /** Node by name of the namespace. */
  readonly #owners = new Map<string, string>();

  constructor(lab: string, nodes: readonly { readonly name: string; readonly cached: readonly string[] }[]) {
    for (const name of podNamespaces(lab)) {
      const path = namedPath(name);
      const owner = nodes.find(({ cached }) => cached.includes(path));
      if (owner === undefined) deleteNamed(name);
      else this.#owners.set(name, owner.name);
    }
  }

  /** The node has run DEL for all that it had. */
  release(node: string): void {
    for (const [name, owner] of this.#owners) {
      if (owner !== node) continue;
      deleteNamed(name);
      this.#owners.delete(name);
    }
  }

  /** Node that still has to take apart a namespace of that name. */
  ownerOf(namespace: string): string | undefined {
    return this.#owners.get(namespace);
  }
}

const podNamespaces = (lab: string): string[] =>
  labNamespaces(lab).filter((name) => name.startsWith(namespaceName(lab, "pod-")));
