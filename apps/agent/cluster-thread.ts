/**
 * The cluster thread: a worker that reads what the cluster wants and compiles it. Parsing a thousand nodes or
 * compiling them takes as long as it takes; nothing with a deadline runs here. It knows no kernel: facts of the
 * underlay come in as rows, facts for the plan go out as rows.
 */
import { describeError } from "@weft/base";
import { watchSettings } from "@weft/cluster";
import { createFabric, type Fact } from "@weft/compile";
import type { Settings, UnderlayLink } from "@weft/model";
import type { Change } from "@weft/store";
import type { ClusterPools } from "./cluster-pools.ts";
import { type ClusterRows, type SourceListener, type SourceWatch, watchSource } from "./cluster-source.ts";
import { LastSettings } from "./last-settings.ts";
import type { FromCluster, KeyedFact, PoolsToCluster, ToCluster } from "./messages.ts";
import { step } from "./steps.ts";
import { threadLogger } from "./thread-logger.ts";

declare const self: Worker;

const post = (message: FromCluster): void => self.postMessage(message);
const fabric = createFabric((error, where) =>
  post({ type: "log", level: "error", message: `${where}: ${error}` }),
);

const logger = threadLogger((level, message) => post({ type: "log", level, message }));

let source: SourceWatch | undefined;
/** Of the underlay, as it was told last. */
let addresses: readonly string[] = [];
const addressesOf = (links: readonly UnderlayLink[]): string[] => links.flatMap((l) => l.addresses);

let put = new Map<string, KeyedFact>();
let remove = new Set<string>();

for (const table of fabric.facts) {
  table.watch(({ changes }) => {
    for (const change of changes) collect(table.name, change);
  });
}

/** Several tables change in one commit; their differences go out as one message. */
function collect(table: string, { key, after }: Change<Fact>): void {
  const id = `${table}/${key}`;
  if (after === undefined) {
    put.delete(id);
    remove.add(id);
  } else {
    remove.delete(id);
    put.set(id, { id, fact: after });
  }
}

function commit(change: () => void): void {
  step("compile");
  fabric.database.write(change);
  if (put.size === 0 && remove.size === 0) return;
  post({ type: "facts", put: [...put.values()], remove: [...remove] });
  put = new Map();
  remove = new Set();
}

function start(message: Extract<ToCluster, { type: "start" }>): void {
  let settings: Settings | undefined;
  let isRead = false;
  // Before the first reading nobody can say that there is no Node of our name.
  const takeSelf = (): void => {
    if (settings === undefined || !isRead) return;
    fabric.self.put({ key: "self", name: message.node, settings, capabilities: message.capabilities });
  };
  const rows = (reading: ClusterRows): void => {
    post({ type: "source-errors", errors: reading.errors });
    commit(() => {
      isRead = true;
      takeSelf();
      fabric.nodes.replaceAll(reading.nodes);
      fabric.pools.replaceAll(reading.pools);
      fabric.blocks.replaceAll(reading.blocks);
    });
  };
  // Everything that is known at once goes in as one commit: a first plan that lacked half of the nodes would
  // take their routes away for a moment.
  commit(() => {
    addresses = addressesOf(message.underlay);
    fabric.underlay.replaceAll(message.underlay);
    const last = new LastSettings(message.lastSettingsFile, (error) =>
      post({ type: "log", level: "warn", message: `cannot keep the settings: ${describeError(error)}` }),
    );
    let wasGood = false;
    watchSettings(message.settingsFile, (given, error) => {
      wasGood ||= error === undefined;
      const inForce = wasGood ? given : (last.read() ?? given);
      if (error === undefined) last.keep(inForce);
      post({ type: "settings", settings: inForce, error });
      commit(() => {
        settings = inForce;
        takeSelf();
      });
    });
    const state = (text: string): void => post({ type: "source-state", state: text });
    const pods: SourceListener["pods"] = (known, current) => post({ type: "pods", pods: known, current });
    source = watchSource(message.source, message.node, { rows, state, pods, pools: post }, logger);
  });
}

self.onmessage = (event: MessageEvent<ToCluster>) => {
  const message = event.data;
  if (message.type === "start") start(message);
  else if (message.type === "event") source?.record(message.event);
  else if (message.type === "underlay") {
    const before = addresses;
    addresses = addressesOf(message.links);
    if (!Bun.deepEquals(before, addresses)) source?.addressesChanged();
    commit(() => fabric.underlay.replaceAll(message.links));
  } else if (source?.pools !== undefined) ofPools(message, source.pools);
};

/** What follows from what was written is posted before any answer to a later question. */
function ofPools(message: PoolsToCluster, pools: ClusterPools): void {
  const { type } = message;
  if (type === "block-written") pools.written(message.block);
  else if (type === "block-gone") pools.removed(message.name, message.uid);
  else {
    const found =
      type === "free-blocks" ? pools.freeBlocks(message.pool, message.count) : pools.lenders(message.pool);
    post({ type: "blocks-found", id: message.id, ...found });
  }
}
