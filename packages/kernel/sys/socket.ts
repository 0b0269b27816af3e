/** Sockets by file descriptor: what Bun's own sockets cannot make or set. Values are in native byte order. */
import { ERRNO, SysError, sysError } from "./errno.ts";
import { koffi } from "./koffi.ts";
import { call, errno, libc } from "./libc.ts";

export const AF = { unspec: 0, unix: 1, inet: 2, bridge: 7, inet6: 10, netlink: 16, packet: 17 } as const;
export const SOCK = { stream: 1, dgram: 2, raw: 3, nonblock: 0o4000, cloexec: 0o2000000 } as const;
export const MSG = { peek: 0x2, trunc: 0x20, dontwait: 0x40, ctrunc: 0x8 } as const;
export const SOL_SOCKET = 1;
export const SOL_NETLINK = 270;
/** Options of level SOL_SOCKET (include/uapi/asm-generic/socket.h). */
export const SO = {
  error: 4,
  sendBuffer: 7,
  receiveBuffer: 8,
  receiveTimeout: 20,
  bindToDevice: 25,
  sendBufferForce: 32,
  receiveBufferForce: 33,
  namespaceCookie: 71,
} as const;

/** A new socket, closed on exec. `type` is one of SOCK, or-ed with SOCK.nonblock if wanted. */
export const openSocket = (domain: number, type: number, protocol: number): number =>
  call("socket", `domain ${domain} protocol ${protocol}`, domain, type | SOCK.cloexec, protocol);

/** Binds to a sockaddr in its C layout. */
export function bindSocket(fd: number, address: Uint8Array): void {
  call("bind", undefined, fd, address, address.length);
}

/** Closes a descriptor that node:fs did not open. Linux closes it even when the call fails. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** Sends all of `bytes` as one message. */
export function sendBytes(fd: number, bytes: Uint8Array, flags = 0): void {
  call("send", undefined, fd, bytes, bytes.length, flags);
}

/** Like sendBytes, on a thread of the pool: for requests that the kernel takes its time over. */
export function sendBytesAsync(fd: number, bytes: Uint8Array, flags = 0): Promise<void> {
  // The array must not move or die while the other thread reads it: a plain ArrayBuffer, held by the closure.
  const held = Buffer.from(new ArrayBuffer(bytes.length));
  held.set(bytes);
  return new Promise((resolve, reject) => {
    libc().send.async(fd, held, held.length, flags, (failure: Error | null, result: number) => {
      const sent = Number(result);
      if (failure !== null) reject(failure);
      else if (sent === held.length) resolve();
      else reject(sysError("send", errno()));
    });
  });
}

/**
 * Receives one message into `into`; the result is its whole length, which is more than `into.length` when it
 * was cut. Undefined when nothing is there (MSG.dontwait, or the receive timeout has passed).
 */
export function receiveBytes(fd: number, into: Uint8Array, flags = 0): number | undefined {
  const { recv } = libc();
  for (;;) {
    const length = Number(recv(fd, into, into.length, flags | MSG.trunc));
    if (length >= 0) return length;
    const number = errno();
    if (number === ERRNO.EAGAIN) return undefined;
    if (number !== ERRNO.EINTR) throw sysError("recv", number);
  }
}

/** Like receiveBytes without flags, on a thread of the pool; `into` must be Buffer.from(new ArrayBuffer(n)) and is held. */
export function receiveBytesAsync(fd: number, into: Buffer): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    libc().recv.async(fd, into, into.length, MSG.trunc, (failure: Error | null, result: number) => {
      const length = Number(result);
      if (failure !== null) reject(failure);
      else if (length >= 0) resolve(length);
      else {
        const number = errno();
        if (number === ERRNO.EAGAIN) resolve(undefined);
        else if (number === ERRNO.EINTR) resolve(receiveBytesAsync(fd, into));
        else reject(sysError("recv", number));
      }
    });
  });
}

/** Sets an option that is an int. */
export function setOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  setOptionBytes(fd, level, option, bytes);
}

export function setOptionBytes(fd: number, level: number, option: number, value: Uint8Array): void {
  call("setsockopt", `level ${level} option ${option}`, fd, level, option, value, value.length);
}

/** Reads an option that is an int: SO.error, SO.receiveBuffer. */
export function getOption(fd: number, level: number, option: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(4);
  call("getsockopt", `level ${level} option ${option}`, fd, level, option, value, length);
  return value.readInt32LE();
}

/**
 * SO_NETNS_COOKIE: a number of the socket's namespace that no other one gets until the machine is started anew;
 * undefined before Linux 5.14. An inode number is given to the next namespace as soon as one is gone.
 */
export function namespaceCookie(fd: number): bigint | undefined {
  const value = Buffer.alloc(8);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(8);
  try {
    call("getsockopt", "SO_NETNS_COOKIE", fd, SOL_SOCKET, SO.namespaceCookie, value, length);
  } catch (error) {
    if (error instanceof SysError && error.code === "unsupported") return undefined;
    throw error;
  }
  return value.readBigUInt64LE();
}

/** Sets the send or receive buffer in bytes, above the system's limit where we may. */
export function setBuffer(fd: number, direction: "send" | "receive", bytes: number): void {
  const [force, ordinary] =
    direction === "send" ? [SO.sendBufferForce, SO.sendBuffer] : [SO.receiveBufferForce, SO.receiveBuffer];
  try {
    setOption(fd, SOL_SOCKET, force, bytes);
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== "permission") throw error;
    setOption(fd, SOL_SOCKET, ordinary, bytes);
  }
}

/** Time after which a blocking receive gives up. */
export function setReceiveTimeout(fd: number, milliseconds: number): void {
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(Math.floor(milliseconds / 1000)), 0);
  timeval.writeBigInt64LE(BigInt((milliseconds % 1000) * 1000), 8);
  setOptionBytes(fd, SOL_SOCKET, SO.receiveTimeout, timeval);
}

/** The name that the kernel gave a bound socket, as a sockaddr of at most 128 bytes. */
export function socketName(fd: number): Uint8Array {
  const address = Buffer.alloc(128);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  call("getsockname", undefined, fd, address, length);
  return address.subarray(0, Math.min(address.length, length.readUInt32LE()));
}

/** Name of the link of that index in the socket's namespace (SIOCGIFNAME); undefined when there is none. */
export function linkNameOf(fd: number, index: number): string | undefined {
  const request = Buffer.alloc(40);
  request.writeInt32LE(index, 16);
  if (Number(libc().ioctl(fd, 0x8910, request)) < 0) {
    const number = errno();
    if (number === ERRNO.ENODEV) return undefined;
    throw sysError("ioctl", number, `link number ${index}`);
  }
  return request.toString("utf8", 0, request.indexOf(0));
}

const ETHTOOL = { getTransmitChecksum: 0x16, setTransmitChecksum: 0x17 } as const;

/** ethtool's "tx": true when the link leaves checksums of what it sends to the device (SIOCETHTOOL). */
export const transmitChecksum = (fd: number, link: string): boolean =>
  ethtool(fd, link, ETHTOOL.getTransmitChecksum, 0) !== 0;

export function setTransmitChecksum(fd: number, link: string, on: boolean): void {
  ethtool(fd, link, ETHTOOL.setTransmitChecksum, on ? 1 : 0);
}

/** struct ifreq points to struct ethtool_value, in one allocation that does not move. */
function ethtool(fd: number, link: string, command: number, value: number): number {
  const request = Buffer.from(new ArrayBuffer(48));
  request.write(link.slice(0, 15), 0, "utf8");
  request.writeBigUInt64LE(koffi().address(request) + 40n, 16);
  request.writeUInt32LE(command, 40);
  request.writeUInt32LE(value, 44);
  call("ioctl", `link ${link}`, fd, 0x8946, request);
  return request.readUInt32LE(44);
}

export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export interface ReceivedMessage {
  /** Valid until the next receive. */
  readonly bytes: Uint8Array;
  /** The message was longer than the buffer. */
  readonly truncated: boolean;
  readonly control: readonly ControlMessage[];
}

const CONTROL_SPACE = 256;

/**
 * Receives messages with their control data. struct msghdr, iovec and the buffers live in one allocation that
 * never moves; the layout is that of 64-bit Linux (recvmsg(2), cmsg(3)).
 */
export class MessageReceiver {
  readonly #header = Buffer.from(new ArrayBuffer(56 + 16));
  readonly #control = Buffer.from(new ArrayBuffer(CONTROL_SPACE));
  readonly #data: Buffer;

  constructor(size: number) {
    this.#data = Buffer.from(new ArrayBuffer(size));
    const base = koffi().address(this.#header);
    const vector = 56;
    this.#header.writeBigUInt64LE(koffi().address(this.#data), vector);
    this.#header.writeBigUInt64LE(BigInt(size), vector + 8);
    this.#header.writeBigUInt64LE(base + BigInt(vector), 16); // msg_iov
    this.#header.writeBigUInt64LE(1n, 24); // msg_iovlen
    this.#header.writeBigUInt64LE(koffi().address(this.#control), 32); // msg_control
  }

  /** Undefined when nothing is there. Throws SysError, "overflow" when the kernel dropped messages. */
  receive(fd: number, flags = 0): ReceivedMessage | undefined {
    const { recvmsg } = libc();
    for (;;) {
      this.#header.writeBigUInt64LE(BigInt(CONTROL_SPACE), 40); // msg_controllen
      this.#header.writeInt32LE(0, 48); // msg_flags
      const length = Number(recvmsg(fd, this.#header, flags));
      if (length >= 0) {
        return {
          bytes: this.#data.subarray(0, length),
          truncated: (this.#header.readInt32LE(48) & MSG.trunc) !== 0,
          control: this.#controlMessages(),
        };
      }
      const number = errno();
      if (number === ERRNO.EAGAIN) return undefined;
      if (number !== ERRNO.EINTR) throw sysError("recvmsg", number);
    }
  }

  #controlMessages(): ControlMessage[] {
    const end = Math.min(CONTROL_SPACE, Number(this.#header.readBigUInt64LE(40)));
    const messages: ControlMessage[] = [];
    for (let at = 0; at + 16 <= end; ) {
      const length = Number(this.#control.readBigUInt64LE(at));
      if (length < 16 || at + length > end) break;
      messages.push({
        level: this.#control.readInt32LE(at + 8),
        type: this.#control.readInt32LE(at + 12),
        data: this.#control.subarray(at + 16, at + length),
      });
      at += (length + 7) & ~7;
    }
    return messages;
  }
}
