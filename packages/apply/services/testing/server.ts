/** Servers that tell who they are and whom they see, and clients that ask them, on sockets inside of namespaces. */
import { type Family, familyOf, type IpAddress } from "@weft/base";
import { inNetns, type NetnsHandle } from "@weft/kernel/netns";
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
  socketName,
  takeFault,
} from "@weft/kernel/sys";
import { SERVER_PORT } from "./network.ts";

const SO_REUSEADDR = 2;

const ANY: Readonly<Record<Family, IpAddress>> = { 4: "0.0.0.0" as IpAddress, 6: "::" as IpAddress };
const buffer = Buffer.from(new ArrayBuffer(256));

export interface Dial {
  readonly ip: IpAddress;
  readonly port: number;
  readonly protocol?: "tcp" | "udp";
  readonly sourcePort?: number;
  /** Bytes of a datagram. */
  readonly size?: number;
  readonly timeoutMs?: number;
}

/** "a from 10.0.0.1", the name of an errno, or "timeout". */
export type Outcome = string;

export class Server {
  readonly #name: string;
  readonly #tcp: number[] = [];
  readonly #udp: number[] = [];
  readonly #open = new Map<number, Uint8Array>();

  constructor(name: string, namespace: NetnsHandle) {
    this.#name = name;
    for (const family of [4, 6] as const) {
      const tcp = socketIn(namespace, family, "tcp", { ip: ANY[family], port: SERVER_PORT });
      listenSocket(tcp, 1000);
      this.#tcp.push(tcp);
      this.#udp.push(socketIn(namespace, family, "udp", { ip: ANY[family], port: SERVER_PORT }));
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

function socketIn(
  namespace: NetnsHandle,
  family: Family,
  protocol: "tcp" | "udp",
  bind: { ip: IpAddress; port: number } | undefined,
): number {
  return inNetns(namespace.fd, () => {
    const type = (protocol === "tcp" ? SOCK.stream : SOCK.dgram) | SOCK.nonblock;
    const fd = openSocket(domainOf(family), type, 0);
    if (family === 6) setOption(fd, IPPROTO.ipv6, IPV6.v6only, 1);
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind !== undefined) bindSocket(fd, encodeSocketAddress(bind));
    return fd;
  });
}

/** A TCP connection that stays open: its socket, and the port it is from. */
export async function hold(
  namespace: NetnsHandle,
  servers: readonly Server[],
  to: Pick<Dial, "ip" | "port">,
): Promise<{ fd: number; port: number }> {
  const fd = socketIn(namespace, familyOf(to.ip), "tcp", undefined);
  connectSocket(fd, encodeSocketAddress(to));
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
  for (let tries = 0; tries < 400; tries++) {
    for (const server of servers) server.poll();
    const length = receiveStream(fd, buffer) ?? 0;
    if (length > 0) return buffer.toString("utf8", 0, length);
    await Bun.sleep(1);
  }
  throw new Error("no answer");
}

/** Connects from `namespace`, and waits for the answer of whichever server got it. */
export async function dial(namespace: NetnsHandle, servers: readonly Server[], d: Dial): Promise<Outcome> {
  const { ip, port, protocol = "tcp", sourcePort, timeoutMs = 3000 } = d;
  const family = familyOf(ip);
  const bind = sourcePort === undefined ? undefined : { ip: ANY[family], port: sourcePort };
  const fd = socketIn(namespace, family, protocol, bind);
  try {
    // Nothing of it is left in TIME_WAIT. A listener hands the option on, and would cut off its own answers.
    if (protocol === "tcp") setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
    connectSocket(fd, encodeSocketAddress({ ip, port }));
    if (protocol === "udp") sendBytes(fd, Buffer.alloc(d.size ?? 1));
    const end = performance.now() + timeoutMs;
    for (;;) {
      for (const server of servers) server.poll();
      const fault = takeFault(fd);
      if (fault !== undefined) return errnoName(fault.errno);
      try {
        const length = receiveStream(fd, buffer);
        if (length !== undefined && length > 0) return buffer.toString("utf8", 0, length);
      } catch (error) {
        if (!(error instanceof SysError) || error.errnoName !== "ENOTCONN") throw error;
      }
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
