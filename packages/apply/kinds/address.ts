/** Addresses of own devices: the tunnel's. Those of pods' links belong to their attachment. */
import { familyOf } from "@weft/base";
import { type Address, LINK_PREFIX } from "@weft/kernel/port";
import { planKey } from "@weft/model";
import { enableIpv6 } from "../ipv6.ts";
import type { KindContext, KindOps } from "../kind.ts";

export function addressOps({ kernel }: KindContext<"address">): KindOps<"address", Address> {
  const ns = kernel.self;
  return {
    update(row) {
      if (familyOf(row.address) === 6) enableIpv6(ns, row.link);
      ns.replaceAddress({ link: row.link, address: row.address, noPrefixRoute: true });
    },
    delete: (row) => ns.deleteAddress(row.link, row.address),
    actual: {
      list: () => ns.addresses().filter((a) => a.link.startsWith(`${LINK_PREFIX}-`) && a.scope === "global"),
      keyOf: (a) => `${a.link} ${a.address}`,
      matches: (row, a) => planKey(row) === `${a.link} ${a.address}` && !a.tentative,
      delete: (a) => ns.deleteAddress(a.link, a.address),
    },
    describe: () => "is not usable yet",
  };
}
