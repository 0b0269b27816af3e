import type { Family, IpAddress } from "@weft/base";
import {
  bindSocket,
  domainOf,
  encodeSocketAddress,
  IPPROTO,
  IPV6,
  openSocket,
  SOCK,
  SOL_SOCKET,
  setOption,
} from "../../sys/index.ts";
import type { NetnsHandle } from "../handle.ts";
import { inNetns } from "../switch.ts";

const SO_REUSEADDR = 2;

const ANY: Readonly<Record<Family, IpAddress>> = { 4: "0.0.0.0" as IpAddress, 6: "::" as IpAddress };

export interface SocketIn {
  readonly family: Family;
  readonly protocol: "tcp" | "udp";
  /** Own address; any by default, and the kernel's choice when it connects. */
  readonly ip?: IpAddress | undefined;
  /** Own port; the kernel's choice by default. */
  readonly port?: number | undefined;
}

/** A nonblocking socket of one family alone in a namespace. Throws SysError when it cannot have what it asks for. */
export function socketIn(namespace: NetnsHandle, { family, protocol, ip, port }: SocketIn): number {
  return inNetns(namespace.fd, () => {
    const type = (protocol === "tcp" ? SOCK.stream : SOCK.dgram) | SOCK.nonblock | SOCK.cloexec;
    const fd = openSocket(domainOf(family), type, 0);
    if (family === 6) setOption(fd, IPPROTO.ipv6, IPV6.v6only, 1);
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (ip !== undefined || port !== undefined)
      bindSocket(fd, encodeSocketAddress({ ip: ip ?? ANY[family], port: port ?? 0 }));
    return fd;
  });
}
