/** A network namespace of this machine: one descriptor that names it and one routing socket inside. */
import type { IpAddress, IpWithLength, Mac } from "@weft/base";
import { type NetnsHandle, openNetns, openOwnNetns } from "../netns/handle.ts";
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
import { namespaceCookie, setTransmitChecksum, transmitChecksum } from "../sys/socket.ts";
import { deleteAddress, listAddresses, replaceAddress } from "./address.ts";
import { changeLink, createBridge, createVeth, createVxlan, getLink, listLinks, moveLink } from "./link.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  listForwarding,
  listNeighbours,
  replaceForwarding,
  replaceNeighbour,
} from "./neighbour.ts";
import { nsidOf } from "./nsid.ts";
import { LinkRemover } from "./remove.ts";
import { deleteRoute, listRoutes, replaceRoute } from "./route.ts";
import { deleteRule, listRules, replaceRule } from "./rule.ts";
import { RtnetlinkSocket } from "./socket.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

export class RealNamespace implements NetworkNamespace {
  readonly #handle: NetnsHandle;
  readonly #socket: RtnetlinkSocket;
  readonly #remover: LinkRemover;
  readonly #sysctls: string | undefined;

  /**
   * Takes over the handle. Handles that share a remover delete their links together. `sysctls` is where /proc/sys can
   * be written, when not there.
   */
  constructor(handle: NetnsHandle, remover = new LinkRemover(), sysctls?: string) {
    this.#handle = handle;
    this.#sysctls = sysctls;
    this.#remover = remover;
    try {
      this.#socket = new RtnetlinkSocket(handle.fd);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  get path(): string {
    return this.#handle.path;
  }
  get fd(): number {
    return this.#handle.fd;
  }
  get identity(): string {
    const cookie = namespaceCookie(this.#socket.netlink.fd);
    return cookie === undefined ? this.#handle.identity : `${this.#handle.identity}:${cookie}`;
  }

  links(): Link[] {
    return listLinks(this.#socket);
  }
  link(name: string): Link | undefined {
    return getLink(this.#socket, name);
  }
  createVeth(spec: VethSpec): void {
    createVeth(this.#socket, spec);
  }
  createVxlan(name: string, mac: Mac, mtu: number, options: VxlanOptions): void {
    createVxlan(this.#socket, name, mac, mtu, options);
  }
  createBridge(name: string, mac: Mac, mtu: number): void {
    createBridge(this.#socket, name, mac, mtu);
  }
  changeLink(name: string, change: LinkChange): void {
    changeLink(this.#socket, name, change);
  }
  moveLink(name: string, to: NetworkNamespace, newName?: string): void {
    moveLink(this.#socket, name, to, newName);
  }
  deleteLink(name: string): Promise<void> {
    return this.#remover.remove(this.#handle, name);
  }
  transmitChecksumOffload(link: string): boolean {
    return transmitChecksum(this.#existing(link), link);
  }
  setTransmitChecksumOffload(link: string, on: boolean): void {
    setTransmitChecksum(this.#existing(link), link, on);
  }

  addresses(link?: string): Address[] {
    return listAddresses(this.#socket, link);
  }
  replaceAddress(spec: AddressSpec): void {
    replaceAddress(this.#socket, spec);
  }
  deleteAddress(link: string, address: IpWithLength): void {
    deleteAddress(this.#socket, link, address);
  }

  routes(filter: RouteFilter = {}): Route[] {
    return listRoutes(this.#socket, filter);
  }
  replaceRoute(route: RouteSpec): void {
    replaceRoute(this.#socket, route);
  }
  deleteRoute(route: RouteSpec): void {
    deleteRoute(this.#socket, route);
  }

  rules(): Rule[] {
    return listRules(this.#socket);
  }
  replaceRule(rule: Rule): void {
    replaceRule(this.#socket, rule);
  }
  deleteRule(rule: Rule): void {
    deleteRule(this.#socket, rule);
  }

  neighbours(link?: string): Neighbour[] {
    return listNeighbours(this.#socket, link);
  }
  replaceNeighbour(link: string, ip: IpAddress, mac: Mac): void {
    replaceNeighbour(this.#socket, link, ip, mac);
  }
  deleteNeighbour(link: string, ip: IpAddress): void {
    deleteNeighbour(this.#socket, link, ip);
  }

  forwarding(link: string): ForwardingEntry[] {
    return listForwarding(this.#socket, link);
  }
  replaceForwarding(link: string, mac: Mac, remote: IpAddress): void {
    replaceForwarding(this.#socket, link, mac, remote);
  }
  deleteForwarding(link: string, mac: Mac, remote: IpAddress): void {
    deleteForwarding(this.#socket, link, mac, remote);
  }

  sysctl(key: string): string | undefined {
    return readSysctl(this.#handle.fd, key, this.#sysctls);
  }
  setSysctl(key: string, value: string): void {
    writeSysctl(this.#handle.fd, key, value, this.#sysctls);
  }

  nsidOf(other: NetworkNamespace): number {
    return nsidOf(this.#socket, other);
  }

  close(): void {
    this.#socket.close();
    this.#handle.close();
  }

  /** The socket's descriptor. An ioctl on an absent link would look for a module of that name first. */
  #existing(link: string): number {
    this.#socket.indexOf(link);
    return this.#socket.netlink.fd;
  }
}

/** Opens a namespace by path. "not-found" when the path names none. */
export const openNamespace = (path: string, remover?: LinkRemover, sysctls?: string): RealNamespace =>
  new RealNamespace(openNetns(path), remover, sysctls);

/** Opens the namespace of the calling thread. */
export const openOwnNamespace = (remover?: LinkRemover, sysctls?: string): RealNamespace =>
  new RealNamespace(openOwnNetns(), remover, sysctls);
