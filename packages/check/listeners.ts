/**
 * The check's own servers: for each address of an endpoint one TCP and one UDP socket in its namespace, bound to
 * that address and to a port of the kernel's choice. Each answers with the address that it saw the request come
 * from. Binding alone proves that the address is really there.
 */
import { readFileSync } from "node:fs";
import { familyOf, type IpAddress, ipBytes } from "@weft/base";
import { inNetns, type NetnsHandle } from "@weft/kernel/netns";
import {
  acceptSocket,
  bindSocket,
  closeFd,
  decodeSocketAddress,
  domainOf,
  EPOLL,
  encodeSocketAddress,
  hasErrno,
  IPPROTO,
  IPV6,
  listenSocket,
  MSG_NOSIGNAL,
  openSocket,
  type Poller,
  receiveFrom,
  SOCK,
  sendBytes,
  sendTo,
  setBuffer,
  setOption,
  socketName,
  TCP,
} from "@weft/kernel/sys";
import { setupError } from "./endpoints.ts";
import { decodeRequest, encodeAnswer, REQUEST_BYTES, type Request } from "./message.ts";
import type { SetupError } from "./types.ts";

export interface Listener {
  /** What its answers carry. */
  readonly index: number;
  /** Who listens there: the first endpoint that has this address in this namespace. */
  readonly name: string;
  /** Where it listens, as sockaddr. */
  readonly tcp: Uint8Array;
  readonly udp: Uint8Array;
}

/** Hears which datagrams arrive, and which could not be answered: that a sender alone cannot know. */
export interface ArrivalObserver {
  arrived(request: Request): void;
  unanswered(request: Request, reason: unknown): void;
}

/**
 * Time that duplicate address detection of a new IPv6 address may take: RFC 4862 section 5.4 has up to two seconds, and a
 * kernel that has much else to do begins later.
 */
const TENTATIVE_MS = 6000;
const BACKLOG = 4096;
const RECEIVE_BUFFER = 4 << 20;
/** Milliseconds after which the kernel gives up what a client has not acknowledged, once we have closed it. */
const ORPHAN_MS = 1000;

export class Listeners {
  readonly #token: Uint8Array;
  readonly #poller: Poller;
  readonly #byKey = new Map<string, Listener>();
  readonly #all: Listener[] = [];
  readonly #ready = new Map<number, () => void>();

  constructor(token: Uint8Array, poller: Poller) {
    this.#token = token;
    this.#poller = poller;
  }

  get(index: number): Listener | undefined {
    return this.#all[index];
  }

  /** The listener on the address, made at the first call; undefined, with a named error, when it cannot be. */
  async open(
    namespace: NetnsHandle,
    address: IpAddress,
    name: string,
    observer: ArrivalObserver,
    errors: SetupError[],
  ): Promise<Listener | undefined> {
    const key = `${namespace.identity} ${address}`;
    const patience = performance.now() + TENTATIVE_MS;
    for (;;) {
      const known = this.#byKey.get(key);
      if (known !== undefined) return known;
      try {
        const listener = this.#make(namespace, address, name, observer);
        this.#byKey.set(key, listener);
        this.#all.push(listener);
        return listener;
      } catch (error) {
        const absent = hasErrno(error, "EADDRNOTAVAIL");
        if (absent && isTentative(namespace, address) && performance.now() < patience) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          continue;
        }
        errors.push(
          absent
            ? {
                subject: name,
                message: `${address} is not assigned in its network namespace`,
                hint: `Look at: nsenter --net=${namespace.path} ip address`,
              }
            : setupError(name, `cannot listen on ${address}`, error),
        );
        return undefined;
      }
    }
  }

  /** Serves what waits on that descriptor; false when it is no listener's. */
  serve(fd: number): boolean {
    const serve = this.#ready.get(fd);
    serve?.();
    return serve !== undefined;
  }

  close(): void {
    for (const fd of this.#ready.keys()) closeFd(fd);
    this.#ready.clear();
  }

  #make(namespace: NetnsHandle, ip: IpAddress, name: string, observer: ArrivalObserver): Listener {
    const family = familyOf(ip);
    const made: number[] = [];
    const open = (type: number): number => {
      const fd = inNetns(namespace.fd, () => openSocket(domainOf(family), type | SOCK.nonblock, 0));
      made.push(fd);
      if (family === 6) setOption(fd, IPPROTO.ipv6, IPV6.v6only, 1);
      bindSocket(fd, encodeSocketAddress({ ip, port: 0 }));
      return fd;
    };
    try {
      const tcp = open(SOCK.stream);
      setOption(tcp, IPPROTO.tcp, TCP.userTimeout, ORPHAN_MS);
      listenSocket(tcp, BACKLOG);
      const udp = open(SOCK.dgram);
      setBuffer(udp, "receive", RECEIVE_BUFFER);
      for (const fd of made) this.#poller.add(fd, EPOLL.in);
      const index = this.#all.length;
      this.#ready.set(tcp, () => this.#acceptAll(tcp, index));
      this.#ready.set(udp, () => this.#answerAll(udp, index, observer));
      return {
        index,
        name,
        tcp: Uint8Array.from(socketName(tcp)),
        udp: Uint8Array.from(socketName(udp)),
      };
    } catch (error) {
      for (const fd of made) closeFd(fd);
      throw error;
    }
  }

  #acceptAll(fd: number, listener: number): void {
    for (let next = acceptSocket(fd); next !== undefined; next = acceptSocket(fd)) {
      const seen = decodeSocketAddress(next.peer).ip;
      try {
        sendBytes(next.fd, encodeAnswer(this.#token, { probe: 0, stage: 0, listener, seen }), MSG_NOSIGNAL);
      } catch (error) {
        // The client has given up in between, and knows why.
        if (!hasErrno(error, "EPIPE") && !hasErrno(error, "ECONNRESET")) throw error;
      } finally {
        closeFd(next.fd);
      }
    }
  }

  #answerAll(fd: number, listener: number, observer: ArrivalObserver): void {
    // What follows the request's head is zeros: it need not be copied.
    const head = Buffer.alloc(REQUEST_BYTES);
    for (let next = receiveFrom(fd, head); next !== undefined; next = receiveFrom(fd, head)) {
      const request = decodeRequest(this.#token, head.subarray(0, Math.min(next.length, head.length)));
      if (request === undefined) continue;
      observer.arrived(request);
      const seen = decodeSocketAddress(next.from).ip;
      try {
        sendTo(fd, encodeAnswer(this.#token, { ...request, listener, seen }), next.from);
      } catch (error) {
        observer.unanswered(request, error);
      }
    }
  }
}

/** IFA_F_TENTATIVE (include/uapi/linux/if_addr.h): not to be used before duplicate address detection has passed. */
const TENTATIVE = 0x40;

/** Columns of if_inet6: address in hexadecimal, interface index, prefix length, scope, flags, interface. */
function isTentative(namespace: NetnsHandle, address: IpAddress): boolean {
  if (familyOf(address) === 4) return false;
  const table = inNetns(namespace.fd, () => readFileSync("/proc/thread-self/net/if_inet6", "utf8"));
  const hex = Buffer.from(ipBytes(address)).toString("hex");
  return table.split("\n").some((line) => {
    const columns = line.split(/\s+/);
    return columns[0] === hex && (Number.parseInt(columns[4] ?? "0", 16) & TENTATIVE) !== 0;
  });
}
