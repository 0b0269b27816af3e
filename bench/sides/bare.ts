/**
 * The same path as Weft's with nothing but the kernel: veth pairs, routes, and for the overlay one hand-made
 * VXLAN device a node. No filter, no agent, no tracking of connections. As many hops as Weft has.
 */
import {
  hostPrefix,
  type IpAddress,
  macFromSeed,
  type Prefix,
  parseIp,
  parsePrefix,
  withLength,
} from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import type { Session } from "../session/session.ts";

const GATEWAY = parseIp("169.254.1.1");
const EVERYWHERE = parsePrefix("0.0.0.0/0");
const TUNNEL = "bench-vxlan";

/** Routing, and no check of sources, as Weft's own nodes have it for pods. */
export function makeRouter(node: RealNamespace): void {
  node.setSysctl("net/ipv4/ip_forward", "1");
  for (const which of ["all", "default"]) node.setSysctl(`net/ipv4/conf/${which}/rp_filter`, "0");
}

/** A pod with a /32 behind a veth pair of its own. */
export function attachBare(
  session: Session,
  node: RealNamespace,
  pod: NetnsHandle,
  ip: IpAddress,
  mtu: number,
): void {
  const inside = session.kernel.open(pod.path);
  try {
    const name = `pod${ip.split(".").at(-1)}`;
    const hostMac = macFromSeed(`${node.identity} ${name}`);
    const peer = { name: "eth0", mac: macFromSeed(`${inside.identity} eth0`), mtu, namespace: inside };
    node.createVeth({ name, mac: hostMac, mtu, peer });
    inside.changeLink("lo", { up: true });
    inside.changeLink("eth0", { up: true });
    node.changeLink(name, { up: true });
    inside.replaceAddress({ link: "eth0", address: withLength(ip, 32) });
    inside.replaceNeighbour("eth0", GATEWAY, hostMac);
    inside.replaceRoute({ destination: hostPrefix(GATEWAY), link: "eth0", scope: "link", protocol: 4 });
    inside.replaceRoute({ destination: EVERYWHERE, link: "eth0", gateway: GATEWAY, protocol: 4 });
    node.replaceNeighbour(name, ip, peer.mac);
    node.replaceRoute({ destination: hostPrefix(ip), link: name, scope: "link", protocol: 4 });
  } finally {
    inside.close();
  }
}

export interface BarePeer {
  readonly node: RealNamespace;
  readonly address: IpAddress;
  readonly pods: Prefix;
}

/** Routes to each other's pods by the underlay's address. */
export function routeDirect(a: BarePeer, b: BarePeer): void {
  for (const [self, other] of bothWays(a, b)) {
    self.node.replaceRoute({ destination: other.pods, link: "eth0", gateway: other.address, protocol: 4 });
  }
}

/** Routes to each other's pods by a VXLAN device without learning: neighbour and forwarding entry are given. */
export function routeVxlan(a: BarePeer, b: BarePeer, mtu: number): void {
  const macOf = (peer: BarePeer) => macFromSeed(`${peer.node.identity} ${TUNNEL}`);
  for (const [self] of bothWays(a, b)) {
    self.node.createVxlan(TUNNEL, macOf(self), mtu, {
      vni: 4096,
      port: 4789,
      local: self.address,
      underlay: "eth0",
      learning: false,
      udpChecksum: false,
    });
    self.node.changeLink(TUNNEL, { up: true });
  }
  for (const [self, other] of bothWays(a, b)) {
    const gateway = other.pods.slice(0, other.pods.indexOf("/")) as IpAddress;
    self.node.replaceForwarding(TUNNEL, macOf(other), other.address);
    self.node.replaceNeighbour(TUNNEL, gateway, macOf(other));
    self.node.replaceRoute({ destination: other.pods, link: TUNNEL, gateway, onlink: true, protocol: 4 });
  }
}

const bothWays = <T>(a: T, b: T): readonly (readonly [T, T])[] => [
  [a, b],
  [b, a],
];
