/** What the agent's two threads say to each other. Rows cross as they are; everything is a difference. */

import type { Prefix } from "@weft/base";
import type { EventInput } from "@weft/cluster/client";
import type { Fact } from "@weft/compile";
import type { Capabilities, IpBlock, IpPool, PodAddressing, Settings, UnderlayLink } from "@weft/model";
import type { ClusterSource } from "./cluster-source.ts";
import type { KnownPod } from "./known-pods.ts";

/** To the cluster thread. */
export type ToCluster =
  | {
      readonly type: "start";
      readonly node: string;
      readonly source: ClusterSource;
      readonly settingsFile: string;
      readonly lastSettingsFile: string;
      readonly capabilities: Capabilities;
      readonly underlay: readonly UnderlayLink[];
    }
  | { readonly type: "underlay"; readonly links: readonly UnderlayLink[] }
  /** For the API, if that is where the cluster comes from. */
  | { readonly type: "event"; readonly event: EventInput }
  | PoolsToCluster;

/** Both questions are answered by "blocks-found" with their id. */
export type PoolsToCluster =
  /** Blocks of the pool that nobody has, as far as is known, and that overlap none: at most `count`. */
  | { readonly type: "free-blocks"; readonly id: number; readonly pool: string; readonly count: number }
  /** Blocks of the pool that other nodes have, those with most free addresses first. */
  | { readonly type: "lenders"; readonly id: number; readonly pool: string }
  /** What this node wrote or read counts at once, unless a newer version is known. */
  | { readonly type: "block-written"; readonly block: IpBlock }
  | { readonly type: "block-gone"; readonly name: string; readonly uid: string };

/** From the cluster thread. Keys of facts are unique over all that it sends. */
export type FromCluster =
  | { readonly type: "facts"; readonly put: readonly KeyedFact[]; readonly remove: readonly string[] }
  | { readonly type: "settings"; readonly settings: Settings; readonly error: string | undefined }
  | { readonly type: "source-errors"; readonly errors: readonly string[] }
  | { readonly type: "source-state"; readonly state: string }
  /** This node's; `current` is false while the API is away. */
  | { readonly type: "pods"; readonly pods: readonly KnownPod[]; readonly current: boolean }
  | PoolsFromCluster
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string };

export interface KeyedFact {
  readonly id: string;
  readonly fact: Fact;
}

/** Of an API, "pools" comes before the first facts: what is known, be it from the copy on disk. */
export type PoolsFromCluster =
  | {
      readonly type: "pools";
      readonly pools: readonly IpPool[];
      /** Names of those that are ready, not disabled, and whose node selector has this node. */
      readonly usable: readonly string[];
      /** This node's, and all that have a loan of this node. */
      readonly blocks: readonly IpBlock[];
      /** Of a pod that nothing is known of: no annotations, no labels of its namespace. */
      readonly otherwise: PodAddressing;
      /** Of a pod of which nothing but its namespace is known, where that makes a difference. */
      readonly byNamespace: Readonly<Record<string, PodAddressing>>;
      /** False while the API is away: the last known state. */
      readonly current: boolean;
      /** False while there is neither a pool nor a block of ours: the plain mode. */
      readonly enabled: boolean;
    }
  | {
      readonly type: "blocks-found";
      readonly id: number;
      readonly prefixes: readonly Prefix[];
      /** Addresses of the whole pool: in use, as statuses of its blocks have it, and in all; for messages. */
      readonly used: number;
      readonly size: number;
    };
