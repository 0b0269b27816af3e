/** The node's end of a pair: up, right MTU, and the gateway's addresses on it. */
import type { Link, NetworkNamespace } from "@weft/kernel/port";
import type { AttachmentRow } from "@weft/model";
import { differences } from "../kind.ts";
import { gatewayAddress, gatewaysOf } from "./gateway.ts";

export const hostSide = {
  establish(self: NetworkNamespace, row: AttachmentRow): void {
    const link = self.link(row.hostLink);
    if (link === undefined) return;
    if (link.mac !== row.hostMac) self.changeLink(row.hostLink, { mac: row.hostMac });
    if (link.mtu !== row.mtu) self.changeLink(row.hostLink, { mtu: row.mtu });
    if (link.addressGeneration !== "none") self.changeLink(row.hostLink, { addressGeneration: "none" });
    if (link.alias !== row.alias) self.changeLink(row.hostLink, { alias: row.alias });
    if (!link.up) self.changeLink(row.hostLink, { up: true });
    for (const gateway of gatewaysOf(row.addresses)) {
      self.replaceAddress({
        link: row.hostLink,
        address: gatewayAddress(gateway),
        scope: "link",
        noPrefixRoute: true,
      });
    }
  },

  compare(link: Link, addresses: readonly { address: string }[], row: AttachmentRow): string[] {
    const found = differences([
      ["mac", link.mac, row.hostMac],
      ["mtu", link.mtu, row.mtu],
      ["up", link.up, true],
    ]);
    for (const gateway of gatewaysOf(row.addresses)) {
      if (!addresses.some((a) => a.address === gatewayAddress(gateway)))
        found.push(`gateway ${gateway} is absent`);
    }
    return found;
  },
};
