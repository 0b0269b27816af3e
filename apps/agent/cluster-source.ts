/**
 * Where the rows of the cluster come from: a directory of manifests, or the Kubernetes API. Both give whole
 * readings, and whoever takes them cannot tell which it was.
 *
 * The last reading of an API is kept on disk. A node that starts while the API server is away goes on with what
 * was true before it: the kernel holds that already, and pods can start from it.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { describeError, type Logger, WeftError } from "@weft/base";
import { readDirectory, watchDirectory } from "@weft/cluster";
import { createClient, loadCredentials, watchCluster } from "@weft/cluster/client";
import type { Block, Node } from "@weft/model";

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
  readonly blocks: readonly Block[];
  /** What could not be taken over, one sentence each. */
  readonly errors: readonly string[];
}

export interface SourceListener {
  readonly rows: (rows: ClusterRows) => void;
  /** In one line, for status: where the rows come from, and whether it answers. */
  readonly state: (text: string) => void;
}

/** Gives the first rows, if there are any, before it returns. Throws "invalid" or "not-found" for bad credentials. */
export function watchSource(source: ClusterSource, node: string, to: SourceListener, logger: Logger): void {
  if (source.kind === "directory") {
    to.state(`manifests in ${source.directory}`);
    to.rows(readDirectory(source.directory));
    watchDirectory(source.directory, to.rows);
    return;
  }
  const { kubeconfig, copy } = source;
  const client = createClient({
    credentials: loadCredentials(kubeconfig === undefined ? {} : { path: kubeconfig }),
    userAgent: `weft-agent/${node}`,
    logger,
  });
  const last = readCopy(copy, logger);
  if (last !== undefined) to.rows({ ...last, errors: [] });
  let written = "";
  let taken: ClusterRows | undefined;
  const watch = watchCluster({
    client,
    node,
    containers: false,
    logger,
    onChange(rows) {
      const { nodes, blocks } = rows;
      const reading = { nodes, blocks, errors: [...rows.errors, ...rows.waiting] };
      // It was a pod that changed: no reason to go through every node.
      if (taken?.nodes === nodes && taken.blocks === blocks && Bun.deepEquals(taken.errors, reading.errors))
        return;
      taken = reading;
      to.rows(reading);
      const text = JSON.stringify({ nodes, blocks });
      if (text === written) return;
      written = text;
      writeCopy(copy, text, logger);
    },
    onStatus: () => to.state(stateOf()),
  });
  const stateOf = (): string => {
    const { nodes } = watch.status();
    const away =
      nodes.awaySince === undefined
        ? ""
        : `, away since ${new Date(nodes.awaySince).toISOString()}: the last known state is in force`;
    return `Kubernetes API ${client.server}: ${nodes.state}${away}${nodes.lastError === undefined ? "" : ` (${nodes.lastError})`}`;
  };
  to.state(`Kubernetes API ${client.server}`);
}

/** A copy that cannot be read is as good as none. */
function readCopy(file: string, logger: Logger): Pick<ClusterRows, "nodes" | "blocks"> | undefined {
  try {
    const value = JSON.parse(readFileSync(file, "utf8")) as Partial<ClusterRows>;
    if (Array.isArray(value.nodes) && Array.isArray(value.blocks))
      return { nodes: value.nodes, blocks: value.blocks };
    throw new WeftError("invalid", "it has no nodes and blocks");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      logger.warn("the copy of the cluster's state cannot be read", { file, error: describeError(error) });
    }
    return undefined;
  }
}

function writeCopy(file: string, text: string, logger: Logger): void {
  try {
    writeFileSync(`${file}.tmp`, text, { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  } catch (error) {
    logger.warn("the cluster's state cannot be kept", { file, error: describeError(error) });
  }
}
