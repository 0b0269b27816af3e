/**
 * The reference: the CNI project's own bridge and host-local plugins, and static routes between nodes, which stand on
 * one subnet. The suite proves its own machinery with it.
 */
import type { Cluster, Node } from "../cluster.ts";
import type { Network } from "./network.ts";

export function bridgeNetwork(): Network {
  return {
    masquerades: async () => true,
    async install(cluster, node) {
      const { machine } = node;
      await machine.exec(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
      await machine.exec(["nft", "-f", "-"], { input: masquerade(cluster) });
      for (const peer of cluster.nodes) {
        if (peer.name === node.name) continue;
        await addRoutes(node, peer);
        await addRoutes(peer, node);
      }
      await machine.write("/etc/cni/net.d/10-bridge.conflist", conflist(node));
    },
  };
}

async function addRoutes(from: Node, to: Node): Promise<void> {
  for (const [i, range] of to.podCIDRs.entries()) {
    await from.machine.exec(["ip", "route", "replace", range, "via", to.addresses[i] as string]);
  }
}

const conflist = ({ podCIDRs }: Node): object => ({
  cniVersion: "1.0.0",
  name: "reference",
  plugins: [
    {
      type: "bridge",
      bridge: "cni0",
      isGateway: true,
      isDefaultGateway: true,
      hairpinMode: true,
      ipam: { type: "host-local", ranges: podCIDRs.map((subnet) => [{ subnet }]) },
    },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
});

/** What leaves for neither pods nor nodes takes the node's address. The control plane knows no pod routes. */
function masquerade({ ranges }: Cluster): string {
  const words = { ipv4: "ip", ipv6: "ip6" } as const;
  const rules = ranges.families.map((f, i) => {
    const [word, range] = [words[f], ranges.pods[i]];
    return `${word} saddr ${range} ${word} daddr != ${range} masquerade`;
  });
  return `table inet reference {
    chain postrouting { type nat hook postrouting priority srcnat; ${rules.join("; ")}; }
  }`;
}
