/**
 * Whether kube-proxy serves this node already: two proxies would translate one packet twice, or in turns.
 *
 *   mode nftables   table ip or ip6 "kube-proxy"
 *   mode iptables   chain KUBE-SERVICES in table nat of ip or ip6 (as nftables shows what iptables-nft makes)
 *   mode ipvs       link kube-ipvs0
 *
 * Rules that an iptables of the legacy kind has made are not visible here.
 */
import { describeError } from "@weft/base";
import type { Kernel } from "@weft/kernel/port";

/** Where it was found, as words for a user; undefined: nowhere. */
export function findOtherProxy(kernel: Kernel): string | undefined {
  if (kernel.self.link("kube-ipvs0") !== undefined) return "link kube-ipvs0";
  for (const family of ["ip", "ip6"] as const) {
    if (kernel.nftables.tableExists(family, "kube-proxy")) return `nftables table ${family} kube-proxy`;
    const chains = kernel.nftables.contents(family, "nat")?.chains ?? [];
    if (chains.some(({ chain }) => chain === "KUBE-SERVICES"))
      return `iptables chain KUBE-SERVICES (${family} nat)`;
  }
  return undefined;
}

/** Undefined when services are this agent's to serve; else why not, in one sentence. */
export function reasonToBeOff(enabled: "auto" | "on" | "off", kernel: Kernel): string | undefined {
  if (enabled === "on") return undefined;
  if (enabled === "off") return "services.enabled is off";
  try {
    const found = findOtherProxy(kernel);
    return found === undefined
      ? undefined
      : `kube-proxy serves this node (${found}); remove it with its rules (kube-proxy --cleanup), or set services.enabled to on`;
  } catch (error) {
    return `it cannot be told whether kube-proxy serves this node: ${describeError(error)}`;
  }
}
