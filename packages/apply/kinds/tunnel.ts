/** The VXLAN device. What the kernel cannot change on a living device means making it anew. */
import { isUnsupported } from "@weft/base";
import { LINK_PREFIX, type Link, type NetworkNamespace, type VxlanOptions } from "@weft/kernel/port";
import { planKey, type TunnelRow } from "@weft/model";
import { IPV6_LEAST_MTU, stopAddressGeneration } from "../ipv6.ts";
import { differences, type KindContext, type KindOps } from "../kind.ts";

interface TunnelState {
  readonly link: Link;
  readonly offload: boolean | undefined;
}

const optionsOf = (row: TunnelRow): VxlanOptions => ({
  vni: row.vni,
  port: row.port,
  local: row.local,
  underlay: row.underlay,
  learning: false,
  udpChecksum: row.udpChecksum,
});

/** Own devices begin with "weft-"; a pod's link has a digest right behind "weft". */
const isOwn = (link: Link): boolean => link.name.startsWith(`${LINK_PREFIX}-`) && link.kind === "vxlan";

export function tunnelOps({ kernel, disturbed }: KindContext<"tunnel">): KindOps<"tunnel", TunnelState> {
  const ns = kernel.self;
  const state = (link: Link): TunnelState => ({ link, offload: readOffload(ns, link.name) });
  const describe = (row: TunnelRow, { link, offload }: TunnelState): string =>
    [...fixed(row, link), ...changeable(row, link, offload)].join(", ");
  return {
    async update(row, previous) {
      const before = ns.link(row.name);
      const mustGo = before !== undefined && fixed(row, before).length > 0;
      if (mustGo) await ns.deleteLink(row.name);
      if (mustGo || before === undefined) ns.createVxlan(row.name, row.mac, row.mtu, optionsOf(row));
      const link = ns.link(row.name);
      if (link === undefined) return;
      stopAddressGeneration(ns, link);
      if (link.mac !== row.mac) ns.changeLink(row.name, { mac: row.mac });
      if (link.mtu !== row.mtu) ns.changeLink(row.name, { mtu: row.mtu });
      const offload = readOffload(ns, row.name);
      if (offload !== undefined && offload !== row.transmitChecksumOffload) {
        ns.setTransmitChecksumOffload(row.name, row.transmitChecksumOffload);
      }
      if (!link.up) ns.changeLink(row.name, { up: true });
      const lost = mustGo || before?.up === false || (before !== undefined && link.mac !== row.mac);
      if (lost || (before === undefined && previous !== undefined)) await disturbed(row.name);
    },
    delete: (row) => ns.deleteLink(row.name),
    actual: {
      list: () => ns.links().filter(isOwn).map(state),
      keyOf: ({ link }) => link.name,
      matches: (row, actual) => planKey(row) === actual.link.name && describe(row, actual) === "",
      delete: ({ link }) => ns.deleteLink(link.name),
    },
    describe,
  };
}

function fixed(row: TunnelRow, link: Link): string[] {
  const v = link.vxlan;
  if (v === undefined) return ["it is no VXLAN device"];
  return differences([
    ["vni", v.vni, row.vni],
    ["port", v.port, row.port],
    ["local", v.local, row.local],
    ["underlay", v.underlay, row.underlay],
    ["learning", v.learning, false],
    ["UDP checksum", v.udpChecksum, row.udpChecksum],
    // What a device has of IPv6 ends below that MTU, and begins anew above it with defaults that are not ours.
    ["IPv6", link.mtu >= IPV6_LEAST_MTU, link.mtu >= IPV6_LEAST_MTU || row.mtu >= IPV6_LEAST_MTU],
  ]);
}

function changeable(row: TunnelRow, link: Link, offload: boolean | undefined): string[] {
  return differences([
    ["mac", link.mac, row.mac],
    ["mtu", link.mtu, row.mtu],
    ["up", link.up, true],
    ["address generation", link.addressGeneration ?? "none", "none"],
    ["checksum offload", offload ?? row.transmitChecksumOffload, row.transmitChecksumOffload],
  ]);
}

function readOffload(ns: NetworkNamespace, link: string): boolean | undefined {
  try {
    return ns.transmitChecksumOffload(link);
  } catch (error) {
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}
