/**
 * The fabric compiler: everything that a node holds because of other nodes, of its settings and of its underlay.
 *
 *   self, settings, capabilities, underlay --+
 *   nodes, pools, blocks ---------------------+--> local --> own facts: device, context, forwarding
 *                                                      \-> peer facts, by node: neighbours, entries, routes
 *   settings, nodes, pools, blocks ---> inside facts: what pods reach untranslated (outgoing/inside.ts)
 *
 * Derived tables keyed by fact; a change of one node recomputes that node, a change of what is local
 * recomputes all of them. Pure: whatever the order of changes, the result is that of a compile from scratch.
 */
import { compareIp, contains, type Prefix, prefixIp } from "@weft/base";
import {
  type Block,
  type Capabilities,
  type Node,
  type NodeContext,
  type PeerPath,
  type PlanRow,
  type Problem,
  planKey,
  type Settings,
} from "@weft/model";
import {
  createDatabase,
  createTable,
  type Database,
  type DerivedTable,
  derive,
  type Reader,
  type Table,
} from "@weft/store";
import { type ClusterTables, createClusterTables } from "../cluster-tables.ts";
import { contextOf } from "../local/context.ts";
import { type LocalNode, type Located, locate } from "../local/local.ts";
import { nodeRows } from "../local/node-rows.ts";
import { insideTables } from "../outgoing/inside.ts";
import { sourceRows } from "../outgoing/sources.ts";
import type { Peer } from "../overlay/backend.ts";
import { BACKENDS } from "../overlay/registry.ts";

/** Anything that the compiler says: a row for the kernel, a path for status, a problem, or the node's context. */
export type Fact =
  | { readonly type: "row"; readonly key: string; readonly row: PlanRow }
  | { readonly type: "path"; readonly key: string; readonly path: PeerPath }
  | { readonly type: "problem"; readonly key: string; readonly problem: Problem }
  | { readonly type: "context"; readonly key: string; readonly context: NodeContext };

export interface Self {
  readonly key: "self";
  readonly name: string;
  readonly settings: Settings;
  readonly capabilities: Capabilities;
}
interface LocalRow {
  readonly key: "self";
  readonly located: Located;
}

const rowFact = (row: PlanRow): Fact => ({ type: "row", key: `row ${row.kind} ${planKey(row)}`, row });
const problemFact = (problem: Problem): Fact => ({ type: "problem", key: `problem ${problem.key}`, problem });

export interface Fabric extends ClusterTables {
  readonly database: Database;
  readonly self: Table<Self>;
  /** Derived tables of facts: about this node, about its peers, and about blocks without a node. */
  readonly facts: readonly DerivedTable<Fact>[];
}

/** `onError` hears what a listener of the tables threw. */
export function createFabric(onError: (error: unknown, where: string) => void): Fabric {
  const database = createDatabase({ onError });
  const self = createTable<Self>(database, { name: "self", key: (r) => r.key });
  const tables = createClusterTables(database);
  const { nodes, pools, blocks, underlay } = tables;

  const blocksOf = (read: Reader, node: string): Block[] =>
    [...read.where(blocks, "node", node)].sort((a, b) => compareIp(prefixIp(a.prefix), prefixIp(b.prefix)));

  const local = derive<Self, LocalRow>({
    name: "local",
    input: self,
    key: (r) => r.key,
    rows(row, read) {
      const node = read.get(nodes, row.name);
      const own = blocksOf(read, row.name);
      const names = new Set(own.flatMap((b) => b.pool ?? []));
      const theirs = [...names].sort().flatMap((name) => read.get(pools, name) ?? []);
      const located =
        node === undefined
          ? { problem: unknownNode(row.name) }
          : locate(node, row.settings, row.capabilities, own, theirs, read.all(underlay));
      return [{ key: "self", located }];
    },
  });

  const ownFacts = derive<LocalRow, Fact>({
    name: "own facts",
    input: local,
    key: (f) => f.key,
    rows: ({ located }) =>
      "problem" in located ? [problemFact(located.problem)] : localFacts(located.local),
  });

  const peerFacts = derive<Node, Fact>({
    name: "peer facts",
    input: nodes,
    key: (f) => f.key,
    rows(node, read) {
      const located = read.get(local, "self")?.located;
      if (located === undefined || "problem" in located || node.name === located.local.node.name) return [];
      return peerFactsOf(located.local, { node, blocks: blocksOf(read, node.name) });
    },
  });

  const strayFacts = derive<Block, Fact>({
    name: "stray facts",
    input: blocks,
    key: (f) => f.key,
    rows(block, read) {
      const ranges = read.get(self, "self")?.settings.clusterCIDRs ?? [];
      const facts: Fact[] = [];
      if (read.get(nodes, block.node) === undefined) facts.push(problemFact(strayBlock(block)));
      // A pool is a range of the cluster without being listed.
      const listed = block.pool !== undefined || ranges.length === 0;
      if (!listed && !ranges.some((range) => contains(range, block.prefix)))
        facts.push(problemFact(outsideBlock(block, ranges)));
      return facts;
    },
  });
  const known = derive<LocalRow, { key: "self" }>({
    name: "the node is known",
    input: local,
    key: (r) => r.key,
    rows: ({ located }) => ("problem" in located ? [] : [{ key: "self" }]),
  });
  const insideFacts = insideTables({ self, nodes, pools, blocks }).map((input) =>
    derive<PlanRow, Fact>({
      name: `${input.name}, facts`,
      input,
      key: (f) => f.key,
      rows: (row, read) => (read.get(known, "self") === undefined ? [] : [rowFact(row)]),
    }),
  );
  return {
    database,
    self,
    ...tables,
    facts: [ownFacts, peerFacts, strayFacts, ...insideFacts],
  };
}

function localFacts(local: LocalNode): Fact[] {
  const backend = BACKENDS[local.settings.backend];
  const facts = nodeRows(local).map(rowFact);
  facts.push(...sourceRows(local.blocks, local.settings.masquerade, local.pools).map(rowFact));
  const context = contextOf(local);
  if ("message" in context) facts.push(problemFact(context));
  else facts.push({ type: "context", key: "context", context });
  if (backend.unusable(local) === undefined) facts.push(...backend.device(local).map(rowFact));
  return facts;
}

function peerFactsOf(local: LocalNode, peer: Peer): Fact[] {
  const backend = BACKENDS[local.settings.backend];
  if (backend.unusable(local) !== undefined) return [];
  // Whoever serves its pods has ways to them already, and nobody there would take a tunnel's packets.
  if (peer.node.network === "other") return peer.blocks.map(pathOfOther);
  const facts: Fact[] = backend.peer(local, peer).map(rowFact);
  for (const block of peer.blocks) {
    const reach = backend.reach(local, peer, block);
    facts.push(...reach.rows.map(rowFact));
    if ("path" in reach) facts.push({ type: "path", key: `path ${block.prefix}`, path: reach.path });
    else facts.push(problemFact(reach.problem));
  }
  return facts;
}

const pathOfOther = ({ prefix, node }: Block): Fact => ({
  type: "path",
  key: `path ${prefix}`,
  path: { node, block: prefix, backend: "none", via: undefined },
});

const unknownNode = (name: string): Problem => ({
  key: "self",
  message: `there is no Node named ${name}`,
  hint: "Start the agent with --node set to the name of its Node object, or create that object; it counts once it has an InternalIP.",
  origin: { kind: "Node", name },
});

const outsideBlock = (block: Block, ranges: readonly Prefix[]): Problem => ({
  key: `outside ${block.prefix}`,
  message: `block ${block.prefix} of node ${block.node} lies outside of clusterCIDRs (${ranges.join(", ")})`,
  hint: "Add its range to clusterCIDRs, or give the node a block of one that is there.",
  origin: block.origin,
});

const strayBlock = (block: Block): Problem => ({
  key: `stray ${block.prefix}`,
  message: `block ${block.prefix} belongs to node ${block.node}, which does not exist`,
  hint:
    block.pool === undefined
      ? "Create the Node, or give the block back."
      : "It goes back to its pool five minutes after the Node went, if a controller runs: kubectl get ipblocks",
  origin: block.origin,
});
