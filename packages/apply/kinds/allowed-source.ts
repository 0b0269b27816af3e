/** What pods may send from: elements of the anti-spoofing sets, one row in each set that checks its family. */
import { familyOf, ipBytes } from "@weft/base";
import type { Kernel, NftFamily, SetElement, SetField } from "@weft/kernel/port";
import { type AllowedSourceRow, planKey } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";
import { NFT_TABLE, SOURCES_SKELETON, SOURCES4, SOURCES6, TARGETS6 } from "../ruleset.ts";

/** An element by key, and which of the sets that should hold it do not. */
interface Held {
  readonly key: string;
  readonly element: SetElement;
  readonly family: 4 | 6;
  readonly missingIn: readonly string[];
}

interface NamedSet {
  readonly family: NftFamily;
  readonly name: string;
}
const SETS: Record<4 | 6, readonly NamedSet[]> = {
  4: [
    { family: "inet", name: SOURCES4 },
    { family: "arp", name: SOURCES4 },
  ],
  6: [
    { family: "inet", name: SOURCES6 },
    { family: "inet", name: TARGETS6 },
  ],
};

const elementOf = (row: AllowedSourceRow): SetElement => ({
  key: [
    { type: "ifname", value: row.link },
    { type: "mac", value: row.mac },
    { type: "ip", value: row.ip },
  ],
});
const FAMILIES = [4, 6] as const;
const FIELDS: readonly SetField["type"][] = ["ifname", "mac", "ip"];
const keyOf = (e: SetElement): string => e.key.map((f) => f.value).join(" ");

export function allowedSourceOps({
  kernel,
  table,
  skeletons,
}: KindContext<"allowed-source">): KindOps<"allowed-source", Held> {
  const add = (rows: readonly AllowedSourceRow[]): void =>
    each(rows, (set, elements) => kernel.nftables.addElements(set.family, NFT_TABLE, set.name, elements));
  const remove = (rows: readonly AllowedSourceRow[]): void =>
    each(rows, (set, elements) => kernel.nftables.deleteElements(set.family, NFT_TABLE, set.name, elements));
  const keeper = skeletons.join(SOURCES_SKELETON, () => [...table.rows()].map(inScript).join(""));
  return {
    update: (row) => keeper.put(() => add([row])),
    updateMany: (rows) => keeper.put(() => add(rows)),
    delete: (row) => keeper.take(() => remove([row])),
    deleteMany: (rows) => keeper.take(() => remove(rows)),
    actual: {
      list(rows) {
        // Without the skeleton nothing is held: every row is applied again, and makes it.
        if (!keeper.stands()) return [];
        if (rows === undefined) return FAMILIES.flatMap((family) => heldBy(kernel, family, everything));
        return FAMILIES.flatMap((family) => {
          const asked = rows.filter((r) => familyOf(r.ip) === family).map(elementOf);
          return heldBy(kernel, family, (set) =>
            kernel.nftables.presentElements(set.family, NFT_TABLE, set.name, asked),
          );
        });
      },
      keyOf: (h) => h.key,
      matches: (row, h) => planKey(row) === h.key && h.missingIn.length === 0,
      delete: (h) => {
        for (const set of SETS[h.family])
          kernel.nftables.deleteElements(set.family, NFT_TABLE, set.name, [h.element]);
      },
    },
    describe: (_, h) => `is missing in ${h.missingIn.join(" and ")}`,
  };
}

/** The element of a row as lines of a script. nft writes the raw field of TARGETS6 as a number. */
function inScript(row: AllowedSourceRow): string {
  const number = Buffer.from(ipBytes(row.ip)).toString("hex");
  return SETS[familyOf(row.ip)]
    .map(({ family, name }) => {
      const ip = name === TARGETS6 ? `0x${number}` : row.ip;
      return `add element ${family} ${NFT_TABLE} ${name} { "${row.link}" . ${row.mac} . ${ip} }\n`;
    })
    .join("");
}

function each(rows: readonly AllowedSourceRow[], run: (set: NamedSet, elements: SetElement[]) => void): void {
  for (const family of FAMILIES) {
    const elements = rows.filter((r) => familyOf(r.ip) === family).map(elementOf);
    if (elements.length === 0) continue;
    for (const set of SETS[family]) run(set, elements);
  }
}

/** What the sets of a family hold, by element, as `read` tells of each set. */
function heldBy(
  kernel: Kernel,
  family: 4 | 6,
  read: (set: NamedSet, kernel: Kernel, family: 4 | 6) => SetElement[],
): Held[] {
  const found = new Map<string, { element: SetElement; in: Set<string> }>();
  for (const set of SETS[family]) {
    for (const element of read(set, kernel, family)) {
      const entry = found.get(keyOf(element)) ?? { element, in: new Set<string>() };
      entry.in.add(`${set.family} ${set.name}`);
      found.set(keyOf(element), entry);
    }
  }
  return [...found].map(([key, entry]) => ({
    key,
    element: entry.element,
    family,
    missingIn: SETS[family].map((s) => `${s.family} ${s.name}`).filter((s) => !entry.in.has(s)),
  }));
}

const everything = (set: NamedSet, kernel: Kernel, family: 4 | 6): SetElement[] =>
  kernel.nftables.elements(set.family, NFT_TABLE, set.name, FIELDS, family);
