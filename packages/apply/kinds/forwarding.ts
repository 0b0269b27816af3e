/** Entries of the tunnel's forwarding table: which outer address an inner Ethernet address is behind. */
import { isNotFound } from "@weft/base";
import { type ForwardingEntry, LINK_PREFIX } from "@weft/kernel/port";
import { differences, type KindContext, type KindOps } from "../kind.ts";

export function forwardingOps({ kernel }: KindContext<"forwarding">): KindOps<"forwarding", ForwardingEntry> {
  const ns = kernel.self;
  return {
    update(row, previous) {
      // An entry is per destination: the old one would go on beside the new one.
      if (previous !== undefined && previous.remote !== row.remote) {
        ns.deleteForwarding(row.link, row.mac, previous.remote);
      }
      for (const entry of entriesOf(row.link)) {
        if (entry.mac === row.mac && entry.remote !== undefined && entry.remote !== row.remote) {
          ns.deleteForwarding(row.link, row.mac, entry.remote);
        }
      }
      ns.replaceForwarding(row.link, row.mac, row.remote);
    },
    delete: (row) => ns.deleteForwarding(row.link, row.mac, row.remote),
    actual: {
      list: () =>
        ns
          .links()
          .filter((l) => l.kind === "vxlan" && l.name.startsWith(`${LINK_PREFIX}-`))
          .flatMap((l) => entriesOf(l.name)),
      keyOf: (e) => `${e.link} ${e.mac}`,
      matches: (row, e) => e.remote === row.remote && e.permanent,
      delete(e) {
        if (e.remote !== undefined) ns.deleteForwarding(e.link, e.mac, e.remote);
      },
    },
    describe: (row, e) =>
      differences([
        ["remote", e.remote, row.remote],
        ["permanent", e.permanent, true],
      ]).join(", "),
  };

  function entriesOf(link: string): ForwardingEntry[] {
    try {
      return ns.forwarding(link).filter((e) => e.remote !== undefined);
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }
}
