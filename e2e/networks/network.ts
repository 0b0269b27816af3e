/** What makes pods of a cluster reach each other: the thing under test, or the reference that the harness is proved with. */
import type { Cluster, Node } from "../cluster.ts";

export interface Network {
  /** Puts the network on a node that has just been made. The node has its pod ranges and is not ready yet. */
  install(cluster: Cluster, node: Node): Promise<void>;
  /** True if what pods send out of the cluster takes their node's address. */
  masquerades(node: Node): Promise<boolean>;
}
