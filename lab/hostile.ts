/**
 * What makes a lab hostile: nothing may work in it that would not work on a real network. Pure.
 *
 * A new namespace takes its IPv4 settings from the machine, which may forward and may not check sources; so
 * nodes begin as Debian does on bare metal, and all that Weft needs it has to set itself. The spine knows no
 * pod: packets that show a pod address outside a tunnel are dropped there, and counted.
 */
import type { Prefix } from "@weft/base";
import { CLUSTER_RANGES, type LinkEnd, type Role, type Topology } from "./topology.ts";

export type Sysctls = readonly (readonly [key: string, value: string])[];

/** Of a whole namespace, before it has links. Setting ip_forward resets others, so it comes first. */
export function namespaceSysctls(role: Role): Sysctls {
  switch (role) {
    case "node":
    case "outside":
      return [
        ["net/ipv4/ip_forward", "0"],
        ["net/ipv6/conf/all/forwarding", "0"],
        ["net/ipv4/conf/all/rp_filter", role === "node" ? "1" : "0"],
        ["net/ipv4/conf/default/rp_filter", role === "node" ? "1" : "0"],
      ];
    case "spine":
      return [
        ["net/ipv4/ip_forward", "1"],
        ["net/ipv6/conf/all/forwarding", "1"],
        ["net/ipv4/conf/all/rp_filter", "0"],
        ["net/ipv4/conf/default/rp_filter", "0"],
      ];
    case "rack":
      return [
        // A switch has no addresses, and its own group memberships would only disturb.
        ["net/ipv6/conf/all/disable_ipv6", "1"],
        ["net/ipv6/conf/default/disable_ipv6", "1"],
        // Absent where br_netfilter is not loaded.
        ["net/bridge/bridge-nf-call-iptables", "0"],
        ["net/bridge/bridge-nf-call-ip6tables", "0"],
        ["net/bridge/bridge-nf-call-arptables", "0"],
      ];
  }
}

/** Of one end of a link, before it is up. */
export function linkSysctls(role: Role, end: LinkEnd): Sysctls {
  if (role === "rack") return [];
  const reversePath = [`net/ipv4/conf/${end.name}/rp_filter`, role === "node" ? "1" : "0"] as const;
  const six = `net/ipv6/conf/${end.name}`;
  if (!end.addresses.some((a) => a.includes(":"))) return [reversePath, [`${six}/disable_ipv6`, "1"]];
  return [
    reversePath,
    [`${six}/accept_ra`, "0"],
    // Addresses are planned, so a second of waiting for a duplicate would teach nothing.
    [`${six}/accept_dad`, "0"],
  ];
}

export const SPINE_TABLE = "weft_spine";
const COUNTERS: Readonly<Record<4 | 6, string>> = { 4: "bare_ipv4", 6: "bare_ipv6" };

/** The spine's nftables script: it looks at outer addresses only, before routing. */
export function spineScript(): string {
  const rule = (family: 4 | 6, side: "saddr" | "daddr", range: Prefix): string =>
    `    ${family === 4 ? "ip" : "ip6"} ${side} ${range} counter name ${COUNTERS[family]} drop`;
  return [
    `table inet ${SPINE_TABLE} {`,
    `  counter ${COUNTERS[4]} {}`,
    `  counter ${COUNTERS[6]} {}`,
    "  chain bare {",
    "    type filter hook prerouting priority raw; policy accept;",
    ...([4, 6] as const).flatMap((family) => [
      rule(family, "saddr", CLUSTER_RANGES[family]),
      rule(family, "daddr", CLUSTER_RANGES[family]),
    ]),
    "  }",
    "}",
    "",
  ].join("\n");
}

/** Counts of packets that `nft --json list counters` printed for the spine's table. */
export function parseBareCounters(json: string): { readonly ipv4: number; readonly ipv6: number } {
  const document = JSON.parse(json) as { nftables?: { counter?: { name?: string; packets?: number } }[] };
  const packets = (name: string): number =>
    document.nftables?.find((o) => o.counter?.name === name)?.counter?.packets ?? 0;
  return { ipv4: packets(COUNTERS[4]), ipv6: packets(COUNTERS[6]) };
}

/** Scripts for every node: tables of somebody else's, as a firewall package leaves them. */
export function nodeScripts({ options }: Topology): string[] {
  if (!options.hostile.includes("forward-drop")) return [];
  return [
    [
      "table inet hostile_firewall {",
      "  chain forward {",
      "    type filter hook forward priority 10; policy drop;",
      "  }",
      "}",
      "",
    ].join("\n"),
  ];
}
