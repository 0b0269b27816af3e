/** The node's own links as rows: every link that is not ours, with its addresses, as the kernel has it now. */
import type { IpWithLength } from "@weft/base";
import { LINK_PREFIX, type NetworkNamespace } from "@weft/kernel/port";
import type { Capabilities, UnderlayLink } from "@weft/model";

export function readUnderlay(self: NetworkNamespace): UnderlayLink[] {
  const addresses = Map.groupBy(
    self.addresses().filter((a) => a.scope === "global"),
    (a) => a.link,
  );
  return self
    .links()
    .filter((l) => !l.loopback && !l.name.startsWith(LINK_PREFIX))
    .map((l) => ({
      name: l.name,
      index: l.index,
      mtu: l.mtu,
      up: l.up,
      addresses: (addresses.get(l.name) ?? []).map((a): IpWithLength => a.address).sort(),
      acceptsRouterAdvertisements: acceptsRa(self, l.name),
    }))
    .filter((l) => l.addresses.length > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function acceptsRa(self: NetworkNamespace, link: string): boolean {
  const value = self.sysctl(`net/ipv6/conf/${link}/accept_ra`);
  return value !== undefined && value !== "0";
}

/** Probes what must be known before anything is compiled. */
export function probeCapabilities(kernelRelease: string, hasVxlan: boolean): Capabilities {
  const [major = 0, minor = 0] = kernelRelease.split(".").map((x) => Number.parseInt(x, 10));
  return {
    kernel: kernelRelease,
    vxlan: hasVxlan,
    // Fixed in Linux 5.7: packets that are encapsulated twice over a NAT rule lost their inner checksum.
    brokenVxlanChecksumOffload: major < 5 || (major === 5 && minor < 7),
  };
}
