/** Servers that tell who they are and whom they see, and clients that ask them, on sockets inside of namespaces. */
import { type Family, familyOf, type IpAddress, parseIp } from "@weft/base";
import { inNetns } from "@weft/kernel/netns";
import {
  acceptSocket,
  bindSocket,
  closeFd,
  connectSocket,
  decodeSocketAddress,
  domainOf,
  encodeSocketAddress,
  errnoName,
  IPPROTO,
  IPV6,
  listenSocket,
  MSG_NOSIGNAL,
  openSocket,
  RESET_ON_CLOSE,
  receiveFrom,
  receiveStream,
  SO_LINGER,
  SOCK,
  SOL_SOCKET,
  SysError,
  sendBytes,
  sendTo,
  setOption,
  setOptionBytes,
  takeFault,
} from "@weft/kernel/sys";
import type { TestNamespace } from "./namespaces.ts";

export type Protocol = "tcp" | "udp";

const ANY: Readonly<Record<Family, IpAddress>> = { 4: parseIp("0.0.0.0"), 6: parseIp("::") };
const buffer = Buffer.from(new ArrayBuffer(256));

function socketIn(ns: TestNamespace, ip: IpAddress, port: number, protocol: Protocol): number {
  return inNetns(ns.self.fd, () => {
    const fd = openSocket(
      domainOf(familyOf(ip)),
      (protocol === "tcp" ? SOCK.stream : SOCK.dgram) | SOCK.nonblock | SOCK.cloexec,
      0,
    );
    if (familyOf(ip) === 6) setOption(fd, IPPROTO.ipv6, IPV6.v6only, 1);
    bindSocket(fd, encodeSocketAddress({ ip, port }));
    return fd;
  });
}

/** Answers to "NAME from ADDRESS" on one port, TCP and UDP, both families. */
export class Server {
  readonly #name: string;
  readonly #tcp: number[] = [];
  readonly #udp: number[] = [];

  constructor(ns: TestNamespace, name: string, port: number) {
    this.#name = name;
    for (const family of [4, 6] as const) {
      const tcp = socketIn(ns, ANY[family], port, "tcp");
      listenSocket(tcp, 16);
      this.#tcp.push(tcp);
      this.#udp.push(socketIn(ns, ANY[family], port, "udp"));
    }
  }

  poll(): void {
    for (const fd of this.#tcp) {
      for (let got = acceptSocket(fd); got !== undefined; got = acceptSocket(fd)) {
        sendBytes(got.fd, this.#text(got.peer), MSG_NOSIGNAL);
        closeFd(got.fd);
      }
    }
    for (const fd of this.#udp) {
      for (let got = receiveFrom(fd, buffer); got !== undefined; got = receiveFrom(fd, buffer))
        sendTo(fd, this.#text(got.from), got.from);
    }
  }

  #text = (peer: Uint8Array): Buffer => Buffer.from(`${this.#name} from ${decodeSocketAddress(peer).ip}`);

  close(): void {
    for (const fd of [...this.#tcp, ...this.#udp]) closeFd(fd);
  }
}

export interface Dial {
  readonly ip: string;
  readonly port: number;
  readonly protocol?: Protocol;
  /** Own address; the kernel's choice by default. */
  readonly from?: string;
  /** Own port; the same. */
  readonly fromPort?: number;
}

/** "a from 10.0.0.1" by one of the servers, the name of an errno, or "timeout". */
export async function ask(ns: TestNamespace, servers: readonly Server[], d: Dial): Promise<string> {
  const ip = parseIp(d.ip);
  const protocol = d.protocol ?? "tcp";
  const fd = socketIn(
    ns,
    d.from === undefined ? ANY[familyOf(ip)] : parseIp(d.from),
    d.fromPort ?? 0,
    protocol,
  );
  try {
    // Nothing of it is left in TIME_WAIT.
    if (protocol === "tcp") setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
    connectSocket(fd, encodeSocketAddress({ ip, port: d.port }));
    if (protocol === "udp") sendBytes(fd, Buffer.alloc(1));
    const end = performance.now() + 2_000;
    for (;;) {
      for (const server of servers) server.poll();
      const fault = takeFault(fd);
      if (fault !== undefined) return errnoName(fault.errno);
      const text = received(fd);
      if (text !== "") return text;
      if (performance.now() > end) return "timeout";
      await Bun.sleep(1);
    }
  } catch (error) {
    if (error instanceof SysError) return error.errnoName;
    throw error;
  } finally {
    closeFd(fd);
  }
}

/** "" when there is nothing yet, or no connection. */
function received(fd: number): string {
  try {
    return buffer.toString("utf8", 0, receiveStream(fd, buffer) ?? 0);
  } catch (error) {
    if (error instanceof SysError && error.errnoName === "ENOTCONN") return "";
    throw error;
  }
}
