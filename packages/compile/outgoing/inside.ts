/**
 * What pods reach under their own addresses: every pod, every node, and what settings exclude.
 *
 *   self, pools -> listed: clusterCIDRs, exclusions, ranges of pools -> rows of what is listed --\
 *   blocks --> lengths of blocks' prefixes              rows of blocks -------> disjoint prefixes
 *   nodes --------------------------------------------> rows of nodes  -----/
 *
 * Two prefixes are apart or one holds the other, so that the rows are disjoint when each is left out that another one
 * holds; of equals settings speak before blocks, and blocks before nodes. Which block holds a prefix is asked for by
 * key, once for each length that any block has: a change of one block or node concerns itself and what it holds.
 */
import { contains, familyOf, hostPrefix, makePrefix, type Prefix, prefixIp, prefixLength } from "@weft/base";
import type { Block, IpPool, MasqueradeInsideRow, Node, Origin, Settings } from "@weft/model";
import { type DerivedTable, derive, type ReadableTable, type Reader, type Table } from "@weft/store";
import { masquerades } from "./sources.ts";

interface Listed {
  readonly key: "listed";
  readonly prefixes: readonly { readonly prefix: Prefix; readonly origin: Origin }[];
}
interface Length {
  readonly key: string;
  readonly family: number;
  readonly length: number;
}

export interface InsideInputs {
  readonly self: Table<{ readonly key: "self"; readonly settings: Settings }>;
  readonly nodes: Table<Node>;
  readonly pools: Table<IpPool>;
  /** By prefix. */
  readonly blocks: Table<Block>;
}

/** Derived tables of rows, by prefix: together disjoint. Empty where nothing is translated. */
export function insideTables({
  self,
  nodes,
  pools,
  blocks,
}: InsideInputs): DerivedTable<MasqueradeInsideRow>[] {
  const listed = derive({
    name: "inside, listed",
    input: self,
    key: (r: Listed) => r.key,
    rows: ({ settings }, read): Listed[] => {
      const all = read.all(pools);
      return masquerades(settings.masquerade, all)
        ? [{ key: "listed", prefixes: listedIn(settings, all) }]
        : [];
    },
  });
  const lengths = derive({
    name: "inside, lengths of blocks",
    input: blocks,
    key: (r: Length) => r.key,
    rows: ({ prefix }) => {
      const [family, length] = [familyOf(prefix), prefixLength(prefix)];
      return [{ key: `${family}/${length}`, family, length }];
    },
  });
  const heldByBlock = (prefix: Prefix, read: Reader): boolean =>
    read
      .all(lengths)
      .some(
        ({ family, length }) =>
          family === familyOf(prefix) &&
          length < prefixLength(prefix) &&
          read.get(blocks, makePrefix(prefixIp(prefix), length)) !== undefined,
      );
  const settingsOf = (read: Reader): Listed["prefixes"] | undefined => read.get(listed, "listed")?.prefixes;
  const key = (r: MasqueradeInsideRow): string => r.prefix;

  const ofSettings = derive<Listed, MasqueradeInsideRow>({
    name: "inside, of settings",
    input: listed as ReadableTable<Listed>,
    key,
    rows: ({ prefixes }, read) =>
      prefixes
        .filter(({ prefix }) => !heldByBlock(prefix, read))
        .map(({ prefix, origin }) => row(prefix, origin)),
  });
  const ofBlocks = derive<Block, MasqueradeInsideRow>({
    name: "inside, of blocks",
    input: blocks,
    key,
    rows({ prefix, origin }, read) {
      const others = settingsOf(read);
      if (others === undefined || others.some((o) => contains(o.prefix, prefix))) return [];
      return heldByBlock(prefix, read) ? [] : [row(prefix, origin)];
    },
  });
  const ofNodes = derive<Node, MasqueradeInsideRow>({
    name: "inside, of nodes",
    input: nodes,
    key,
    rows({ addresses, origin }, read) {
      const others = settingsOf(read);
      if (others === undefined) return [];
      return addresses
        .map((ip) => hostPrefix(ip))
        .filter((prefix) => !others.some((o) => contains(o.prefix, prefix)))
        .filter((prefix) => read.get(blocks, prefix) === undefined && !heldByBlock(prefix, read))
        .map((prefix) => row(prefix, { ...origin, field: "status.addresses" }));
    },
  });
  return [ofSettings, ofBlocks, ofNodes];
}

/**
 * What settings list and what pools are, each that no other one of them holds. A pool counts once it has been found good:
 * before, anybody's range could be written there. Later its blocks count by themselves.
 */
function listedIn({ clusterCIDRs, masquerade }: Settings, pools: readonly IpPool[]): Listed["prefixes"] {
  const origin = (field: string): Origin => ({ kind: "Settings", name: "weft", field });
  const all = [
    ...clusterCIDRs.map((prefix, i) => ({ prefix, origin: origin(`clusterCIDRs[${i}]`) })),
    ...masquerade.exclude.map((prefix, i) => ({ prefix, origin: origin(`masquerade.exclude[${i}]`) })),
    ...pools
      .filter((p) => p.ready)
      .map(({ cidr, origin }) => ({ prefix: cidr, origin: { ...origin, field: "spec.cidr" } })),
  ];
  return all.filter(
    ({ prefix }, i) => !all.some((o, j) => contains(o.prefix, prefix) && (o.prefix !== prefix || j < i)),
  );
}

const row = (prefix: Prefix, origin: Origin): MasqueradeInsideRow => ({
  kind: "masquerade-inside",
  prefix,
  origin,
});
