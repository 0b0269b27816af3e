/** The node's end of a pair: up, right MTU, and the gateway's addresses on it, which are all that it has. */
import { familyOf } from "@weft/base";
import type { Address, Link, NetworkNamespace } from "@weft/kernel/port";
import type { AttachmentRow } from "@weft/model";
import { enableIpv6, stopAddressGeneration } from "../ipv6.ts";
import { differences } from "../kind.ts";
import { gatewayAddress, gatewaysOf } from "./gateway.ts";

const wantedOn = (row: AttachmentRow): string[] => gatewaysOf(row.addresses).map(gatewayAddress);

export const hostSide = {
  /** True if that cost the link its routes or neighbours: the kernel drops them with the address or the state. */
  establish(self: NetworkNamespace, row: AttachmentRow): boolean {
    const name = row.hostLink;
    const before = self.link(name);
    if (before === undefined) return false;
    if (before.mac !== row.hostMac) self.changeLink(name, { mac: row.hostMac });
    if (before.alias !== row.alias) self.changeLink(name, { alias: row.alias });
    // First the MTU: a link that had too small a one for IPv6 gets its IPv6 settings with it.
    if (before.mtu !== row.mtu) self.changeLink(name, { mtu: row.mtu });
    const link = before.mtu === row.mtu ? before : (self.link(name) ?? before);
    stopAddressGeneration(self, link);
    if (!link.up) self.changeLink(name, { up: true });
    for (const gateway of gatewaysOf(row.addresses)) {
      if (familyOf(gateway) === 6) enableIpv6(self, name);
      // With the route of fe80::/64: without it the gateway would not answer a ping.
      self.replaceAddress({ link: name, address: gatewayAddress(gateway), scope: "link" });
    }
    const wanted = wantedOn(row);
    for (const { address } of self.addresses(name))
      if (!wanted.includes(address)) self.deleteAddress(name, address);
    return before.mac !== row.hostMac || !before.up || before.mtu !== row.mtu;
  },

  compare(link: Link, addresses: readonly Address[], row: AttachmentRow): string[] {
    const found = differences([
      ["mac", link.mac, row.hostMac],
      ["mtu", link.mtu, row.mtu],
      ["up", link.up, true],
      ["alias", link.alias, row.alias],
      ["address generation", link.addressGeneration ?? "none", "none"],
    ]);
    for (const gateway of gatewaysOf(row.addresses)) {
      if (!addresses.some((a) => a.address === gatewayAddress(gateway)))
        found.push(`gateway ${gateway} is absent`);
    }
    const wanted = wantedOn(row);
    for (const { address } of addresses)
      if (!wanted.includes(address)) found.push(`${address} is not asked for`);
    return found;
  },
};
