/** A client of the Kubernetes API: credentials, requests, watches into rows, writes, events, leader election. */

export { timestamp } from "../timestamp.ts";
export type { BlockRow } from "./block-rows.ts";
export {
  type ClusterRows,
  type ClusterWatch,
  type ClusterWatchOptions,
  watchCluster,
} from "./cluster-source.ts";
export * from "./credentials/index.ts";
export {
  createEventRecorder,
  type EventInput,
  type EventRecorder,
  type EventRecorderOptions,
  type ObjectReference,
} from "./events.ts";
export type { Decode, RowChange } from "./held-rows.ts";
export {
  type ApiClient,
  type ApiRequest,
  type ClientOptions,
  createClient,
  type Fetch,
  type Query,
} from "./http.ts";
export { KeyQueue, type KeyQueueOptions, type Look } from "./key-queue.ts";
export { type LeaderElectionOptions, runLeaderElection } from "./lease.ts";
export { type ListOptions, type ListReader, listAll, listObjects } from "./list.ts";
export { type PodAsks, readPodAsks } from "./pod-asks.ts";
export { createPoolsApi, decodeBlock, decodePool, type PoolsApi } from "./pools.ts";
export {
  type NamespaceRow,
  type PoolsWatch,
  type PoolsWatchOptions,
  watchPools,
} from "./pools-source.ts";
export type { Waiting } from "./readings.ts";
export {
  ENDPOINT_SLICES,
  EVENTS,
  IP_BLOCKS,
  IP_POOLS,
  type KubernetesObject,
  LEASES,
  NAMESPACES,
  NODES,
  type ObjectMeta,
  type Place,
  PODS,
  pathOf,
  type Resource,
  SERVICE_CIDRS,
  SERVICES,
} from "./resource.ts";
export {
  type ServicesWatch,
  type ServicesWatchOptions,
  type ServiceTables,
  watchServices,
} from "./services-source.ts";
export { ApiError, type StatusCause } from "./status-error.ts";
export { intoTable, type RowTable } from "./table.ts";
export { socketUrl } from "./unix-socket.ts";
export {
  type ResourceWatch,
  type ResourceWatchOptions,
  type RowBatch,
  type WatchState,
  type WatchStatus,
  watchResource,
} from "./watch.ts";
export * from "./write.ts";
