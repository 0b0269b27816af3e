/** A handle on a namespace of the in-memory kernel. */
import { type IpAddress, type IpWithLength, type Mac, WeftError } from "@weft/base";
import type {
  Address,
  AddressSpec,
  ForwardingEntry,
  Link,
  LinkChange,
  Neighbour,
  NetworkNamespace,
  Route,
  RouteFilter,
  RouteSpec,
  Rule,
  VethSpec,
  VxlanOptions,
} from "../port.ts";
import { deleteAddress, listAddresses, replaceAddress } from "./address.ts";
import {
  applyIpv6Switch,
  changeLink,
  createBridge,
  createVeth,
  createVxlan,
  deleteLink,
  describeLink,
  destroyNamespace,
  foreignNamespace,
  moveLink,
} from "./link.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  listForwarding,
  listNeighbours,
  replaceForwarding,
  replaceNeighbour,
} from "./neighbour.ts";
import type { Recorder } from "./recorder.ts";
import { deleteRoute, deleteRule, listRoutes, listRules, replaceRoute, replaceRule } from "./route.ts";
import type { NamespaceState } from "./state.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

export class FakeNamespace implements NetworkNamespace {
  readonly fd = -1;
  readonly path: string;
  readonly #state: NamespaceState;
  /** Undefined in the hands of an outsider, who is not counted as a holder and never made to fail. */
  readonly #recorder: Recorder | undefined;
  #open = true;

  constructor(path: string, state: NamespaceState, recorder: Recorder | undefined) {
    this.path = path;
    this.#state = state;
    this.#recorder = recorder;
    if (recorder !== undefined) state.holders++;
  }

  /** The state behind any handle of this kernel, whoever holds it. Throws "invalid" for another kernel's. */
  static stateOf(namespace: NetworkNamespace, of: NamespaceState): NamespaceState {
    if (!(namespace instanceof FakeNamespace) || namespace.#state.world !== of.world) {
      throw foreignNamespace(namespace.path);
    }
    return namespace.#held();
  }

  get identity(): string {
    return this.#state.identity;
  }

  links(): Link[] {
    return this.#read("links", (s) => [...s.links.values()].map(describeLink));
  }
  link(name: string): Link | undefined {
    return this.#read("link", (s) => {
      const link = s.links.get(name);
      return link === undefined ? undefined : describeLink(link);
    });
  }
  createVeth(spec: VethSpec): void {
    this.#write("createVeth", [spec], (s) => {
      const { namespace } = spec.peer;
      createVeth(s, spec, namespace === undefined ? s : FakeNamespace.stateOf(namespace, s));
    });
  }
  createVxlan(name: string, mac: Mac, mtu: number, options: VxlanOptions): void {
    this.#write("createVxlan", [name, mac, mtu, options], (s) =>
      createVxlan(s, { name, kind: "vxlan", mac, mtu }, options),
    );
  }
  createBridge(name: string, mac: Mac, mtu: number): void {
    this.#write("createBridge", [name, mac, mtu], (s) => createBridge(s, { name, kind: "bridge", mac, mtu }));
  }
  changeLink(name: string, change: LinkChange): void {
    this.#write("changeLink", [name, change], (s) => changeLink(s, name, change));
  }
  moveLink(name: string, to: NetworkNamespace, newName?: string): void {
    this.#write("moveLink", [name, to.path, newName], (s) =>
      moveLink(s, name, FakeNamespace.stateOf(to, s), newName),
    );
  }
  async deleteLink(name: string): Promise<void> {
    this.#write("deleteLink", [name], (s) => deleteLink(s, name));
  }

  transmitChecksumOffload(link: string): boolean {
    return this.#read(
      "transmitChecksumOffload",
      (s) => s.link(link, "ETHTOOL_GTXCSUM").transmitChecksumOffload,
    );
  }
  setTransmitChecksumOffload(link: string, on: boolean): void {
    this.#write("setTransmitChecksumOffload", [link, on], (s) => {
      s.link(link, "ETHTOOL_STXCSUM").transmitChecksumOffload = on;
    });
  }

  addresses(link?: string): Address[] {
    return this.#read("addresses", (s) => listAddresses(s, link));
  }
  replaceAddress(spec: AddressSpec): void {
    this.#write("replaceAddress", [spec], (s) => replaceAddress(s, spec));
  }
  deleteAddress(link: string, address: IpWithLength): void {
    this.#write("deleteAddress", [link, address], (s) => deleteAddress(s, link, address));
  }

  routes(filter: RouteFilter = {}): Route[] {
    return this.#read("routes", (s) => listRoutes(s, filter));
  }
  replaceRoute(route: RouteSpec): void {
    this.#write("replaceRoute", [route], (s) => replaceRoute(s, route));
  }
  deleteRoute(route: RouteSpec): void {
    this.#write("deleteRoute", [route], (s) => deleteRoute(s, route));
  }

  rules(): Rule[] {
    return this.#read("rules", listRules);
  }
  replaceRule(rule: Rule): void {
    this.#write("replaceRule", [rule], (s) => replaceRule(s, rule));
  }
  deleteRule(rule: Rule): void {
    this.#write("deleteRule", [rule], (s) => deleteRule(s, rule));
  }

  neighbours(link?: string): Neighbour[] {
    return this.#read("neighbours", (s) => listNeighbours(s, link));
  }
  replaceNeighbour(link: string, ip: IpAddress, mac: Mac): void {
    this.#write("replaceNeighbour", [link, ip, mac], (s) => replaceNeighbour(s, link, ip, mac));
  }
  deleteNeighbour(link: string, ip: IpAddress): void {
    this.#write("deleteNeighbour", [link, ip], (s) => deleteNeighbour(s, link, ip));
  }

  forwarding(link: string): ForwardingEntry[] {
    return this.#read("forwarding", (s) => listForwarding(s, link));
  }
  replaceForwarding(link: string, mac: Mac, remote: IpAddress): void {
    this.#write("replaceForwarding", [link, mac, remote], (s) => replaceForwarding(s, link, mac, remote));
  }
  deleteForwarding(link: string, mac: Mac, remote: IpAddress): void {
    this.#write("deleteForwarding", [link, mac, remote], (s) => deleteForwarding(s, link, mac, remote));
  }

  sysctl(key: string): string | undefined {
    return this.#read("sysctl", (s) => readSysctl(s, key));
  }
  setSysctl(key: string, value: string): void {
    this.#write("setSysctl", [key, value], (s) => {
      const changed = writeSysctl(s, key, value);
      if (key.endsWith("/disable_ipv6")) for (const link of changed) applyIpv6Switch(link);
    });
  }

  nsidOf(other: NetworkNamespace): number {
    return this.#read("nsidOf", (s) => s.nsidOf(FakeNamespace.stateOf(other, s)));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#recorder !== undefined) releaseNamespace(this.#state);
  }

  #held(): NamespaceState {
    if (!this.#open) throw new WeftError("invalid", `the handle of namespace ${this.path} is closed`);
    return this.#state;
  }

  #read<T>(op: string, fn: (state: NamespaceState) => T): T {
    const state = this.#held();
    this.#recorder?.failIfTold(op);
    return fn(state);
  }

  #write(op: string, args: readonly unknown[], fn: (state: NamespaceState) => void): void {
    const state = this.#held();
    this.#recorder?.write({ namespace: this.path, op, args });
    fn(state);
  }
}

/** One holder less; the namespace ends with its last. */
export function releaseNamespace(state: NamespaceState): void {
  state.holders--;
  if (state.holders === 0) destroyNamespace(state);
}
