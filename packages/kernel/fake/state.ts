/**
 * What the in-memory kernel holds. Everything refers to a link by object, so that a rename needs no search.
 * Rules that span several things (what goes when a link goes down) are in the files named after the things.
 */
import type { IpAddress, IpWithLength, Mac } from "@weft/base";
import type { KernelEvent, LinkKind, NftFamily, Route, Rule, Scope, VxlanOptions } from "../port.ts";
import { ERRNO, SysError } from "../sys/errno.ts";

export interface LinkState {
  readonly kind: LinkKind;
  readonly loopback: boolean;
  namespace: NamespaceState;
  index: number;
  name: string;
  mac: Mac | undefined;
  mtu: number;
  /** Set on an existing link. What a bridge was made with does not count: it takes over the least of its ports. */
  mtuIsSet: boolean;
  up: boolean;
  alias: string | undefined;
  transmitChecksumOffload: boolean;
  addressGeneration: "eui64" | "none";
  master: LinkState | undefined;
  peer: LinkState | undefined;
  underlay: LinkState | undefined;
  vxlan: VxlanOptions | undefined;
  /** As the last event said. */
  carrier: boolean;
  forwarding: { readonly mac: Mac; readonly remote: IpAddress }[];
  /** Own values of keys like "ipv4/rp_filter". */
  sysctls: Map<string, string>;
}

export interface AddressState {
  readonly link: LinkState;
  readonly address: IpWithLength;
  readonly scope: Scope;
  readonly noPrefixRoute: boolean;
}

export type RouteState = Omit<Route, "link"> & { readonly link: LinkState | undefined };

export interface NeighbourState {
  readonly link: LinkState;
  readonly ip: IpAddress;
  readonly mac: Mac;
}

export class NamespaceState {
  readonly world: World;
  readonly identity: string;
  readonly links = new Map<string, LinkState>();
  addresses: AddressState[] = [];
  routes: RouteState[] = [];
  neighbours: NeighbourState[] = [];
  rules: Rule[] = [];
  /** Values of keys that belong to no link, and of "all" and "default". */
  readonly sysctls = new Map<string, string>();
  readonly nsids = new Map<NamespaceState, number>();
  /** The local IPv4 table comes with the first IPv4 address, and stays. */
  hasLocalTable = false;
  /** Paths and open handles: at 0 the namespace is gone. */
  holders = 0;
  #lastIndex = 0;
  #lastNsid = -1;

  constructor(world: World, identity: string) {
    this.world = world;
    this.identity = identity;
  }

  link(name: string, what: string): LinkState {
    const link = this.links.get(name);
    if (link === undefined) throw fail("ENODEV", what, `link ${name}`);
    return link;
  }

  takeIndex(wanted?: number): number {
    const used = new Set([...this.links.values()].map((link) => link.index));
    if (wanted !== undefined && !used.has(wanted)) return wanted;
    do this.#lastIndex++;
    while (used.has(this.#lastIndex));
    return this.#lastIndex;
  }

  nsidOf(other: NamespaceState): number {
    const known = this.nsids.get(other);
    if (known !== undefined) return known;
    this.#lastNsid++;
    this.nsids.set(other, this.#lastNsid);
    return this.#lastNsid;
  }

  emit(kind: "link" | "address" | "neighbour" | "route", change: "set" | "gone", link?: LinkState): void {
    this.world.emit(this, { kind, change, link: link?.name, linkIndex: link?.index });
  }
}

type Change = Omit<Exclude<KernelEvent, { kind: "overflow" | "nftables" }>, "nsid">;

interface Watcher {
  readonly listener: (event: KernelEvent) => void;
  readonly allNamespaces: boolean;
  readonly rulesets: boolean;
}

/** All namespaces of one machine, and who watches them from the first. */
export class World {
  readonly paths = new Map<string, NamespaceState>();
  readonly namespaces = new Set<NamespaceState>();
  readonly #watchers = new Set<Watcher>();
  #lastIdentity = 0;

  makeNamespace(): NamespaceState {
    this.#lastIdentity++;
    const namespace = new NamespaceState(this, `fake:${this.#lastIdentity}`);
    this.namespaces.add(namespace);
    return namespace;
  }

  get self(): NamespaceState {
    return this.namespaces.values().next().value as NamespaceState;
  }

  watch(listener: (event: KernelEvent) => void, allNamespaces: boolean, rulesets: boolean): () => void {
    const watcher = { listener, allNamespaces, rulesets };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  emit(namespace: NamespaceState, change: Change): void {
    const own = namespace === this.self;
    const nsid = own ? undefined : this.self.nsids.get(namespace);
    for (const watcher of this.#watchers) {
      if (own || (watcher.allNamespaces && nsid !== undefined)) this.#deliver(watcher, { ...change, nsid });
    }
  }

  /** nftables is watched in the first namespace only. */
  emitTable(namespace: NamespaceState, family: NftFamily, table: string): void {
    if (namespace !== this.self) return;
    for (const watcher of this.#watchers) {
      if (watcher.rulesets) this.#deliver(watcher, { kind: "nftables", family, table });
    }
  }

  /** What a watcher hears when the kernel's queue ran over. */
  overflow(): void {
    for (const watcher of this.#watchers) this.#deliver(watcher, { kind: "overflow" });
  }

  /** Later, as events of a real kernel are: never from within the call that caused them. */
  #deliver(watcher: Watcher, event: KernelEvent): void {
    queueMicrotask(() => {
      if (this.#watchers.has(watcher)) watcher.listener(event);
    });
  }
}

/** The error that the real kernel's errno becomes: fail("EEXIST", "RTM_NEWLINK", "veth weft0"). */
export const fail = (
  errno: keyof typeof ERRNO,
  call: string,
  object: string,
  kernelMessage?: string,
): SysError => new SysError(call, ERRNO[errno] ?? 0, { object, kernelMessage });
