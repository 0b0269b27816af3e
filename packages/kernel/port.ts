/**
 * What Weft needs of a kernel: network namespaces and what they hold. Links are named, not numbered, because
 * a name is what a plan can know beforehand. Two implementations pass one suite (conformance.ts): the real one
 * (rtnetlink, index.ts: openKernel) and the in-memory one (fake/).
 *
 * Calls are synchronous system calls of some microseconds; the exception is deleting a link, where the kernel
 * waits for a grace period of about 30 ms. Errors are WeftErrors: "not-found" (no such link, route, namespace),
 * "exists", "invalid", "unsupported" (this kernel lacks the module or option), "permission", "busy".
 * Every replace is idempotent. Every delete of what is absent succeeds.
 */
import type { Family, IpAddress, IpWithLength, Mac, Prefix } from "@weft/base";
import type { NftStep, RawElement } from "./nftables/batch.ts";

export interface VxlanOptions {
  readonly vni: number;
  readonly port: number;
  /** Address that the outer packets are sent from; fixes the family of the underlay. */
  readonly local: IpAddress;
  /** Name of the underlay link: outer packets leave by it and the MTU is checked against it. */
  readonly underlay?: string;
  readonly learning: boolean;
  /** Outer UDP checksum: transmit for IPv4 underlays, transmit and accept-zero for IPv6. */
  readonly udpChecksum: boolean;
}

export type LinkKind = "veth" | "vxlan" | "bridge" | "dummy" | "other";

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly kind: LinkKind;
  /** Absent on links without an Ethernet address (tunnels). */
  readonly mac: Mac | undefined;
  readonly mtu: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  /** Up and with carrier (IFF_LOWER_UP). */
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly master: string | undefined;
  readonly alias: string | undefined;
  /** veth: index of the peer, in the peer's namespace. */
  readonly peerIndex: number | undefined;
  /** veth: this namespace's id of the namespace that the peer is in; undefined when it is this one. */
  readonly peerNsid: number | undefined;
  /** IPv6 link-local address generation: "none" leaves it to us. */
  readonly addressGeneration: "eui64" | "none" | "other" | undefined;
  readonly vxlan: VxlanOptions | undefined;
}

export interface VethSpec {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly alias?: string;
  readonly addressGeneration?: "eui64" | "none";
  /** The other end, created straight in `namespace` (default: this one), so that it never shows here. */
  readonly peer: {
    readonly name: string;
    readonly mac: Mac;
    readonly mtu: number;
    readonly namespace?: NetworkNamespace;
  };
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly alias?: string;
  /** undefined leaves it, null releases it. */
  readonly master?: string | null;
  readonly addressGeneration?: "eui64" | "none";
  readonly rename?: string;
}

export type Scope = "global" | "link" | "host";

export interface Address {
  readonly link: string;
  readonly address: IpWithLength;
  readonly scope: Scope;
  /** Not to be used before duplicate address detection has passed, or found a duplicate. */
  readonly tentative: boolean;
  readonly permanent: boolean;
}

export interface AddressSpec {
  readonly link: string;
  readonly address: IpWithLength;
  readonly scope?: Scope;
  /** Do not let the kernel add the route of the on-link prefix. */
  readonly noPrefixRoute?: boolean;
}

export type RouteType =
  | "unicast"
  | "unreachable"
  | "blackhole"
  | "prohibit"
  | "local"
  | "broadcast"
  | "multicast"
  | "anycast"
  | "other";

export interface Route {
  readonly destination: Prefix;
  readonly type: RouteType;
  /** Default 254, main. */
  readonly table: number;
  /** Who made it (rtm_protocol): 2 kernel, 3 boot, 4 static, ROUTE_PROTOCOL ours, which is what absent stands for. */
  readonly protocol: number;
  readonly scope: Scope;
  readonly link: string | undefined;
  readonly gateway: IpAddress | undefined;
  /** The gateway is on the link even where no route says so. */
  readonly onlink: boolean;
  readonly source: IpAddress | undefined;
  /** Lower wins. 0 for IPv4; the kernel turns 0 into 1024 for IPv6. */
  readonly metric: number;
  readonly mtu: number | undefined;
}

export type RouteSpec = Pick<Route, "destination"> & Partial<Omit<Route, "destination">>;

export interface Neighbour {
  readonly link: string;
  readonly ip: IpAddress;
  /** Absent while unresolved or failed. */
  readonly mac: Mac | undefined;
  readonly state: "permanent" | "reachable" | "stale" | "failed" | "other";
}

export interface ForwardingEntry {
  readonly link: string;
  readonly mac: Mac;
  /** VXLAN: address of the remote tunnel end. */
  readonly remote: IpAddress | undefined;
  readonly permanent: boolean;
}

/** A routing rule: packets from `from` look into `table`. */
export interface Rule {
  readonly from: Prefix;
  readonly table: number;
  readonly priority: number;
  /** FRA_PROTOCOL: who made it; ROUTE_PROTOCOL is ours. */
  readonly protocol: number;
}

export interface RouteFilter {
  readonly family?: Family;
  readonly protocol?: number;
  readonly table?: number;
  readonly link?: string;
}

/** Something changed; read what you need again. "overflow": any number of events were lost. */
export type KernelEvent =
  | {
      readonly kind: "link" | "address" | "neighbour" | "route";
      readonly change: "set" | "gone";
      readonly nsid: number | undefined;
      readonly link: string | undefined;
      readonly linkIndex: number | undefined;
    }
  | {
      /** Something of that table changed, the table itself included; both undefined: of some tables. */
      readonly kind: "nftables";
      readonly family: NftFamily | undefined;
      readonly table: string | undefined;
    }
  | { readonly kind: "overflow" };

export interface NetworkNamespace {
  /** Path it was opened by, or "self". */
  readonly path: string;
  /** Descriptor that names the namespace, for setns and for moving links. -1 in the fake. */
  readonly fd: number;
  /** The same for every name of one namespace, and of no other one since the machine was started (SO_NETNS_COOKIE). */
  readonly identity: string;

  links(): Link[];
  link(name: string): Link | undefined;
  createVeth(spec: VethSpec): void;
  createVxlan(name: string, mac: Mac, mtu: number, options: VxlanOptions): void;
  createBridge(name: string, mac: Mac, mtu: number): void;
  changeLink(name: string, change: LinkChange): void;
  moveLink(name: string, to: NetworkNamespace, newName?: string): void;
  deleteLink(name: string): Promise<void>;
  /** Transmit checksum offload (ethtool -K LINK tx on|off). Throws "unsupported" where the driver has no say. */
  transmitChecksumOffload(link: string): boolean;
  setTransmitChecksumOffload(link: string, on: boolean): void;

  addresses(link?: string): Address[];
  /** Adds without duplicate address detection, so that the address can be used at once. */
  replaceAddress(spec: AddressSpec): void;
  deleteAddress(link: string, address: IpWithLength): void;

  routes(filter?: RouteFilter): Route[];
  /** Replaces the route with the same destination, table and metric. */
  replaceRoute(route: RouteSpec): void;
  deleteRoute(route: RouteSpec): void;

  /** Rules with a source prefix and a table; rules that select by anything else are left out. */
  rules(): Rule[];
  replaceRule(rule: Rule): void;
  deleteRule(rule: Rule): void;

  neighbours(link?: string): Neighbour[];
  /** Permanent entry. */
  replaceNeighbour(link: string, ip: IpAddress, mac: Mac): void;
  deleteNeighbour(link: string, ip: IpAddress): void;

  /** Entries of a VXLAN link's own forwarding table. */
  forwarding(link: string): ForwardingEntry[];
  replaceForwarding(link: string, mac: Mac, remote: IpAddress): void;
  deleteForwarding(link: string, mac: Mac, remote: IpAddress): void;

  /** `key` with slashes: "net/ipv4/ip_forward". Undefined when the kernel has no such key. */
  sysctl(key: string): string | undefined;
  setSysctl(key: string, value: string): void;

  /** Id under which this namespace knows another, assigned if need be; events of links there carry it. */
  nsidOf(other: NetworkNamespace): number;
  /** Closes the handle. The namespace lives on as long as something else holds it. */
  close(): void;
}

export interface WatchOptions {
  /** Also hear of changes in every namespace that this one has an id for. */
  readonly allNamespaces?: boolean;
  /**
   * Hear of changed rulesets; default true. As long as anybody listens to those, the kernel makes a message of each element
   * of a transaction: ten times the work of adding it.
   */
  readonly rulesets?: boolean;
}

/** Rows of a named set or map: each key and value is the concatenation of its fields. */
export interface SetElement {
  readonly key: readonly SetField[];
  readonly value?: readonly SetField[];
}
export type SetField =
  | { readonly type: "ifname"; readonly value: string }
  | { readonly type: "ip"; readonly value: IpAddress }
  | { readonly type: "mac"; readonly value: Mac }
  | { readonly type: "mark"; readonly value: number }
  | { readonly type: "port"; readonly value: number }
  | { readonly type: "protocol"; readonly value: number };

/** Addresses of one family without a gap, both ends included. */
export interface IpRange {
  readonly first: IpAddress;
  readonly last: IpAddress;
}

/** A base chain of any table, with what can drop in it: what `status` names when a foreign table interferes. */
export interface BaseChain {
  readonly family: "inet" | "ip" | "ip6" | "arp" | "bridge" | "netdev";
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly hook: string;
  readonly priority: number;
  readonly policy: "accept" | "drop" | undefined;
}

/** A base chain of a foreign table that can drop what is forwarded: an accept of ours does not overrule it. */
export interface ForeignDrop {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly hook: string;
  readonly priority: number;
  readonly policy: "accept" | "drop" | undefined;
  /** A rule with a drop or reject verdict is in the chain, or in one that it jumps to. */
  readonly hasDropRules: boolean;
}

export type NftFamily = "inet" | "arp" | "ip" | "ip6" | "netdev" | "bridge";

/** What stands in a table, without rules' expressions and sets' elements. */
export interface TableContents {
  readonly comment: string | undefined;
  /** Its base chains see no packets. */
  readonly dormant: boolean;
  /** With how many elements (ranges count as one), where the kernel says so (Linux 6.17 or so). */
  readonly sets: readonly { readonly set: string; readonly size: number | undefined }[];
  /** With the hook of a base chain. */
  readonly chains: readonly { readonly chain: string; readonly base: BaseChain | undefined }[];
  /** In the order of each chain. */
  readonly rules: readonly { readonly chain: string; readonly comment: string | undefined }[];
}

export interface Nftables {
  /** Runs a script in nft's own language as one transaction. */
  run(script: string): Promise<void>;
  tableExists(family: NftFamily, table: string): boolean;
  /**
   * Does these steps in a table, all or none of them. Fails with the step that the kernel refused: "not-found" when
   * something that it names is absent, "exists" when a map has a key with another value.
   */
  commit(family: NftFamily, table: string, steps: readonly NftStep[]): void;
  /** Changes with every transaction of anybody in this namespace; packets that change a set do not count. */
  generation(): number;
  /** Undefined when there is no such table. */
  contents(family: NftFamily, table: string): TableContents | undefined;
  /** All elements of a set of any kind, as bytes; "not-found" when there is no such set. */
  rawElements(family: NftFamily, table: string, set: string): RawElement[];
  /** Rules of all chains of a table; 0 when there is no such table. */
  ruleCount(family: NftFamily, table: string): number;
  baseChains(): BaseChain[];
  /**
   * Base chains at a hook that forwarded packets pass (forward of inet, ip, ip6 and bridge; ingress of inet and
   * netdev) that drop by policy or by a rule, in any table but `ownTable` and those named `ownTable`-something.
   */
  foreignDrops(ownTable: string): ForeignDrop[];
  /**
   * Adds elements in as few transactions as fit; an element that is there already is no error, and one of a map
   * gets the value given. "not-found" when there is no such set.
   */
  addElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void;
  /** Deletes elements; absent ones are no error, nor is an absent set. */
  deleteElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void;
  /** Those of the elements that the set has, by key alone; cost by how many are asked for, not by what the set holds. */
  presentElements(
    family: NftFamily,
    table: string,
    set: string,
    elements: readonly SetElement[],
  ): SetElement[];
  /** All elements of a set, decoded by the field types given. */
  elements(
    family: NftFamily,
    table: string,
    set: string,
    key: readonly SetField["type"][],
    addressFamily: Family,
    value?: readonly SetField["type"][],
  ): SetElement[];
  /** All ranges, in order, of a set of addresses of that family with `flags interval`. "not-found" when there is none. */
  ranges(family: NftFamily, table: string, set: string, addressFamily: Family): IpRange[];
  /**
   * Removes ranges from such a set and adds others, in one transaction. To remove an absent one is no error, nor to add
   * one that is there; "exists" when one that is added overlaps one that stays. "not-found" when there is no set to add to.
   */
  changeRanges(
    family: NftFamily,
    table: string,
    set: string,
    remove: readonly IpRange[],
    add: readonly IpRange[],
  ): void;
}

/** Numbers of /etc/protocols that connection tracking tells ports or identifiers of. */
export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** Bits of `Flow.status` (enum ip_conntrack_status). */
export const FLOW_STATUS = {
  expected: 1,
  /** Packets have been seen both ways. */
  seenReply: 2,
  /** Not dropped early when the table is full. */
  assured: 4,
  confirmed: 8,
  /** The source, or the destination, of the original direction is translated. */
  sourceNat: 0x10,
  destinationNat: 0x20,
  dying: 0x200,
  offload: 0x4000,
} as const;

/** States of TCP (enum tcp_conntrack): what both ends have said so far. */
export const TCP_FLOW_STATE = {
  none: 0,
  synSent: 1,
  synReceived: 2,
  established: 3,
  finWait: 4,
  closeWait: 5,
  lastAck: 6,
  timeWait: 7,
  closed: 8,
  synSentBoth: 9,
} as const;

/** One direction of a flow. Ports are those of protocols that have them; `icmp` is that of ICMP and ICMPv6. */
export interface FlowTuple {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
  readonly icmp: { readonly type: number; readonly code: number; readonly id: number } | undefined;
}

/** An entry of connection tracking: what the first packet looked like, and what is expected in return. */
export interface Flow {
  readonly family: Family;
  readonly protocol: number;
  readonly original: FlowTuple;
  /** Its source is where the packets really go: another than the original destination where that was translated. */
  readonly reply: FlowTuple;
  /** FLOW_STATUS bits. */
  readonly status: number;
  /** Seconds until it is forgotten without a packet. */
  readonly timeout: number;
  /** TCP_FLOW_STATE; undefined for other protocols. */
  readonly tcpState: number | undefined;
  readonly mark: number;
  readonly zone: number;
  /** Another one for each entry, until the kernel uses the memory again. */
  readonly id: number;
  /** Undefined unless net.netfilter.nf_conntrack_acct is on. */
  readonly packets: { readonly original: bigint; readonly reply: bigint } | undefined;
  readonly bytes: { readonly original: bigint; readonly reply: bigint } | undefined;
}

/** What is given of one direction must be equal; ports only together with a protocol. */
export interface TupleFilter {
  readonly source?: IpAddress;
  readonly sourcePort?: number;
  readonly destination?: IpAddress;
  readonly destinationPort?: number;
}

/** Which flows: everything that is given must hold. */
export interface FlowFilter {
  readonly family: Family;
  readonly protocol?: number;
  readonly original?: TupleFilter;
  readonly reply?: TupleFilter;
  /** Whether the destination of the original direction is translated. */
  readonly translated?: boolean;
  /** Whether packets have been seen both ways. */
  readonly replied?: boolean;
  /** Whether it is TCP that both ends have closed, or one has reset, and that is only remembered. */
  readonly ended?: boolean;
  /** Ranges that the original source must be in one of, or in none of. */
  readonly from?: { readonly inside: boolean; readonly prefixes: readonly Prefix[] };
}

/**
 * Connection tracking of one network namespace. Many filters cost no more than a few walks of the kernel's table, which
 * only hands over what may match; all work of any length is done on other threads. Filters are checked first: "invalid".
 */
export interface Conntrack {
  list(filter: FlowFilter): Promise<Flow[]>;
  /** How many flows each filter matches now. */
  count(filters: readonly FlowFilter[]): Promise<number[]>;
  /**
   * Removes what the filters match; the result is how many flows that were, each counted for the first filter that it
   * matches. A filter must name an address or a port: nothing here empties a table. "busy" when the kernel keeps some
   * (offloaded to hardware), after all others have gone.
   */
  flush(filters: readonly FlowFilter[]): Promise<number[]>;
  /** Removes these very flows; the result is how many were still there. */
  remove(flows: readonly Flow[]): Promise<number>;
}

export interface Kernel {
  /** The namespace this process is in. */
  readonly self: NetworkNamespace;
  readonly nftables: Nftables;
  readonly conntrack: Conntrack;
  /** Opens a namespace by path ("/run/netns/x", "/proc/7/ns/net"). "not-found" when the path names none. */
  open(path: string): NetworkNamespace;
  /** Events until the returned function is called. */
  watch(listener: (event: KernelEvent) => void, options?: WatchOptions): () => void;
}

/** rtm_protocol of the routes that are ours: only these are ever changed or pruned. */
export const ROUTE_PROTOCOL = 87;
/** Every link that is ours begins with this. */
export const LINK_PREFIX = "weft";
