/** What the agent's two threads say to each other. Rows cross as they are; everything is a difference. */

import type { Fact } from "@weft/compile";
import type { Capabilities, Settings, UnderlayLink } from "@weft/model";
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
  | { readonly type: "underlay"; readonly links: readonly UnderlayLink[] };

/** From the cluster thread. Keys of facts are unique over all that it sends. */
export type FromCluster =
  | { readonly type: "facts"; readonly put: readonly KeyedFact[]; readonly remove: readonly string[] }
  | { readonly type: "settings"; readonly settings: Settings; readonly error: string | undefined }
  | { readonly type: "source-errors"; readonly errors: readonly string[] }
  | { readonly type: "source-state"; readonly state: string }
  /** This node's; `current` is false while the API is away. */
  | { readonly type: "pods"; readonly pods: readonly KnownPod[]; readonly current: boolean }
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string };

export interface KeyedFact {
  readonly id: string;
  readonly fact: Fact;
}
