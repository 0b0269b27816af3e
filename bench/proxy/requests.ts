/**
 * Connections to services, in a process of its own so that it can run inside of a pod:
 *
 *     bun requests.ts serve PORT               answers each byte with a byte, until it is ended
 *     bun requests.ts until PORT IP...         returns once every address has answered
 *     bun requests.ts connect PORT COUNT IP... prints, of each address, milliseconds of every new connection
 *
 * A connection is connect(2), one byte there and back, blocking, with no event loop in between; then a reset, so that
 * nothing is left in TIME_WAIT.
 */
import { writeSync } from "node:fs";
import { parseIp } from "@weft/base";
import {
  AF,
  closeFd,
  connectSocket,
  encodeSocketAddress,
  openSocket,
  RESET_ON_CLOSE,
  receiveStream,
  SO_LINGER,
  SOCK,
  SOL_SOCKET,
  sendBytes,
  setOptionBytes,
  setReceiveTimeout,
} from "@weft/kernel/sys";
import { serve } from "../traffic/round-trip.ts";

const byte = Buffer.from(new ArrayBuffer(1));
const SO_SNDTIMEO = 21;

/** Milliseconds. Throws when it is refused, or not answered in time. */
function once(ip: string, port: number, timeoutMs: number): number {
  const fd = openSocket(AF.inet, SOCK.stream | SOCK.cloexec, 0);
  try {
    setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
    setReceiveTimeout(fd, timeoutMs);
    // struct timeval: connect(2) waits no longer either.
    const limit = new BigInt64Array([
      BigInt(Math.floor(timeoutMs / 1000)),
      BigInt((timeoutMs % 1000) * 1000),
    ]);
    setOptionBytes(fd, SOL_SOCKET, SO_SNDTIMEO, Buffer.from(limit.buffer));
    const started = performance.now();
    connectSocket(fd, encodeSocketAddress({ ip: parseIp(ip), port }));
    sendBytes(fd, byte);
    if (receiveStream(fd, byte) !== 1) throw new Error(`no answer from ${ip}`);
    return performance.now() - started;
  } finally {
    closeFd(fd);
  }
}

const PATIENCE_MS = 5000;

/** One that is not answered counts as what was waited for it. */
function patiently(ip: string, port: number): number {
  try {
    return once(ip, port, PATIENCE_MS);
  } catch {
    return PATIENCE_MS;
  }
}

async function until(port: number, addresses: readonly string[]): Promise<void> {
  for (const ip of addresses) {
    for (;;) {
      try {
        once(ip, port, 50);
        break;
      } catch {
        await Bun.sleep(10);
      }
    }
  }
}

/** By turns, so that what disturbs one address disturbs all. */
function connect(port: number, count: number, addresses: readonly string[]): number[][] {
  const times = addresses.map((): number[] => []);
  for (let n = -20; n < count; n++) {
    addresses.forEach((ip, i) => {
      const ms = patiently(ip, port);
      if (n >= 0) times[i]?.push(ms);
    });
  }
  return times;
}

const [mode, port = "", ...rest] = process.argv.slice(2);
if (mode === "serve") serve(Number(port));
else if (mode === "until") await until(Number(port), rest);
else writeSync(1, `${JSON.stringify(connect(Number(port), Number(rest[0]), rest.slice(1)))}\n`);
