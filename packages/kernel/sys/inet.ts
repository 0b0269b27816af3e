/**
 * TCP and UDP sockets by file descriptor, for sockets that must be made in another network namespace. All calls
 * expect nonblocking sockets. Socket addresses are passed in their C layout (ip(7), ipv6(7)), so that one that is
 * used often is encoded once.
 */
import { type Family, familyOf, type IpAddress, ipBytes, ipFromBytes, WeftError } from "@weft/base";
import { ERRNO, sysError } from "./errno.ts";
import { koffi, type NativeFunction } from "./koffi.ts";
import { errno } from "./libc.ts";
import { AF, getOption, MessageReceiver, MSG, SO, SOCK, SOL_SOCKET } from "./socket.ts";

export const IPPROTO = { ip: 0, tcp: 6, udp: 17, ipv6: 41 } as const;
/** Options of level IPPROTO.ip. */
export const IP = { mtuDiscover: 10, receiveError: 11, mtu: 14 } as const;
/** Options of level IPPROTO.ipv6. */
export const IPV6 = { mtuDiscover: 23, mtu: 24, receiveError: 25, v6only: 26, dontFragment: 62 } as const;
/** Options of level IPPROTO.tcp. */
export const TCP = { userTimeout: 18 } as const;
/** Value of mtuDiscover: never fragment, and look at the link's MTU only, not at what was learnt of the path. */
export const PMTUDISC_PROBE = 3;
/** Flag of send: an error instead of SIGPIPE when the peer has closed. */
export const MSG_NOSIGNAL = 0x4000;
/** Level SOL_SOCKET: struct linger. */
export const SO_LINGER = 13;
/** Closing such a socket resets the connection at once: nothing is left behind in TIME_WAIT. */
export const RESET_ON_CLOSE: Uint8Array = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]);

const PROTOTYPES = {
  listen: "int listen(int fd, int backlog)",
  accept4: "int accept4(int fd, void *address, void *length, int flags)",
  connect: "int connect(int fd, const void *address, uint32_t length)",
  sendto:
    "long sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t addressLength)",
  recvfrom:
    "long recvfrom(int fd, void *bytes, size_t length, int flags, void *address, void *addressLength)",
} as const;

let bound: Readonly<Record<keyof typeof PROTOTYPES, NativeFunction>> | undefined;

function inet(): Readonly<Record<keyof typeof PROTOTYPES, NativeFunction>> {
  if (bound === undefined) {
    const library = koffi().load(null);
    bound = {
      listen: library.func(PROTOTYPES.listen),
      accept4: library.func(PROTOTYPES.accept4),
      connect: library.func(PROTOTYPES.connect),
      sendto: library.func(PROTOTYPES.sendto),
      recvfrom: library.func(PROTOTYPES.recvfrom),
    };
  }
  return bound;
}

export const domainOf = (family: Family): number => (family === 4 ? AF.inet : AF.inet6);

export interface SocketAddress {
  readonly ip: IpAddress;
  readonly port: number;
}

/** sockaddr_in or sockaddr_in6 of an address without a zone. */
export function encodeSocketAddress({ ip, port }: SocketAddress): Uint8Array {
  const family = familyOf(ip);
  const bytes = Buffer.alloc(family === 4 ? 16 : 28);
  bytes.writeUInt16LE(domainOf(family), 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipBytes(ip), family === 4 ? 4 : 8);
  return bytes;
}

/** Throws WeftError "invalid" for a sockaddr of another family or one that is cut short. */
export function decodeSocketAddress(bytes: Uint8Array): SocketAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const domain = bytes.length < 8 ? AF.unspec : view.getUint16(0, true);
  if (domain === AF.inet) return { ip: ipFromBytes(bytes.subarray(4, 8)), port: view.getUint16(2) };
  if (domain === AF.inet6 && bytes.length >= 24) {
    return { ip: ipFromBytes(bytes.subarray(8, 24)), port: view.getUint16(2) };
  }
  throw new WeftError(
    "invalid",
    `a socket address of family ${domain} and ${bytes.length} bytes is no IP one`,
  );
}

export function listenSocket(fd: number, backlog: number): void {
  if (Number(inet().listen(fd, backlog)) < 0) throw sysError("listen", errno());
}

// Calls are synchronous and what they return is copied or decoded at once: one buffer serves all.
const peerAddress = Buffer.from(new ArrayBuffer(28));
const peerLength = Buffer.from(new ArrayBuffer(4));

const peer = (): Uint8Array =>
  Uint8Array.from(peerAddress.subarray(0, Math.min(28, peerLength.readUInt32LE())));

/** The next connection as a nonblocking socket, with the peer's sockaddr; undefined when none waits. */
export function acceptSocket(fd: number): { readonly fd: number; readonly peer: Uint8Array } | undefined {
  for (;;) {
    peerLength.writeUInt32LE(peerAddress.length);
    const result = Number(inet().accept4(fd, peerAddress, peerLength, SOCK.nonblock | SOCK.cloexec));
    if (result >= 0) return { fd: result, peer: peer() };
    const number = errno();
    if (number === ERRNO.EAGAIN) return undefined;
    // ECONNABORTED: the peer was gone before its turn; the next one may be there (accept(2)).
    if (number !== ERRNO.EINTR && number !== ERRNO.ECONNABORTED) throw sysError("accept4", number);
  }
}

/** Begins to connect. True: connected (always so for UDP). False: under way, SO.error tells the outcome. */
export function connectSocket(fd: number, address: Uint8Array): boolean {
  if (Number(inet().connect(fd, address, address.length)) >= 0) return true;
  const number = errno();
  if (number === ERRNO.EINPROGRESS || number === ERRNO.EINTR) return false;
  throw sysError("connect", number);
}

/** Sends one datagram to a sockaddr. */
export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): void {
  if (Number(inet().sendto(fd, bytes, bytes.length, 0, address, address.length)) < 0) {
    throw sysError("sendto", errno());
  }
}

/**
 * Receives one datagram: its whole length, which is more than `into.length` when it was cut, and the sender's
 * sockaddr. Undefined when none is there.
 */
export function receiveFrom(
  fd: number,
  into: Uint8Array,
): { readonly length: number; readonly from: Uint8Array } | undefined {
  for (;;) {
    peerLength.writeUInt32LE(peerAddress.length);
    const length = Number(inet().recvfrom(fd, into, into.length, MSG.trunc, peerAddress, peerLength));
    if (length >= 0) return { length, from: peer() };
    const number = errno();
    if (number === ERRNO.EAGAIN) return undefined;
    if (number !== ERRNO.EINTR) throw sysError("recvfrom", number);
  }
}

/** Reads what a connection has, at most `into.length`: 0 at its end, undefined when nothing is there yet. */
export function receiveStream(fd: number, into: Uint8Array): number | undefined {
  for (;;) {
    const length = Number(inet().recvfrom(fd, into, into.length, 0, null, null));
    if (length >= 0) return length;
    const number = errno();
    if (number === ERRNO.EAGAIN) return undefined;
    if (number !== ERRNO.EINTR) throw sysError("recv", number);
  }
}

/** An error that a socket was told of: by ICMP, or by its own kernel. */
export interface SocketFault {
  readonly errno: number;
  /** The router or host whose ICMP message it was. */
  readonly reporter: IpAddress | undefined;
  /** Of EMSGSIZE: the MTU that the reporter allows, in bytes; otherwise 0. */
  readonly info: number;
}

const MSG_ERRQUEUE = 0x2000;
// struct sock_extended_err (include/uapi/linux/errqueue.h), followed by the reporter's sockaddr.
const EXTENDED_ERROR = 16;
const ORIGIN_ICMP = 2;
const ORIGIN_ICMP6 = 3;

let faults: MessageReceiver | undefined;

/**
 * Takes the oldest fault of a socket, undefined when there is none. TCP queues those of a connection under way;
 * UDP does with the option receiveError (ip(7) IP_RECVERR).
 */
export function takeFault(fd: number): SocketFault | undefined {
  faults ??= new MessageReceiver(64);
  const message = faults.receive(fd, MSG_ERRQUEUE | MSG.dontwait);
  for (const { level, type, data } of message?.control ?? []) {
    const extended =
      (level === IPPROTO.ip && type === IP.receiveError) ||
      (level === IPPROTO.ipv6 && type === IPV6.receiveError);
    if (!extended || data.length < EXTENDED_ERROR) continue;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const origin = view.getUint8(4);
    const reported = origin === ORIGIN_ICMP || origin === ORIGIN_ICMP6;
    const reporter = reported ? decodeSocketAddress(data.subarray(EXTENDED_ERROR)).ip : undefined;
    return { errno: view.getUint32(0, true), reporter, info: view.getUint32(8, true) };
  }
  const number = getOption(fd, SOL_SOCKET, SO.error);
  return number === 0 ? undefined : { errno: number, reporter: undefined, info: 0 };
}
