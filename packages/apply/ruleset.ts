/**
 * The nftables skeleton: tables, sets and chains that are the same on every node; only set elements change.
 *
 *   table inet weft
 *     chain prerouting   hook prerouting, priority raw (-300): before connection tracking, so that a forged
 *                        packet never makes an entry. Packets from a pod's link go to from_pod, all others pass.
 *     chain from_pod     link . Ethernet source . IP source must be an element of sources4 or sources6; router
 *                        advertisements and neighbour advertisements for addresses not in targets6 are dropped.
 *     counter spoofed    what was dropped here.
 *   table arp weft       the same for the sender address of ARP packets; ARP has no hook in an inet table.
 *
 * A pod's link is any "weft*" that is not "weft-*": the latter are the node's own devices.
 */
import { type Skeleton, versionSet } from "./skeleton.ts";

export const NFT_TABLE = "weft";
export const SOURCES4 = "sources4";
export const SOURCES6 = "sources6";
/** The same elements as sources6, for the target of a neighbour advertisement: nft 1.0.6 has no name for it. */
export const TARGETS6 = "targets6";

/** Counts up with every change of RULESET. */
export const RULESET_VERSION = 1;

export const RULESET = `
table inet weft
delete table inet weft
table inet weft {
  ${versionSet(RULESET_VERSION)}
  set ${SOURCES4} { type ifname . ether_addr . ipv4_addr; }
  set ${SOURCES6} { type ifname . ether_addr . ipv6_addr; }
  set ${TARGETS6} { typeof iifname . ether saddr . @th,64,128; }
  counter spoofed { }
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname "weft-*" accept
    iifname "weft*" jump from_pod
  }
  chain from_pod {
    icmpv6 type nd-router-advert counter name spoofed drop
    icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @${TARGETS6} counter name spoofed drop
    iifname . ether saddr . ip saddr @${SOURCES4} accept
    iifname . ether saddr . ip6 saddr @${SOURCES6} accept
    ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld2-listener-report, mld-listener-report } accept
    counter name spoofed drop
  }
}
table arp weft
delete table arp weft
table arp weft {
  set ${SOURCES4} { type ifname . ether_addr . ipv4_addr; }
  counter spoofed { }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "weft-*" accept
    iifname "weft*" jump from_pod
  }
  chain from_pod {
    iifname . arp saddr ether . arp saddr ip @${SOURCES4} accept
    arp saddr ip 0.0.0.0 accept
    counter name spoofed drop
  }
}
`;

export const SOURCES_SKELETON: Skeleton = {
  tables: [
    { family: "inet", name: NFT_TABLE, rules: 8 },
    { family: "arp", name: NFT_TABLE, rules: 5 },
  ],
  version: RULESET_VERSION,
  script: RULESET,
};
