/** A suite is one cluster and the cases that run on it, one after the other. */
import type { Cluster, ClusterOptions } from "../cluster.ts";

export interface Case {
  readonly name: string;
  readonly run: (cluster: Cluster) => Promise<void>;
  /** Why it cannot run on this cluster; undefined when it can. */
  readonly skip?: (cluster: Cluster) => Promise<string | undefined>;
}

export interface Suite {
  readonly title: string;
  readonly cluster: () => Omit<ClusterOptions, "programs">;
  readonly cases: readonly Case[];
}
