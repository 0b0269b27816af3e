/**
 * Sysctls that a pod network reads or sets, with the kernel's defaults. Keys under conf/ and neigh/ exist for
 * every link and for "all" and "default"; a link takes over "default" when it is made. Setting forwarding or
 * disable_ipv6 of "all" sets every link's.
 */
import { WeftError } from "@weft/base";
import { fail, type LinkState, type NamespaceState } from "./state.ts";

const GLOBAL: Readonly<Record<string, string>> = {
  "net/ipv4/ip_forward": "0",
  "net/ipv4/ip_forward_use_pmtu": "0",
  "net/ipv4/ip_nonlocal_bind": "0",
  "net/ipv4/ip_local_port_range": "32768\t60999",
  "net/ipv4/ip_unprivileged_port_start": "1024",
  "net/ipv4/ping_group_range": "1\t0",
  "net/ipv4/fib_multipath_hash_policy": "0",
  "net/ipv4/tcp_mtu_probing": "0",
  "net/ipv6/bindv6only": "0",
  "net/ipv6/ip_nonlocal_bind": "0",
  "net/ipv6/fib_multipath_hash_policy": "0",
  "net/core/somaxconn": "4096",
  "net/netfilter/nf_conntrack_max": "262144",
  "net/netfilter/nf_conntrack_count": "0",
  "net/netfilter/nf_conntrack_tcp_be_liberal": "0",
};

const PER_LINK: Readonly<Record<string, string>> = {
  "ipv4/conf/forwarding": "0",
  "ipv4/conf/rp_filter": "0",
  "ipv4/conf/proxy_arp": "0",
  "ipv4/conf/proxy_arp_pvlan": "0",
  "ipv4/conf/arp_ignore": "0",
  "ipv4/conf/arp_announce": "0",
  "ipv4/conf/arp_notify": "0",
  "ipv4/conf/accept_local": "0",
  "ipv4/conf/accept_redirects": "1",
  "ipv4/conf/send_redirects": "1",
  "ipv4/conf/log_martians": "0",
  "ipv4/conf/route_localnet": "0",
  "ipv4/conf/src_valid_mark": "0",
  "ipv4/conf/ignore_routes_with_linkdown": "0",
  "ipv4/neigh/delay_first_probe_time": "5",
  "ipv4/neigh/retrans_time_ms": "1000",
  "ipv6/conf/forwarding": "0",
  "ipv6/conf/disable_ipv6": "0",
  "ipv6/conf/accept_ra": "1",
  "ipv6/conf/accept_dad": "1",
  "ipv6/conf/accept_redirects": "1",
  "ipv6/conf/autoconf": "1",
  "ipv6/conf/dad_transmits": "1",
  "ipv6/conf/proxy_ndp": "0",
  "ipv6/conf/keep_addr_on_down": "0",
  "ipv6/conf/ignore_routes_with_linkdown": "0",
  "ipv6/neigh/delay_first_probe_time": "5",
  "ipv6/neigh/retrans_time_ms": "1000",
};

/** Setting these of "all" sets "default" and every link's. */
const SPREADING = ["ipv4/conf/forwarding", "ipv6/conf/forwarding", "ipv6/conf/disable_ipv6"];

type Place =
  | { readonly of: "namespace"; readonly key: string }
  | { readonly of: "link"; readonly link: LinkState; readonly key: string };

/** Undefined when there is no such key. Throws "invalid" for what is no key of a network namespace. */
function find(namespace: NamespaceState, name: string): Place | undefined {
  if (!/^net(\/[^/\0]+)+$/.test(name) || name.split("/").includes("..")) {
    throw new WeftError("invalid", `"${name.slice(0, 64)}" is not a sysctl of a network namespace`, {
      hint: 'Write it with slashes, like "net/ipv4/ip_forward".',
    });
  }
  // The old name of the same switch.
  const key = name === "net/ipv4/ip_forward" ? "net/ipv4/conf/all/forwarding" : name;
  if (key in GLOBAL) return { of: "namespace", key };
  const [, family, group, holder, leaf, ...rest] = key.split("/");
  const perLink = `${family}/${group}/${leaf}`;
  if (holder === undefined || rest.length > 0 || !(perLink in PER_LINK)) return undefined;
  if (holder === "default" || (holder === "all" && group === "conf")) return { of: "namespace", key };
  const link = namespace.links.get(holder);
  return link === undefined ? undefined : { of: "link", link, key: perLink };
}

export function readSysctl(namespace: NamespaceState, key: string): string | undefined {
  const place = find(namespace, key);
  if (place === undefined) return undefined;
  if (place.of === "link") return linkSysctl(place.link, place.key);
  const [, family, group, , leaf] = place.key.split("/");
  return namespace.sysctls.get(place.key) ?? GLOBAL[place.key] ?? PER_LINK[`${family}/${group}/${leaf}`];
}

/** `key` is "ipv4/conf/rp_filter". */
export const linkSysctl = (link: LinkState, key: string): string =>
  link.sysctls.get(key) ?? PER_LINK[key] ?? "0";

/** Gives a new link the values of "default". */
export function inheritSysctls(link: LinkState): void {
  link.sysctls = new Map();
  for (const key of Object.keys(PER_LINK)) {
    const [family, group, leaf] = key.split("/");
    const value = link.namespace.sysctls.get(`net/${family}/${group}/default/${leaf}`);
    if (value !== undefined) link.sysctls.set(key, value);
  }
}

/** The links whose value changed. Throws "not-found" when there is no such key, "invalid" for what is no number. */
export function writeSysctl(namespace: NamespaceState, key: string, value: string): LinkState[] {
  const place = find(namespace, key);
  if (place === undefined) throw fail("ENOENT", "open", `sysctl ${key}`);
  const text = value.trim().replace(/\s+/g, "\t");
  if (!/^-?\d+(\t-?\d+)*$/.test(text)) throw fail("EINVAL", "write", `sysctl ${key}`);
  if (place.of === "link") {
    place.link.sysctls.set(place.key, text);
    return [place.link];
  }
  namespace.sysctls.set(place.key, text);
  const [, family, group, holder, leaf] = place.key.split("/");
  const perLink = `${family}/${group}/${leaf}`;
  if (holder !== "all" || !SPREADING.includes(perLink)) return [];
  namespace.sysctls.set(`net/${family}/${group}/default/${leaf}`, text);
  for (const link of namespace.links.values()) link.sysctls.set(perLink, text);
  return [...namespace.links.values()];
}
