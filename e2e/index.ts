/** Clusters for others to measure on: see bench/kubelet. */
export { buildPrograms, type Programs } from "./build/programs.ts";
export { METRICS } from "./cluster/node.ts";
export { type Cluster, type Node, startCluster } from "./cluster.ts";
export { until } from "./command.ts";
export { PAUSE_IMAGE } from "./images/images.ts";
export { removeLeftovers } from "./machines/leftovers.ts";
export { bridgeNetwork } from "./networks/bridge.ts";
export { weftNetwork } from "./networks/weft.ts";
