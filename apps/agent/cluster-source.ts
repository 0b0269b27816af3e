/**
 * Where the rows of the cluster come from: a directory of manifests, or the Kubernetes API. Both give whole
 * readings, and whoever takes them cannot tell which it was.
 *
 * The last reading of an API is kept on disk. A node that starts while the API server is away goes on with what
 * was true before it: the kernel holds that already, and pods can start from it.
 */
import type { Logger } from "@weft/base";
import { type ManifestRows, readDirectory, watchDirectory } from "@weft/cluster";
import type { EventInput } from "@weft/cluster/client";
import type { Block, IpPool, Node } from "@weft/model";
import { watchApi } from "./api-source.ts";
import type { ClusterPools, PoolsMessage } from "./cluster-pools.ts";
import type { KnownPod } from "./known-pods.ts";

export type ClusterSource =
  | {
      readonly kind: "directory";
      readonly directory: string;
      /** Where Services, EndpointSlices and ServiceCIDRs are; mostly the same directory. */
      readonly services: string;
    }
  | {
      readonly kind: "kubernetes";
      /** Undefined: KUBECONFIG, or the service account of the pod that this runs in. */
      readonly kubeconfig: string | undefined;
      /** File of the last reading. */
      readonly copy: string;
    };

/** One reading of the cluster. */
export interface ClusterRows {
  readonly nodes: readonly Node[];
  /** podCIDRs, blocks of pools, and addresses on loan. */
  readonly blocks: readonly Block[];
  readonly pools: readonly IpPool[];
  /** What could not be taken over, one sentence each. */
  readonly errors: readonly string[];
}

export interface SourceListener {
  readonly rows: (rows: ClusterRows) => void;
  /** In one line, for status: where the rows come from, and whether it answers. */
  readonly state: (text: string) => void;
  /** An API's pods of this node; `current` is false while it is away. A directory tells none. */
  readonly pods: (pods: readonly KnownPod[], current: boolean) => void;
  /** An API's address pools, as far as they concern this node. */
  readonly pools: (message: PoolsMessage) => void;
}

export interface SourceWatch {
  /** The node's own addresses are others now: connections from the former ones lead nowhere. */
  readonly addressesChanged: () => void;
  /** Undefined of a directory, which has none. */
  readonly pools: ClusterPools | undefined;
  /** Tells the API of something; a directory has nobody to tell. */
  readonly record: (event: EventInput) => void;
}

/** Gives the first rows, if there are any, before it returns. Throws "invalid" or "not-found" for bad credentials. */
export function watchSource(
  source: ClusterSource,
  node: string,
  to: SourceListener,
  logger: Logger,
): SourceWatch {
  if (source.kind === "directory") {
    to.state(`manifests in ${source.directory}`);
    const rows = ({ nodes, blocks, errors }: ManifestRows): void =>
      to.rows({ nodes, blocks, pools: [], errors });
    rows(readDirectory(source.directory));
    watchDirectory(source.directory, rows);
    return { addressesChanged() {}, pools: undefined, record() {} };
  }
  return watchApi(source, node, to, logger);
}
