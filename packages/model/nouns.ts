/**
 * Model rows: what the network is made of, in our own words. No Kubernetes type and no wire type comes this
 * far; edges convert once. Rows are immutable plain values, so that they cross a worker boundary as they are.
 */
import type { Family, IpAddress, IpWithLength, Mac, Prefix } from "@weft/base";
import type { HostPort } from "./host-port.ts";
import type { AddressRequest } from "./pools.ts";

/** Where a row comes from: the object and the field of it that asked. Every plan row carries one. */
export interface Origin {
  /** Kind of the object, as its users know it: "Node", "Pod", "Settings", "Kernel". */
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  /** Path of the field inside the object: "spec.podCIDRs[0]". */
  readonly field?: string;
}

/** "Pod default/web-1 (spec.x)": how a user sees an origin. */
export function originText(o: Origin): string {
  const name = o.namespace === undefined ? o.name : `${o.namespace}/${o.name}`;
  return o.field === undefined ? `${o.kind} ${name}` : `${o.kind} ${name} ${o.field}`;
}

/** Label of Nodes that says, while a cluster moves to Weft, which network serves their pods. */
export const NETWORK_LABEL = "weft.network/network";
/** "other": not Weft, which has no agent there. "weft": Weft, and no other network's configuration is to come first. */
export type NodeNetwork = "weft" | "other";

/** A machine that runs pods. */
export interface Node {
  readonly name: string;
  /** Absent in a cluster that is not being moved: Weft serves every node. */
  readonly network?: NodeNetwork;
  /** At most one address of each family: where other nodes reach it. */
  readonly addresses: readonly IpAddress[];
  /** Label topology.kubernetes.io/zone. */
  readonly zone?: string;
  /** It is being taken out of the cluster: load balancers should send nothing more to it. */
  readonly leaving?: true;
  readonly origin: Origin;
}

/**
 * A range of addresses whose pods are on that node. The only thing that routes are made of. One address of a block that is
 * lent to another node is a block of that node, more specific than the one that it is of.
 */
export interface Block {
  readonly prefix: Prefix;
  readonly node: string;
  /** The pool that it is of; absent of a node's podCIDRs. */
  readonly pool?: string;
  /** Of pools: the node's end of its tunnels for this family. */
  readonly tunnelAddress?: IpAddress;
  /** The block that this one address is lent from. */
  readonly lentFrom?: Prefix;
  readonly origin: Origin;
}

/** A pod as the cluster wants it; what the lab's runner starts, and what names a workload. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** What a runtime knows it by, where that is not its uid: of a static pod, a digest of its manifest. */
  readonly runtimeUid?: string;
  /** Node it is bound to; undefined until somebody chose one. */
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** What its annotations ask for of address pools; absent when they say nothing of them. */
  readonly asks?: AddressRequest;
  readonly containers: readonly Container[];
  readonly origin: Origin;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  /** command followed by args; empty means the image's own. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** A link of this node that is not ours, with what it is told by the kernel: the underlay as it is. */
export interface UnderlayLink {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  readonly up: boolean;
  readonly addresses: readonly IpWithLength[];
  /** It takes IPv6 routes from router advertisements (accept_ra is not 0). */
  readonly acceptsRouterAdvertisements: boolean;
}

/** What this machine can do; probed once at the agent's start. */
export interface Capabilities {
  /** Kernel release, for messages: "6.1.0-18-amd64". */
  readonly kernel: string;
  readonly vxlan: boolean;
  /** The kernel spoils inner checksums of VXLAN packets in some drivers' offload (Linux before 5.7). */
  readonly brokenVxlanChecksumOffload: boolean;
}

/** An interface of a container that this node's agent made: one CNI attachment. */
export interface Workload {
  /** `containerId/interface`: unique on the node. */
  readonly id: string;
  readonly network: string;
  readonly containerId: string;
  readonly interface: string;
  /** Path of the container's network namespace, as the runtime gave it. */
  readonly namespacePath: string;
  /** Device and inode of that namespace: a path can come to name another one. */
  readonly namespaceIdentity: string;
  readonly podNamespace: string | undefined;
  readonly podName: string | undefined;
  readonly podUid: string | undefined;
  readonly addresses: readonly IpAddress[];
  /** Ports of the node that lead to it, as the runtime asked for them. */
  readonly hostPorts: readonly HostPort[];
  /** Ethernet address of the container's end. */
  readonly mac: Mac;
  /** Name of the node's end. */
  readonly hostLink: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export function workloadOrigin(w: Workload): Origin {
  if (w.podName === undefined) return { kind: "Container", name: w.containerId };
  return {
    kind: "Pod",
    name: w.podName,
    ...(w.podNamespace === undefined ? {} : { namespace: w.podNamespace }),
    ...(w.podUid === undefined ? {} : { uid: w.podUid }),
  };
}

/** A range that a node gives addresses out of; of a pool's, what is in use of it is for the engine of pools to say. */
export type OwnBlock = Pick<Block, "prefix" | "pool" | "lentFrom">;

/** What an agent's pod side needs to know of its own node; compiled from Node, Block, settings and underlay. */
export interface NodeContext {
  readonly node: string;
  /** No other network's configuration may come first for the runtime. */
  readonly exclusive: boolean;
  readonly blocks: readonly OwnBlock[];
  /** Source address of the node's own packets to its pods. */
  readonly sources: Readonly<Partial<Record<Family, IpAddress>>>;
  /** Addresses of own blocks that pods must not get: the tunnel's. */
  readonly reserved: readonly IpAddress[];
  /** MTU of pod interfaces: the minimum over enabled backends and families. */
  readonly podMtu: number;
}
