/** Permanent neighbour entries on own links. Entries that the kernel learned by itself are not ours. */
import { isNotFound } from "@weft/base";
import { LINK_PREFIX, type Neighbour, type NetworkNamespace } from "@weft/kernel/port";
import { differences, type KindContext, type KindOps } from "../kind.ts";

export function neighbourOps({ kernel, table }: KindContext<"neighbour">): KindOps<"neighbour", Neighbour> {
  const ns = kernel.self;
  const describe = (row: { mac: string }, n: Neighbour): string =>
    differences([
      ["mac", n.mac, row.mac],
      ["state", n.state, "permanent"],
    ]).join(", ");
  return {
    update: (row) => ns.replaceNeighbour(row.link, row.ip, row.mac),
    delete: (row) => ns.deleteNeighbour(row.link, row.ip),
    actual: {
      list(rows) {
        if (rows !== undefined)
          return [...new Set(rows.map((r) => r.link))].flatMap((link) => neighboursOn(ns, link));
        // A learned entry in the place of a wanted one is a difference; elsewhere it is the kernel's business.
        return ns
          .neighbours()
          .filter(
            (n) =>
              n.link.startsWith(LINK_PREFIX) && (n.state === "permanent" || table.has(`${n.link} ${n.ip}`)),
          );
      },
      keyOf: (n) => (n.link.startsWith(LINK_PREFIX) ? `${n.link} ${n.ip}` : undefined),
      matches: (row, n) => describe(row, n) === "",
      delete: (n) => ns.deleteNeighbour(n.link, n.ip),
    },
    describe,
  };
}

/** Without the link there are none. */
function neighboursOn(ns: NetworkNamespace, link: string): Neighbour[] {
  try {
    return ns.neighbours(link);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}
