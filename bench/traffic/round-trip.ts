/**
 * TCP request and response of one byte each, in a process of its own so that it can run inside of a pod:
 *
 *     bun round-trip.ts serve PORT           answers until it is ended
 *     bun round-trip.ts ask IP PORT SECONDS  prints round trips in a second
 *
 * The client blocks in recv(2), with no event loop in between: what is measured is the path and the wake-ups.
 */
import { writeSync } from "node:fs";
import { parseIp } from "@weft/base";
import {
  AF,
  closeFd,
  connectSocket,
  encodeSocketAddress,
  IPPROTO,
  openSocket,
  receiveStream,
  SOCK,
  sendBytes,
  setOption,
  setReceiveTimeout,
} from "@weft/kernel/sys";

const TCP_NODELAY = 1;
const WARM_UP_MS = 200;

export function serve(port: number): void {
  Bun.listen({
    hostname: "0.0.0.0",
    port,
    socket: {
      open: (socket) => void socket.setNoDelay(true),
      data: (socket, bytes) => void socket.write(bytes),
    },
  });
}

/** Round trips in a second. Blocks. */
export function ask(ip: string, port: number, seconds: number): number {
  const fd = openSocket(AF.inet, SOCK.stream | SOCK.cloexec, 0);
  try {
    setOption(fd, IPPROTO.tcp, TCP_NODELAY, 1);
    setReceiveTimeout(fd, 5000);
    connectSocket(fd, encodeSocketAddress({ ip: parseIp(ip), port }));
    const byte = Buffer.from(new ArrayBuffer(1));
    const turn = (): void => {
      sendBytes(fd, byte);
      if (receiveStream(fd, byte) !== 1) throw new Error(`no answer from ${ip}`);
    };
    for (const end = performance.now() + WARM_UP_MS; performance.now() < end; ) turn();
    const started = performance.now();
    const end = started + seconds * 1000;
    let count = 0;
    for (; performance.now() < end; count++) turn();
    return count / ((performance.now() - started) / 1000);
  } finally {
    closeFd(fd);
  }
}

if (import.meta.main) {
  const [mode, first = "", port = "", seconds = ""] = process.argv.slice(2);
  if (mode === "serve") serve(Number(first));
  else writeSync(1, `${ask(first, Number(port), Number(seconds))}\n`);
}
