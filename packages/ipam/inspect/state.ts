/** What is known of a cluster's addresses at one moment: by its API, by its agents, or by both. */
import type { IpAddress, Prefix } from "@weft/base";
import type { IpBlock, IpPool, NodeAddresses } from "@weft/model";

export interface NodeFact {
  readonly name: string;
  readonly podCIDRs: readonly Prefix[];
  /** Another network serves its pods (label weft.network/network). */
  readonly isOthers: boolean;
}

export interface PodFact {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Undefined until it is bound. */
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
  /** Its containers have ended for good: its addresses are free, whatever its status still says. */
  readonly ended: boolean;
  readonly ips: readonly IpAddress[];
  /** Milliseconds since the epoch. */
  readonly created: number;
}

export interface PoolFact extends IpPool {
  /** Why it is not ready, as its condition says. */
  readonly notReady: string | undefined;
}

export interface ApiState {
  readonly server: string;
  readonly nodes: readonly NodeFact[];
  readonly pods: readonly PodFact[];
  readonly pools: readonly PoolFact[];
  readonly blocks: readonly IpBlock[];
  /** Objects that could not be read, one sentence each. */
  readonly faults: readonly string[];
}

export interface ClusterState {
  readonly now: number;
  /** Undefined: only agents were asked. */
  readonly api: ApiState | undefined;
  readonly agents: readonly NodeAddresses[];
  /** Agents that did not answer, and why. */
  readonly unreachable: readonly string[];
}

export const podName = (p: Pick<PodFact, "namespace" | "name">): string => `${p.namespace}/${p.name}`;

/** Pods that have addresses of their own now. */
export const podsWithAddresses = (api: ApiState): readonly PodFact[] =>
  api.pods.filter((p) => !p.hostNetwork && !p.ended && p.ips.length > 0);
