/** Servers that tell who they are and whom they see, and clients that ask them, on sockets inside of namespaces. */
import { type Family, familyOf, type IpAddress, parseIp } from "@weft/base";
import {
  acceptSocket,
  closeFd,
  connectSocket,
  decodeSocketAddress,
  domainOf,
  encodeSocketAddress,
  errnoName,
  IPPROTO,
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
  setOptionBytes,
  socketName,
  takeFault,
} from "../../sys/index.ts";
import type { NetnsHandle } from "../handle.ts";
import { inNetns } from "../switch.ts";
import { socketIn } from "./socket.ts";

const buffer = Buffer.from(new ArrayBuffer(256));

/** After so long a datagram is sent again: it, its answer or what refused it may be lost, or beyond a limit of ICMP. */
const AGAIN_MS = 1000;

export interface Dial {
  readonly ip: string;
  readonly port: number;
  /** TCP by default. */
  readonly protocol?: "tcp" | "udp";
  /** Own address and port; the kernel's choice by default. */
  readonly from?: string;
  readonly fromPort?: number;
  /** Bytes of a datagram. */
  readonly size?: number;
  readonly timeoutMs?: number;
}

/** "a from 10.0.0.1", the name of an errno, or "timeout". */
export type Outcome = string;

/** Answers to "NAME from ADDRESS" on one port, TCP and UDP, both families, whenever it is polled. */
export class Server {
  readonly #name: string;
  readonly #tcp: number[] = [];
  readonly #udp: number[] = [];
  readonly #open = new Map<number, Uint8Array>();

  constructor(namespace: NetnsHandle, name: string, port: number) {
    this.#name = name;
    for (const family of [4, 6] as const) {
      const tcp = socketIn(namespace, { family, protocol: "tcp", port });
      listenSocket(tcp, 1000);
      this.#tcp.push(tcp);
      this.#udp.push(socketIn(namespace, { family, protocol: "udp", port }));
    }
  }

  /** Answers each new connection, and everything that comes. */
  poll(): void {
    for (const fd of this.#tcp) {
      for (let got = acceptSocket(fd); got !== undefined; got = acceptSocket(fd)) {
        this.#open.set(got.fd, got.peer);
        this.#answer(got.fd, got.peer);
      }
    }
    for (const [fd, peer] of this.#open) if (this.#hears(fd)) this.#answer(fd, peer);
    for (const fd of this.#udp) {
      for (let got = receiveFrom(fd, buffer); got !== undefined; got = receiveFrom(fd, buffer))
        sendTo(fd, this.#text(got.from), got.from);
    }
  }

  #text = (peer: Uint8Array): Buffer => Buffer.from(`${this.#name} from ${decodeSocketAddress(peer).ip}`);

  #answer(fd: number, peer: Uint8Array): void {
    try {
      sendBytes(fd, this.#text(peer), MSG_NOSIGNAL);
    } catch {
      // The client has gone: the next look at it says so.
    }
  }

  #hears(fd: number): boolean {
    try {
      const length = receiveStream(fd, buffer);
      if (length !== 0) return length !== undefined;
    } catch {
      // Reset.
    }
    closeFd(fd);
    this.#open.delete(fd);
    return false;
  }

  close(): void {
    for (const fd of [...this.#tcp, ...this.#udp, ...this.#open.keys()]) closeFd(fd);
  }
}

/** A TCP connection that stays open: its socket, and the port it is from. */
export async function hold(
  namespace: NetnsHandle,
  servers: readonly Server[],
  to: Pick<Dial, "ip" | "port">,
): Promise<{ fd: number; port: number }> {
  const ip = parseIp(to.ip);
  const fd = socketIn(namespace, { family: familyOf(ip), protocol: "tcp" });
  connectSocket(fd, encodeSocketAddress({ ip, port: to.port }));
  await hear(fd, servers);
  return { fd, port: decodeSocketAddress(socketName(fd)).port };
}

/** Hears every TCP segment that comes to a place, as a raw socket does; `from` gives the senders since the last call. */
export function overhear(namespace: NetnsHandle, family: Family): { from(): IpAddress[]; close(): void } {
  const fd = inNetns(namespace.fd, () => openSocket(domainOf(family), SOCK.raw | SOCK.nonblock, IPPROTO.tcp));
  return {
    from() {
      const senders: IpAddress[] = [];
      for (let got = receiveFrom(fd, buffer); got !== undefined; got = receiveFrom(fd, buffer))
        senders.push(decodeSocketAddress(got.from).ip);
      return senders;
    },
    close: () => closeFd(fd),
  };
}

/** The next answer on a connection that is held. */
export async function hear(fd: number, servers: readonly Server[]): Promise<string> {
  for (let tries = 0; tries < 12_000; tries++) {
    for (const server of servers) server.poll();
    const length = receiveStream(fd, buffer) ?? 0;
    if (length > 0) return buffer.toString("utf8", 0, length);
    await Bun.sleep(1);
  }
  throw new Error("no answer");
}

/**
 * Sends a byte on a connection that is held and waits until it is broken: the name of the errno, or "whole" after 12 s.
 * An acknowledgement that was late may have broken it before.
 */
export async function breaks(fd: number): Promise<Outcome> {
  try {
    sendBytes(fd, Buffer.alloc(1), MSG_NOSIGNAL);
  } catch (error) {
    if (error instanceof SysError) return error.errnoName;
    throw error;
  }
  const end = performance.now() + 12_000;
  while (performance.now() < end) {
    const fault = takeFault(fd);
    if (fault !== undefined) return errnoName(fault.errno);
    await Bun.sleep(1);
  }
  return "whole";
}

/** Connects from `namespace`, and waits for the answer of whichever server got it. */
export async function dial(namespace: NetnsHandle, servers: readonly Server[], d: Dial): Promise<Outcome> {
  const { port, protocol = "tcp", from, fromPort, timeoutMs = 20_000 } = d;
  const ip = parseIp(d.ip);
  const own = { ip: from === undefined ? undefined : parseIp(from), port: fromPort };
  const fd = socketIn(namespace, { family: familyOf(ip), protocol, ...own });
  try {
    // Nothing of it is left in TIME_WAIT. A listener hands the option on, and would cut off its own answers.
    if (protocol === "tcp") setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
    connectSocket(fd, encodeSocketAddress({ ip, port }));
    const begin = performance.now();
    for (let sent = 0; ; ) {
      if (protocol === "udp" && performance.now() - begin >= sent * AGAIN_MS) {
        sendBytes(fd, Buffer.alloc(d.size ?? 1));
        sent++;
      }
      for (const server of servers) server.poll();
      const fault = takeFault(fd);
      if (fault !== undefined) return errnoName(fault.errno);
      try {
        const length = receiveStream(fd, buffer);
        if (length !== undefined && length > 0) return buffer.toString("utf8", 0, length);
      } catch (error) {
        if (!(error instanceof SysError) || error.errnoName !== "ENOTCONN") throw error;
      }
      if (performance.now() - begin > timeoutMs) return "timeout";
      await Bun.sleep(1);
    }
  } catch (error) {
    if (error instanceof SysError) return error.errnoName;
    throw error;
  } finally {
    closeFd(fd);
  }
}
