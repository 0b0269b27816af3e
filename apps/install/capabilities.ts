/**
 * What the containers on a node may do beyond an ordinary process, and why: the only source for manifests and
 * documentation. Everything else is dropped. apps/agent/capabilities.test.ts takes each away from a running agent and
 * sees what fails.
 */
export interface Capability {
  readonly name: string;
  readonly why: string;
}

export const CAPABILITIES = {
  agent: [
    { name: "NET_ADMIN", why: "links, addresses, routes, rules, neighbours, nftables and sysctls below net" },
    { name: "SYS_ADMIN", why: "setns(2): to make interfaces and routes inside of pods' network namespaces" },
    { name: "NET_BROADCAST", why: "to hear of changes inside of pods (NETLINK_LISTEN_ALL_NSID)" },
  ],
  place: [{ name: "DAC_OVERRIDE", why: "some distributions give /opt/cni/bin to another user than root" }],
  cleanup: [
    { name: "NET_ADMIN", why: "to remove links, routes, rules and nftables tables" },
    { name: "SYS_ADMIN", why: "setns(2): nft is started in the namespace that is cleaned" },
    { name: "DAC_OVERRIDE", why: "some distributions give /opt/cni/bin to another user than root" },
  ],
} as const satisfies Readonly<Record<string, readonly Capability[]>>;

/** The securityContext of a container with just these. */
export function securityContext(capabilities: readonly Capability[]): object {
  return {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: {
      drop: ["ALL"],
      ...(capabilities.length === 0 ? {} : { add: capabilities.map((c) => c.name) }),
    },
  };
}
