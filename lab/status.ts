/** What a lab says of itself: the answers of its control socket, and of `weft lab status --json`. */
import type { LabOptions } from "./options.ts";

export interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly state: "waiting" | "running" | "exited";
  readonly pid: number | undefined;
  readonly restarts: number;
  /** "exit code 3" or "signal SIGKILL" of the last time it ended. */
  readonly lastExit: string | undefined;
}

export interface PodStatus {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
  readonly phase: "Pending" | "Running" | "Succeeded" | "Failed" | "Terminating";
  readonly ready: boolean;
  /** Pod addresses, IPv4 first; the node's for hostNetwork pods. */
  readonly podIPs: readonly string[];
  readonly containers: readonly ContainerStatus[];
  readonly restarts: number;
  /** Milliseconds since the epoch of the last change of phase. */
  readonly since: number;
  /** What stands between it and being ready, if anything does. */
  readonly error: string | undefined;
  /** It will not become ready unless its manifest is changed. */
  readonly hopeless: boolean;
  /** Path of the network namespace that it is in. */
  readonly namespacePath: string | undefined;
  readonly interface: string | undefined;
}

/** "namespace/name" */
export const podKey = (pod: Pick<PodStatus, "namespace" | "name">): string => `${pod.namespace}/${pod.name}`;

export interface NodeStatus {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Process of the agent. */
  readonly pid: number | undefined;
  readonly ready: boolean;
  /** What the agent waits for, or why it is not there. */
  readonly waitingFor: string | undefined;
  readonly restarts: number;
  readonly since: number;
}

export interface ApiStatus {
  /** For kubectl. */
  readonly kubeconfig: string;
  readonly pid: number | undefined;
  readonly restarts: number;
  /** What the supervisor waits for before it can say how the lab is; undefined when there is nothing. */
  readonly waitingFor: string | undefined;
}

export interface LabStatus {
  readonly name: string;
  readonly options: LabOptions;
  readonly supervisor: { readonly pid: number; readonly startedAt: number };
  readonly api: ApiStatus;
  readonly nodes: readonly NodeStatus[];
  readonly pods: readonly PodStatus[];
  /** Manifests that could not be read, each with its file. */
  readonly sourceErrors: readonly string[];
  /** Fields and kinds of manifests that have no effect. */
  readonly sourceWarnings: readonly string[];
}

/** True when waiting changes nothing any more: what is not ready needs another manifest. */
export const isSettled = (status: LabStatus): boolean =>
  status.api.waitingFor === undefined &&
  status.nodes.every((n) => n.ready) &&
  status.pods.every((p) => p.ready || p.hopeless || isOver(p));

/** Ended as it should. */
const isOver = ({ phase }: PodStatus): boolean => phase === "Succeeded";

/** What is not as it should be, one sentence each; empty when everything is ready. */
export function notReady(status: LabStatus): string[] {
  return [
    ...(status.api.waitingFor === undefined ? [] : [status.api.waitingFor]),
    ...status.nodes.filter((n) => !n.ready).map((n) => `agent on ${n.name}: ${n.waitingFor ?? "not ready"}`),
    ...status.pods
      .filter((p) => !p.ready && !isOver(p))
      .map((p) => `pod ${p.namespace}/${p.name}: ${p.error ?? p.phase.toLowerCase()}`),
    ...status.sourceErrors,
  ];
}
