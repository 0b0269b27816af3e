import { describe, expect, test } from "bun:test";
import { familyOf, isInvalid, parseIp } from "@weft/base";
import fc from "fast-check";
import { createAnonymous, inNetns, spawnSyncIn } from "../netns/index.ts";
import { EPOLL, Poller } from "./epoll.ts";
import { ERRNO, hasErrno } from "./errno.ts";
import {
  acceptSocket,
  connectSocket,
  decodeSocketAddress,
  domainOf,
  encodeSocketAddress,
  IP,
  IPPROTO,
  IPV6,
  listenSocket,
  MSG_NOSIGNAL,
  receiveFrom,
  receiveStream,
  sendTo,
  takeFault,
} from "./inet.ts";
import { bindSocket, closeFd, openSocket, SOCK, sendBytes, setOption, socketName } from "./socket.ts";

const ip4 = fc.ipV4().map(parseIp);
const ip6 = fc
  .ipV6()
  .filter((t) => !/ffff:/i.test(t))
  .map(parseIp);

describe("socket addresses", () => {
  test("come back as they went", () => {
    fc.assert(
      fc.property(fc.oneof(ip4, ip6), fc.nat(65535), (ip, port) => {
        expect(decodeSocketAddress(encodeSocketAddress({ ip, port }))).toEqual({ ip, port });
      }),
    );
  });

  test("of other families or lengths are refused", () => {
    for (const bytes of [[], [2, 0], [1, 0, 0, 0, 0, 0, 0, 0], [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]) {
      let error: unknown;
      try {
        decodeSocketAddress(Uint8Array.from(bytes));
      } catch (e) {
        error = e;
      }
      expect(isInvalid(error)).toBe(true);
    }
  });
});

/** What comes by the loopback is mostly there when the sender goes on, and on a busy machine a moment later. */
async function soon<T>(look: () => T | undefined): Promise<T | undefined> {
  for (let tries = 0; tries < 10_000; tries++) {
    const found = look();
    if (found !== undefined) return found;
    await Bun.sleep(1);
  }
  return undefined;
}

describe("sockets of another namespace", () => {
  for (const loopback of ["127.0.0.1", "::1"].map(parseIp)) {
    const family = familyOf(loopback);
    const domain = domainOf(family);
    test(`connect, refuse and exchange datagrams on ${loopback}`, async () => {
      const namespace = createAnonymous();
      const open: number[] = [];
      const poller = new Poller();
      try {
        expect(spawnSyncIn(namespace, ["ip", "link", "set", "lo", "up"]).exitCode).toBe(0);
        const socket = (type: number): number => {
          const fd = inNetns(namespace.fd, () => openSocket(domain, type | SOCK.nonblock, 0));
          open.push(fd);
          return fd;
        };
        const listener = socket(SOCK.stream);
        bindSocket(listener, encodeSocketAddress({ ip: loopback, port: 0 }));
        const address = socketName(listener);
        // Bound but not listening: the kernel refuses.
        expect(() => {
          if (!connectSocket(socket(SOCK.stream), address)) throw new Error("under way");
        }).toThrow(/ECONNREFUSED|under way/);
        listenSocket(listener, 16);
        expect(acceptSocket(listener)).toBeUndefined();
        poller.add(listener, EPOLL.in);
        const client = socket(SOCK.stream);
        connectSocket(client, address);
        const ready: number[] = [];
        for (let tries = 0; tries < 10 && ready.length === 0; tries++) {
          await poller.wait(1000);
          poller.poll((fd) => ready.push(fd));
        }
        expect(ready).toEqual([listener]);
        const accepted = acceptSocket(listener);
        open.push(accepted?.fd ?? -1);
        expect(accepted?.peer).toEqual(Uint8Array.from(socketName(client)));
        const received = Buffer.alloc(8);
        expect(receiveStream(client, received)).toBeUndefined();
        sendBytes(accepted?.fd ?? -1, Uint8Array.from([7, 8, 9]), MSG_NOSIGNAL);
        expect(await soon(() => receiveStream(client, received))).toBe(3);
        expect([...received.subarray(0, 3)]).toEqual([7, 8, 9]);

        const a = socket(SOCK.dgram);
        const b = socket(SOCK.dgram);
        bindSocket(a, encodeSocketAddress({ ip: loopback, port: 0 }));
        bindSocket(b, encodeSocketAddress({ ip: loopback, port: 0 }));
        sendTo(b, Uint8Array.from([1, 2, 3]), socketName(a));
        const into = Buffer.alloc(2);
        const got = await soon(() => receiveFrom(a, into));
        expect(got?.length).toBe(3);
        expect(got?.from).toEqual(Uint8Array.from(socketName(b)));
        expect([...into]).toEqual([1, 2]);
        expect(receiveFrom(a, into)).toBeUndefined();
        // What ICMP says of a port that nobody listens on, and who says it.
        const refused = socket(SOCK.dgram);
        setOption(
          refused,
          family === 4 ? IPPROTO.ip : IPPROTO.ipv6,
          family === 4 ? IP.receiveError : IPV6.receiveError,
          1,
        );
        connectSocket(refused, encodeSocketAddress({ ip: loopback, port: 9 }));
        expect(takeFault(refused)).toBeUndefined();
        sendBytes(refused, Uint8Array.from([1]));
        expect(await soon(() => takeFault(refused))).toEqual({
          errno: ERRNO.ECONNREFUSED,
          reporter: loopback,
          info: 0,
        });
        let error: unknown;
        try {
          sendTo(b, Buffer.alloc(70_000), socketName(a));
        } catch (e) {
          error = e;
        }
        expect(hasErrno(error, "EMSGSIZE")).toBe(true);
      } finally {
        for (const fd of open) closeFd(fd);
        poller.close();
        namespace.close();
      }
    });
  }
});
