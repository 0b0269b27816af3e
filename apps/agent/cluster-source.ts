/**
 * Where the rows of the cluster come from: a directory of manifests, or the Kubernetes API. Both give whole
 * readings, and whoever takes them cannot tell which it was.
 *
 * The last reading of an API is kept on disk. A node that starts while the API server is away goes on with what
 * was true before it: the kernel holds that already, and pods can start from it.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { describeError, type Logger, WeftError } from "@weft/base";
import { type Conflict, readDirectory, watchDirectory } from "@weft/cluster";
import {
  type ApiClient,
  type ClusterWatch,
  createClient,
  createEventRecorder,
  loadCredentials,
  watchCluster,
} from "@weft/cluster/client";
import type { Block, Node } from "@weft/model";
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
  readonly blocks: readonly Block[];
  /** What could not be taken over, one sentence each. */
  readonly errors: readonly string[];
}

export interface SourceListener {
  readonly rows: (rows: ClusterRows) => void;
  /** In one line, for status: where the rows come from, and whether it answers. */
  readonly state: (text: string) => void;
  /** An API's pods of this node; `current` is false while it is away. A directory tells none. */
  readonly pods: (pods: readonly KnownPod[], current: boolean) => void;
}

export interface SourceWatch {
  /** The node's own addresses are others now: connections from the former ones lead nowhere. */
  readonly addressesChanged: () => void;
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
    to.rows(readDirectory(source.directory));
    watchDirectory(source.directory, to.rows);
    return { addressesChanged() {} };
  }
  const { kubeconfig, copy } = source;
  const client = createClient({
    credentials: loadCredentials(kubeconfig === undefined ? {} : { path: kubeconfig }),
    userAgent: `weft-agent/${node}`,
    logger,
  });
  const tellConflicts = conflictTeller(client, node, logger);
  let hasRows = false;
  const last = readCopy(copy, logger);
  if (last !== undefined) {
    to.rows({ ...last, errors: [] });
    hasRows = true;
  }
  let told: ClusterRows | undefined;
  let written = "";
  let pods: readonly KnownPod[] = [];
  const watch = watchCluster({
    client,
    node,
    containers: false,
    logger,
    onChange(rows) {
      pods = rows.pods.map(({ namespace, name, uid, runtimeUid }) => ({
        namespace,
        name,
        uid,
        ...(runtimeUid !== undefined && { runtimeUid }),
      }));
      to.pods(pods, isCurrent());
      // Pods come and go all the time; what follows is about nodes.
      const { nodes, blocks } = rows;
      const errors = [...rows.errors, ...rows.waiting];
      if (told?.nodes === nodes && told.blocks === blocks && Bun.deepEquals(told.errors, errors)) return;
      told = { nodes, blocks, errors };
      hasRows = true;
      to.rows(told);
      tellConflicts(rows.conflicts);
      const text = JSON.stringify({ nodes, blocks });
      if (text === written) return;
      written = text;
      writeCopy(copy, text, logger);
    },
    onStatus() {
      to.state(stateOf(client.server, watch.status(), hasRows));
      to.pods(pods, isCurrent());
    },
  });
  const isCurrent = (): boolean => watch.status().pods.state === "watching";
  to.state(`Kubernetes API ${client.server}`);
  return { addressesChanged: () => watch.reconnect("this node's addresses have changed") };
}

/** The one of the two watches that is away, or was lost first, speaks for both. */
function stateOf(server: string, watches: ReturnType<ClusterWatch["status"]>, hasRows: boolean): string {
  const { nodes, pods } = watches;
  const away = [nodes, pods].filter((w) => w.awaySince !== undefined);
  const [first] = away.sort((a, b) => (a.awaySince as number) - (b.awaySince as number));
  if (first === undefined) return `Kubernetes API ${server}: ${nodes.synced ? pods.state : nodes.state}`;
  const meanwhile = hasRows ? "the last known state is in force" : "nothing is known yet";
  const since = new Date(first.awaySince as number).toISOString();
  const why = first.lastError === undefined ? "" : ` (${first.lastError})`;
  return `Kubernetes API ${server}: away since ${since}: ${meanwhile}${why}`;
}

/** Events about ranges and addresses that two nodes have; told by the agents of both, once each. */
function conflictTeller(
  client: ApiClient,
  own: string,
  logger: Logger,
): (conflicts: readonly Conflict[]) => void {
  const recorder = createEventRecorder({ client, controller: "weft.network/agent", instance: own, logger });
  let told = new Set<string>();
  return (conflicts) => {
    const now = new Set<string>();
    for (const { node, uid, field, value, holder, held } of conflicts) {
      if (node !== own && holder !== own) continue;
      const note = `${field} ${value} of node ${node} overlaps ${held} of node ${holder}, which was there first and keeps it`;
      now.add(note);
      if (told.has(note)) continue;
      recorder.record({
        regarding: { apiVersion: "v1", kind: "Node", name: node, ...(uid !== undefined && { uid }) },
        type: "Warning",
        reason: "RangeTaken",
        action: "Routing",
        note,
      });
    }
    told = now;
  };
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
