/** Entries of the tunnel's forwarding table: which outer address an inner Ethernet address is behind. */
import { isNotFound } from "@weft/base";
import { type ForwardingEntry, LINK_PREFIX } from "@weft/kernel/port";
import { differences, type KindContext, type KindOps } from "../kind.ts";

export function forwardingOps({ kernel }: KindContext<"forwarding">): KindOps<"forwarding", ForwardingEntry> {
  const ns = kernel.self;
  const describe = (row: { remote: string }, e: ForwardingEntry): string =>
    differences([
      ["remote", e.remote, row.remote],
      ["permanent", e.permanent, true],
    ]).join(", ");
  return {
    // An address has one remote end, which the kernel exchanges in place: nothing is lost in between.
    update: (row) => ns.replaceForwarding(row.link, row.mac, row.remote),
    delete: (row) => ns.deleteForwarding(row.link, row.mac, row.remote),
    actual: {
      list: (rows) =>
        (rows === undefined ? ownTunnels() : [...new Set(rows.map((r) => r.link))]).flatMap(entriesOf),
      keyOf: (e) => `${e.link} ${e.mac}`,
      matches: (row, e) => describe(row, e) === "",
      delete(e) {
        if (e.remote !== undefined) ns.deleteForwarding(e.link, e.mac, e.remote);
      },
    },
    describe,
  };

  function ownTunnels(): string[] {
    return ns
      .links()
      .filter((l) => l.kind === "vxlan" && l.name.startsWith(`${LINK_PREFIX}-`))
      .map((l) => l.name);
  }

  function entriesOf(link: string): ForwardingEntry[] {
    try {
      return ns.forwarding(link).filter((e) => e.remote !== undefined);
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }
}
