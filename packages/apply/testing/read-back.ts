/** What a node's kernel holds because of Weft, in lines that can be compared. */
import { familyOf } from "@weft/base";
import { LINK_PREFIX, type NetworkNamespace, ROUTE_PROTOCOL } from "@weft/kernel/port";
import { HOST_PORTS_TABLE } from "../host-ports.ts";
import { MASQUERADE_TABLE } from "../masquerade.ts";
import { NFT_TABLE } from "../ruleset.ts";
import type { Container, World } from "./worlds.ts";

const ours = (link: string | undefined): boolean => link?.startsWith(LINK_PREFIX) === true;
/** Fields in order of their names, whoever made the object. */
const line = (what: string, value: object): string => `${what} ${JSON.stringify(value, inOrder)}`;
const inOrder = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** Sorted lines. `containers`: those whose inside is ours, and whether IPv6 in there is. */
export function readBack(
  { self, nftables }: World,
  containers: readonly { readonly container: Container; readonly ipv6: boolean }[],
): string[] {
  const lines = [...ofNamespace(self, "node", ours, true)];
  for (const rule of self.rules()) if (rule.protocol === ROUTE_PROTOCOL) lines.push(line("rule", rule));
  for (const link of self.links().filter((l) => ours(l.name) && l.kind === "vxlan")) {
    for (const entry of self.forwarding(link.name)) lines.push(line("forwarding", entry));
    lines.push(line("offload", { [link.name]: self.transmitChecksumOffload(link.name) }));
  }
  for (const [family, set, six] of [
    ["inet", "sources4", 4],
    ["arp", "sources4", 4],
    ["inet", "sources6", 6],
    ["inet", "targets6", 6],
  ] as const) {
    if (!nftables.tableExists(family, NFT_TABLE)) continue;
    for (const { key } of nftables.elements(family, NFT_TABLE, set, ["ifname", "mac", "ip"], six))
      lines.push(`element ${family} ${set} ${key.map((f) => f.value).join(" ")}`);
  }
  for (const [set, six] of [
    ["sources4", 4],
    ["sources6", 6],
    ["inside4", 4],
    ["inside6", 6],
  ] as const) {
    if (!nftables.tableExists("inet", MASQUERADE_TABLE)) continue;
    for (const { first, last } of nftables.ranges("inet", MASQUERADE_TABLE, set, six))
      lines.push(`range ${set} ${first}-${last}`);
  }
  for (const six of [4, 6] as const) {
    if (!nftables.tableExists("inet", HOST_PORTS_TABLE)) continue;
    for (const [name, key, value] of [
      [`addressed${six}`, ["ip", "protocol", "port"], ["ip", "port"]],
      [`any${six}`, ["protocol", "port"], ["ip", "port"]],
      [`hairpins${six}`, ["ip", "ip"], undefined],
    ] as const)
      for (const e of nftables.elements("inet", HOST_PORTS_TABLE, name, key, six, value))
        lines.push(`element ${name} ${[...e.key, ...(e.value ?? [])].map((f) => f.value).join(" ")}`);
  }
  containers.forEach(({ container, ipv6 }, i) => {
    const inside = container.inside;
    lines.push(...ofNamespace(inside, `container ${i}`, (link) => link === "eth0", ipv6));
    if (!ipv6) return;
    for (const key of ["accept_ra", "disable_ipv6"])
      lines.push(`container ${i} ${key} ${inside.sysctl(`net/ipv6/conf/eth0/${key}`)}`);
  });
  return lines.sort();
}

function* ofNamespace(
  ns: NetworkNamespace,
  where: string,
  isOurs: (link: string | undefined) => boolean,
  ipv6: boolean,
): Iterable<string> {
  const seen = (text: string): boolean => ipv6 || familyOf(text) === 4;
  for (const { index: _, peerIndex: __, peerNsid: ___, addressGeneration, ...link } of ns.links())
    if (isOurs(link.name)) yield line(`${where} link`, ipv6 ? { ...link, addressGeneration } : link);
  for (const { permanent: _, ...address } of ns.addresses())
    if (isOurs(address.link) && seen(address.address)) yield line(`${where} address`, address);
  for (const route of ns.routes())
    if (
      seen(route.destination) &&
      (route.protocol === ROUTE_PROTOCOL || (isOurs(route.link) && route.table === 254))
    )
      yield line(`${where} route`, route);
  for (const neighbour of ns.neighbours())
    if (isOurs(neighbour.link) && neighbour.state === "permanent")
      yield line(`${where} neighbour`, neighbour);
}
