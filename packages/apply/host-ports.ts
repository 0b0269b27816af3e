/**
 * The nftables skeleton for host ports: what comes to a port of the node's own addresses goes to a pod of this node
 * instead. Looked up at a connection's first packet; connection tracking does the same with all others, and the reverse with
 * the answers.
 *
 *   table inet weft-hostports
 *     addressed4, addressed6   address . protocol . port : pod . port    what names an address of the node
 *     any4, any6               protocol . port : pod . port              what is for all of them, asked second
 *     hairpins4, hairpins6     pod . pod: each pod that a port leads to
 *     chain prerouting    nat, dstnat - 5 (-105): what comes from elsewhere, pods of this node included
 *     chain output        nat, the same: what the node itself sends
 *     chain published     the lookups
 *     chain postrouting   nat, srcnat + 5 (105): a pod that came to itself sees the address that it called
 *
 * A node without host ports has no such table: it is made with the first one, and stays.
 *
 * The first nat chain at a hook that translates a connection wins, later ones are not asked. Before those of services
 * (dstnat, -100): a pod that holds a port of the node comes before a service's node port, as in Kubernetes' own order.
 * After those of services at srcnat (95, 100), which know more of a connection that is theirs, and before that of masquerading
 * (110). The source stays what it is: the pod sees who asks, because answers come by the node in any case. Only a pod that
 * reaches itself would answer itself directly; it takes the address it called for its caller.
 *
 * 127.0.0.1 and ::1 are addresses of the node as all others, for a process of the node that calls them from an address
 * other than loopback's. From loopback to loopback stays on the node: to let such packets out to a pod, IPv4 wants a sysctl
 * (route_localnet) that opens the node's loopback to that pod, and IPv6 has none.
 */
import { type Skeleton, versionSet } from "./skeleton.ts";

export const HOST_PORTS_TABLE = "weft-hostports";

/** Counts up with every change of HOST_PORTS_RULESET. */
export const HOST_PORTS_VERSION = 1;

export const HOST_PORTS_RULESET = `
table inet ${HOST_PORTS_TABLE}
delete table inet ${HOST_PORTS_TABLE}
table inet ${HOST_PORTS_TABLE} {
  ${versionSet(HOST_PORTS_VERSION)}
  map addressed4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map addressed6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  set hairpins4 { type ipv4_addr . ipv4_addr; }
  set hairpins6 { type ipv6_addr . ipv6_addr; }
  chain prerouting {
    type nat hook prerouting priority -105; policy accept;
    fib daddr type local goto published
  }
  chain output {
    type nat hook output priority -105; policy accept;
    ip saddr 127.0.0.0/8 accept
    ip6 saddr ::1 accept
    fib daddr type local goto published
  }
  chain published {
    dnat ip to ip daddr . meta l4proto . th dport map @addressed4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @addressed6
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @any4
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @any6
  }
  chain postrouting {
    type nat hook postrouting priority srcnat + 5; policy accept;
    ip saddr . ip daddr @hairpins4 snat ip to ct original ip daddr
    ip6 saddr . ip6 daddr @hairpins6 snat ip6 to ct original ip6 daddr
  }
}
`;

export const HOST_PORTS_SKELETON: Skeleton = {
  tables: [{ family: "inet", name: HOST_PORTS_TABLE, rules: 10 }],
  version: HOST_PORTS_VERSION,
  onDemand: true,
  script: HOST_PORTS_RULESET,
};
