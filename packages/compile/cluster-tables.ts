import type { Block, IpPool, Node, UnderlayLink } from "@weft/model";
import { createTable, type Database, type Table } from "@weft/store";

/** What every compiler knows of the cluster, and of the links of its own node. */
export interface ClusterTables {
  readonly nodes: Table<Node>;
  readonly pools: Table<IpPool>;
  /** podCIDRs of nodes, blocks of pools, and what is on loan; index "node". */
  readonly blocks: Table<Block>;
  readonly underlay: Table<UnderlayLink>;
}

export const createClusterTables = (database: Database): ClusterTables => ({
  nodes: createTable<Node>(database, { name: "nodes", key: (r) => r.name }),
  pools: createTable<IpPool>(database, { name: "pools", key: (r) => r.name }),
  blocks: createTable<Block>(database, {
    name: "blocks",
    key: (r) => r.prefix,
    indexes: { node: (r) => r.node },
  }),
  underlay: createTable<UnderlayLink>(database, { name: "underlay", key: (r) => r.name }),
});
