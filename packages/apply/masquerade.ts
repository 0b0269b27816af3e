/**
 * The nftables skeleton for packets of pods that leave the cluster: they get an address of their node, because nobody
 * outside knows a way back to a pod. Every packet that leaves the node passes here, when its route is known and after
 * any translation of its destination: what goes to a service has an endpoint's address by now.
 *
 *   table inet weft-masquerade
 *     sources4, sources6   pods of this node that are translated: ranges, mostly the node's own blocks
 *     inside4, inside6     what pods reach under their own addresses: all pods, all nodes, and what settings exclude
 *     chain postrouting    nat, priority srcnat + 10 (110): after the chains at srcnat, which know more of a packet (a
 *                          service's hairpin, somebody's own rule). The first chain to translate a connection
 *                          wins; the others are not asked, and later packets of it pass none of them.
 *     chain untranslated   filter, priority srcnat + 20 (120): translation has happened by now. A packet that connection
 *                          tracking cannot place passes no nat chain, and would leave with the pod's bare address.
 *     counter leaks        what was dropped there.
 *
 * masquerade takes an address of the link that the packet leaves by, so that a change of the node's addresses needs no
 * change here, and a connection ends with its address. Ports are chosen at random: two packets of one source that come
 * in at once, as resolvers send them for A and AAAA, would otherwise try for the same port, and one would be lost.
 *
 * Multicast is never translated: nobody answers to it. A pod's packet to one of its own node's addresses does not leave the
 * node, and does not pass here.
 */
import { type Skeleton, versionSet } from "./skeleton.ts";

export const MASQUERADE_TABLE = "weft-masquerade";

/** Counts up with every change of MASQUERADE_RULESET. */
export const MASQUERADE_VERSION = 1;

export const MASQUERADE_RULESET = `
table inet ${MASQUERADE_TABLE}
delete table inet ${MASQUERADE_TABLE}
table inet ${MASQUERADE_TABLE} {
  ${versionSet(MASQUERADE_VERSION)}
  set sources4 { type ipv4_addr; flags interval; }
  set sources6 { type ipv6_addr; flags interval; }
  set inside4 { type ipv4_addr; flags interval; }
  set inside6 { type ipv6_addr; flags interval; }
  counter leaks { }
  chain postrouting {
    type nat hook postrouting priority srcnat + 10; policy accept;
    ip daddr 224.0.0.0/4 accept
    ip6 daddr ff00::/8 accept
    ip saddr @sources4 ip daddr != @inside4 masquerade fully-random
    ip6 saddr @sources6 ip6 daddr != @inside6 masquerade fully-random
  }
  chain untranslated {
    type filter hook postrouting priority srcnat + 20; policy accept;
    ct state { established, related, new } accept
    ip daddr 224.0.0.0/4 accept
    ip6 daddr ff00::/8 accept
    ip saddr @sources4 ip daddr != @inside4 counter name leaks drop
    ip6 saddr @sources6 ip6 daddr != @inside6 counter name leaks drop
  }
}
`;

export const MASQUERADE_SKELETON: Skeleton = {
  tables: [{ family: "inet", name: MASQUERADE_TABLE, rules: 9 }],
  version: MASQUERADE_VERSION,
  script: MASQUERADE_RULESET,
};
