/** The addresses of a cluster, by the families it has. */
import { address4, address6 } from "../machines/underlay.ts";

export type Families = "ipv4" | "ipv6" | "dual";

const POD = { ipv4: "10.244.0.0/16", ipv6: "fd00:10:244::/48" } as const;
const SERVICE = { ipv4: "10.96.0.0/16", ipv6: "fd00:10:96::/112" } as const;
/** The first address of a service range is the API server's. */
const API_SERVICE = { ipv4: "10.96.0.1", ipv6: "fd00:10:96::1" } as const;
/** Where kubelet sends pods for names. Only clusters that run a DNS server have such a service. */
const DNS_SERVICE = { ipv4: "10.96.0.10", ipv6: "fd00:10:96::a" } as const;

export interface Ranges {
  /** In order of preference. */
  readonly families: readonly ("ipv4" | "ipv6")[];
  readonly pods: readonly string[];
  readonly services: readonly string[];
  readonly apiServices: readonly string[];
  readonly dnsServices: readonly string[];
}

export function rangesOf(families: Families): Ranges {
  const list = families === "dual" ? (["ipv4", "ipv6"] as const) : ([families] as const);
  return {
    families: list,
    pods: list.map((f) => POD[f]),
    services: list.map((f) => SERVICE[f]),
    apiServices: list.map((f) => API_SERVICE[f]),
    dnsServices: list.map((f) => DNS_SERVICE[f]),
  };
}

/** A machine's addresses of these families. */
export const addressesOf = (r: Ranges, rack: number, number: number): string[] =>
  r.families.map((f) => (f === "ipv4" ? address4 : address6)(rack, number));

/** As the host part of a URL. */
export const urlHost = (address: string): string => (address.includes(":") ? `[${address}]` : address);
