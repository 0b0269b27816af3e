/**
 * Ranges of the masquerading table: whose packets are translated, and what they reach untranslated. Rows of a kind are
 * disjoint, and so are the ranges in a set. While one plan gives way to another they are not: an update removes what it
 * overlaps in the same transaction, and puts in whatever else is wanted of the addresses that this takes away.
 */
import {
  addressAt,
  bitsOf,
  type Family,
  familyOf,
  ipToBigInt,
  isExists,
  makePrefix,
  prefixIp,
  prefixSize,
} from "@weft/base";
import type { IpRange } from "@weft/kernel/port";
import type { MasqueradeInsideRow, MasqueradeSourceRow } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";
import { MASQUERADE_SKELETON, MASQUERADE_TABLE } from "../masquerade.ts";

type Row = MasqueradeInsideRow | MasqueradeSourceRow;
type Kind = Row["kind"];

interface Held {
  readonly family: Family;
  readonly range: IpRange;
  readonly text: string;
}

const FAMILIES: readonly Family[] = [4, 6];

const SET: Readonly<Record<Kind, string>> = { "masquerade-source": "sources", "masquerade-inside": "inside" };

export const masqueradeSourceOps = (context: KindContext<"masquerade-source">) =>
  rangeOps("masquerade-source", context);
export const masqueradeInsideOps = (context: KindContext<"masquerade-inside">) =>
  rangeOps("masquerade-inside", context);

function rangeOps<K extends Kind>(kind: K, { kernel, table, skeletons }: KindContext<K>): KindOps<K, Held> {
  const { nftables } = kernel;
  const setOf = (family: Family): string => `${SET[kind]}${family}`;
  const wanted = (): Row[] => [...(table.rows() as Iterable<Row>)];
  const change = (family: Family, remove: readonly IpRange[], add: readonly IpRange[]): void =>
    nftables.changeRanges("inet", MASQUERADE_TABLE, setOf(family), remove, add);
  /** What the skeleton was made with: the rest of the rows that asked for it need not be added once more. */
  let madeWith = new Set<string>();
  const keeper = skeletons.join(MASQUERADE_SKELETON, () => {
    madeWith = new Set(wanted().map((row) => row.prefix));
    return byFamily(wanted())
      .map(
        ([family, rows]) => `add element inet ${MASQUERADE_TABLE} ${setOf(family)} { ${prefixesOf(rows)} }\n`,
      )
      .join("");
  });

  /** Prefixes of the ranges that the last reading found: of thousands, hardly any is new. */
  let texts = new Map<string, string>();

  const add = (family: Family, rows: readonly Row[]): void => {
    const ranges = rows.map((row) => rangeOf(row.prefix));
    try {
      change(family, [], ranges);
    } catch (error) {
      if (!isExists(error)) throw error;
      const held = nftables.ranges("inet", MASQUERADE_TABLE, setOf(family), family);
      const inTheWay = overlapping(held, ranges);
      const given = new Set(rows.map((row) => row.prefix));
      const others = wanted().filter((row) => familyOf(row.prefix) === family && !given.has(row.prefix));
      const uncovered = overlapping(
        others.map((row) => rangeOf(row.prefix)),
        inTheWay,
      );
      const clash = new Set(overlapping(uncovered, ranges));
      change(family, inTheWay, [...ranges, ...uncovered.filter((range) => !clash.has(range))]);
    }
  };
  const update = (rows: readonly Row[]): void | Promise<void> =>
    keeper.put(() => {
      const missing = rows.filter((row) => !madeWith.has(row.prefix));
      for (const [family, some] of byFamily(missing)) add(family, some);
    });
  const remove = (rows: readonly Row[]): void | Promise<void> =>
    keeper.take(() => {
      for (const row of rows) madeWith.delete(row.prefix);
      for (const [family, some] of byFamily(rows))
        change(
          family,
          some.map((row) => rangeOf(row.prefix)),
          [],
        );
    });
  return {
    update: (row) => update([row]),
    updateMany: update,
    delete: (row) => remove([row]),
    deleteMany: remove,
    actual: {
      list: () => {
        madeWith.clear();
        // Without the skeleton nothing is held: every row is applied again, and makes it.
        if (!keeper.stands()) return [];
        const seen = new Map<string, string>();
        const held = FAMILIES.flatMap((family) =>
          nftables.ranges("inet", MASQUERADE_TABLE, setOf(family), family).map((range): Held => {
            const bounds = `${range.first}-${range.last}`;
            const text = texts.get(bounds) ?? textOf(range);
            seen.set(bounds, text);
            return { family, range, text };
          }),
        );
        texts = seen;
        return held;
      },
      keyOf: ({ text }) => text,
      matches: (row, { text }) => (row as Row).prefix === text,
      delete: ({ family, range }) => change(family, [range], []),
    },
    // A range is there or not: its key is all that it is.
    describe: () => "",
  };
}

const byFamily = (rows: readonly Row[]): [Family, Row[]][] => [
  ...Map.groupBy(rows, (row) => familyOf(row.prefix)),
];
const prefixesOf = (rows: readonly Row[]): string => rows.map((row) => row.prefix).join(", ");

/** Those of `ranges` that share addresses with one of `others` without being the same. */
function overlapping(ranges: readonly IpRange[], others: readonly IpRange[]): IpRange[] {
  const bounds = ({ first, last }: IpRange) => [ipToBigInt(first), ipToBigInt(last)] as const;
  const known = others.map(bounds);
  return ranges.filter((range) => {
    const [from, to] = bounds(range);
    return known.some(([f, t]) => from <= t && f <= to && (from !== f || to !== t));
  });
}

/** The range that a prefix is. */
const rangeOf = (prefix: string): IpRange => ({
  first: prefixIp(prefix),
  last: addressAt(prefix, prefixSize(prefix) - 1n),
});

/** The prefix that a range is; otherwise, which is never asked for, its first and last address. */
function textOf({ first, last }: IpRange): string {
  const size = ipToBigInt(last) - ipToBigInt(first) + 1n;
  const prefix = makePrefix(first, bitsOf(familyOf(first)) - (size.toString(2).length - 1));
  const range = rangeOf(prefix);
  return range.first === first && range.last === last ? prefix : `${first}-${last}`;
}
