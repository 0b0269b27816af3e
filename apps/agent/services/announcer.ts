/**
 * Events for whoever asked for what cannot be: a service whose address or port is another's, a part that was left out.
 * Every node sees the same; one of them writes, chosen by the object's name, so that a thousand nodes do not all
 * write. What is wrong on this node alone (a health check port that somebody holds) every node writes for itself.
 */
import type { Logger } from "@weft/base";
import { type ApiClient, createEventRecorder, type EventRecorder } from "@weft/cluster/client";
import type { Origin, Problem } from "@weft/model";

const API: Readonly<Record<string, string>> = { Service: "v1", EndpointSlice: "discovery.k8s.io/v1" };

export interface Announcer {
  /** Tells of those that were not there the last time. */
  problems(now: readonly Problem[], nodes: readonly string[]): void;
  stop(): Promise<void>;
}

export function createAnnouncer(client: ApiClient, node: string, logger: Logger): Announcer {
  const recorder = createEventRecorder({
    client,
    controller: "weft.network/services",
    instance: node,
    logger,
  });
  let told = new Set<string>();
  return {
    problems(now, nodes) {
      for (const problem of now) {
        if (told.has(problem.key) || !(problem.origin.kind in API)) continue;
        if (problem.key.startsWith(LOCAL) || isSpeaker(node, nodes, problem.origin))
          announce(recorder, problem);
      }
      told = new Set(now.map((p) => p.key));
    },
    stop: () => recorder.stop(),
  };
}

/** Keys of problems of this node alone begin so. */
export const LOCAL = "here ";

/** True for one of the nodes: which, depends on the object's name. */
export function isSpeaker(node: string, nodes: readonly string[], { namespace, name }: Origin): boolean {
  if (nodes.length === 0) return true;
  const at = Number(Bun.hash.xxHash32(`${namespace}/${name}`)) % nodes.length;
  return nodes.toSorted()[at] === node;
}

function announce(recorder: EventRecorder, { key, message, hint, origin }: Problem): void {
  const { kind, namespace, name, uid } = origin;
  recorder.record({
    regarding: {
      apiVersion: API[kind] ?? "v1",
      kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
    },
    type: "Warning",
    reason: /^(conflict|taken) /.test(key)
      ? "AddressTaken"
      : key.startsWith(LOCAL)
        ? "HealthCheckFailed"
        : "PartLeftOut",
    action: "Proxying",
    note: `${message}. ${hint}`,
  });
}
