/**
 * The rows of the cluster from the Kubernetes API: Nodes and the own Pods (watchCluster), address pools (ClusterPools), put
 * together, and kept on disk for a start while the API is away.
 */
import { readFileSync } from "node:fs";
import { describeError, type Logger, replaceFile, WeftError } from "@weft/base";
import type { Conflict } from "@weft/cluster";
import {
  type ClusterRows as ApiRows,
  type ClusterWatch,
  createClient,
  createEventRecorder,
  type EventRecorder,
  loadCredentials,
  watchCluster,
} from "@weft/cluster/client";
import { ClusterPools } from "./cluster-pools.ts";
import type { ClusterRows, ClusterSource, SourceListener, SourceWatch } from "./cluster-source.ts";
import type { KnownPod } from "./known-pods.ts";

/**
 * Pools are told before rows, and rows before pods. Nothing is told before Nodes, Pods, IPPools and IPBlocks have been
 * answered for: rows that lack half of a cluster would take its routes away.
 */
export function watchApi(
  { kubeconfig, copy }: Extract<ClusterSource, { kind: "kubernetes" }>,
  node: string,
  to: SourceListener,
  logger: Logger,
): SourceWatch {
  const client = createClient({
    credentials: loadCredentials(kubeconfig === undefined ? {} : { path: kubeconfig }),
    userAgent: `weft-agent/${node}`,
    logger,
  });
  const recorder = createEventRecorder({ client, controller: "weft.network/agent", instance: node, logger });
  const tellConflicts = conflictTeller(recorder, node);
  const last = readCopy(copy, logger);
  const pools = new ClusterPools({
    client,
    node,
    copy: copy.replace(/(\.json)?$/, "-pools.json"),
    lastBlocks: (last?.blocks ?? []).filter((b) => b.pool !== undefined),
    onMessage: to.pools,
    onChange: () => tell(),
    logger,
  });
  let hasRows = false;
  pools.tell();
  if (last !== undefined) {
    to.rows({ ...last, pools: pools.pools, errors: [] });
    hasRows = true;
  }
  // Without pools a start knows no pods: their names are all that is of interest, and the API has them.
  if (pools.enabled) to.pods(pools.lastPods, false);
  let reading: ApiRows | undefined;
  let answered = false;
  let told: ClusterRows | undefined;
  let written = "";
  let pods: readonly KnownPod[] = [];
  let hasToldPods = false;

  const tell = (): void => {
    if (reading === undefined || !answered) return;
    pools.labels = reading.labels;
    pools.tell();
    tellRows(reading);
    tellPods(reading);
  };
  const tellRows = (reading: ApiRows): void => {
    const { nodes, conflicts } = reading;
    const all = pools.blocks(reading.blocks);
    const waiting = reading.waiting.filter((w) => w.for !== "range" || !pools.serves(w.node));
    const errors = [...reading.errors, ...waiting.map((w) => w.text), ...all.errors, ...pools.errors()];
    // Pods come and go all the time, and so do reports of blocks; what follows is about rows.
    const blocks = told !== undefined && areSame(told.blocks, all.blocks) ? told.blocks : all.blocks;
    const now = { nodes, blocks, pools: pools.pools, errors };
    const same = told?.nodes === nodes && told.blocks === blocks && told.pools === now.pools;
    if (same && Bun.deepEquals(told?.errors, errors)) return;
    told = now;
    hasRows = true;
    to.rows(now);
    tellConflicts(conflicts);
    keepRows();
  };
  const tellPods = (reading: ApiRows): void => {
    const known = pools.known(reading.pods);
    if (!Bun.deepEquals(known, pods) || !hasToldPods) to.pods(known, isCurrent());
    hasToldPods = true;
    pods = known;
    pools.keep(pods);
  };
  let keeping: ReturnType<typeof setTimeout> | undefined;
  /** With thousands of blocks that is a megabyte: not more often than every two seconds. */
  const keepRows = (): void => {
    if (keeping !== undefined) return;
    const write = (): void => {
      keeping = undefined;
      if (told === undefined) return;
      const text = JSON.stringify({ nodes: told.nodes, blocks: told.blocks });
      if (text !== written) writeCopy(copy, text, logger);
      written = text;
    };
    if (pools.enabled) keeping = setTimeout(write, KEEP_ROWS_MS);
    else write();
  };
  const watch = watchCluster({
    client,
    node,
    containers: false,
    logger,
    onChange(rows) {
      reading = rows;
      tell();
    },
    onStatus() {
      to.state(stateOf(client.server, watch.status(), hasRows));
      // Before the first reading nobody can say that a pod is not there.
      if (hasToldPods || !pools.enabled) to.pods(pods, hasToldPods && isCurrent());
    },
  });
  pools.answered.then(
    () => {
      answered = true;
      tell();
    },
    () => {},
  );
  const isCurrent = (): boolean => watch.status().pods.state === "watching";
  to.state(`Kubernetes API ${client.server}`);
  return {
    addressesChanged() {
      watch.reconnect("this node's addresses have changed");
      pools.reconnect("this node's addresses have changed");
    },
    pools,
    record: (event) => recorder.record(event),
  };
}

const KEEP_ROWS_MS = 2000;

const areSame = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i]);

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
function conflictTeller(recorder: EventRecorder, own: string): (conflicts: readonly Conflict[]) => void {
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
    replaceFile(file, text);
  } catch (error) {
    logger.warn("the cluster's state cannot be kept", { file, error: describeError(error) });
  }
}
