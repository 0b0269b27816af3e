/** Waits until an install works: agents and controllers of the newest version ready, and every node that has one. */
import { describeError, isNotFound, isUnavailable, WeftError } from "@weft/base";
import type { ApiClient } from "@weft/cluster/client";
import { listNodes, nodeFaults, podFault, podsOf, rollouts } from "./observe.ts";

export interface WaitOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  /** Milliseconds. */
  readonly timeout: number;
  /** Whenever something is different from what was told before. */
  readonly onProgress: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Milliseconds between two looks. */
  readonly every?: number;
}

interface Look {
  readonly done: boolean;
  readonly summary: string;
  readonly faults: readonly string[];
}

/** Throws "timeout" with what is missing and why. An API server that is away for a moment is waited for as well. */
export async function untilReady(options: WaitOptions): Promise<void> {
  const { timeout, onProgress, signal, every = 1000 } = options;
  const end = performance.now() + timeout;
  let told = "";
  let last: Look | undefined;
  let error: unknown;
  while (performance.now() < end) {
    signal?.throwIfAborted();
    try {
      last = await look(options);
      error = undefined;
    } catch (caught) {
      if (!isUnavailable(caught) && !isNotFound(caught)) throw caught;
      error = caught;
    }
    const line = error === undefined ? (last as Look).summary : describeError(error);
    if (line !== told) onProgress(line);
    told = line;
    if (error === undefined && last?.done === true) return;
    await Bun.sleep(every);
  }
  const faults = error === undefined ? (last?.faults ?? []) : [describeError(error)];
  throw new WeftError(
    "timeout",
    `not ready after ${Math.round(timeout / 1000)} s:\n${faults.map((f) => `      ${f}`).join("\n")}`,
    { hint: "Correct what is named; the install goes on by itself. Wait longer with --timeout." },
  );
}

async function look({ client, namespace }: WaitOptions): Promise<Look> {
  const [{ agents, controllers }, nodes, agentPods, controllerPods] = await Promise.all([
    rollouts(client, namespace),
    listNodes(client),
    podsOf(client, namespace, "agent"),
    podsOf(client, namespace, "controller"),
  ]);
  const withAgent = new Set(agentPods.map((p) => p.spec?.nodeName));
  const ours = nodes.filter((n) => withAgent.has(n.metadata.name));
  const notReady = nodeFaults(ours);
  const behind = agents.behind || controllers.behind;
  const done =
    !behind &&
    agents.wanted > 0 &&
    agents.ready >= agents.wanted &&
    controllers.ready >= controllers.wanted &&
    notReady.length === 0;
  const podFaults = await Promise.all(
    [...agentPods, ...controllerPods].map(async (pod) => {
      const fault = await podFault(client, pod);
      return fault === undefined
        ? []
        : [`pod ${pod.metadata.name} on ${pod.spec?.nodeName ?? "no node"}: ${fault}`];
    }),
  );
  const summary = [
    `agents ${agents.ready} of ${agents.wanted}`,
    `controllers ${controllers.ready} of ${controllers.wanted}`,
    `nodes ready ${ours.length - notReady.length} of ${ours.length}`,
  ].join(", ");
  const none = agents.wanted === 0 ? ["there is no node that the agents could run on"] : [];
  return {
    done,
    summary,
    faults: [...none, ...podFaults.flat(), ...notReady.map(({ node, fault }) => `node ${node}: ${fault}`)],
  };
}
