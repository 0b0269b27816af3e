/**
 * The workload "weft/echo": answers with the address that it saw, so that a test can tell whether anything on
 * the way has changed it. One line of JSON, EchoAnswer, over each transport:
 *
 *   HTTP  port 8080  any request
 *   TCP   port 7000  at once; what is sent afterwards comes back
 *   UDP   port 7000  for each datagram
 *
 * HTTP_PORT, TCP_PORT and UDP_PORT change the ports. Imports stay light: every pod runs one of these.
 */
import { networkInterfaces } from "node:os";

export interface EchoAnswer {
  /** POD_NAME, else the host's name. */
  readonly name: string;
  readonly node: string;
  readonly protocol: "http" | "tcp" | "udp";
  /** Source address as it arrived, and its port. */
  readonly client: string;
  readonly clientPort: number;
  /** Length of what was received: of the body or of the datagram. */
  readonly bytes: number;
}

export interface EchoOptions {
  readonly name: string;
  readonly node: string;
  readonly httpPort: number;
  readonly tcpPort: number;
  readonly udpPort: number;
}

export interface EchoServer {
  stop(): void;
}

const ADDRESSES_EVERY_MS = 1000;

/** Options out of the environment. Throws Error naming the variable. */
export function echoOptions(environment: Readonly<Record<string, string | undefined>>): EchoOptions {
  const port = (name: string, fallback: number): number => {
    const text = environment[name];
    if (text === undefined) return fallback;
    const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : -1;
    if (value < 1 || value > 65535) throw new Error(`${name}="${text}" is not a port from 1 to 65535`);
    return value;
  };
  return {
    name: environment["POD_NAME"] ?? environment["HOSTNAME"] ?? "unknown",
    node: environment["NODE_NAME"] ?? "unknown",
    httpPort: port("HTTP_PORT", 8080),
    tcpPort: port("TCP_PORT", 7000),
    udpPort: port("UDP_PORT", 7000),
  };
}

/** Serves until stopped. Throws when a port is taken. */
export async function startEcho(options: EchoOptions): Promise<EchoServer> {
  const answer = (
    protocol: EchoAnswer["protocol"],
    client: string,
    clientPort: number,
    bytes: number,
  ): string => {
    const { name, node } = options;
    const body: EchoAnswer = { name, node, protocol, client: plain(client), clientPort, bytes };
    return `${JSON.stringify(body)}\n`;
  };
  const http = Bun.serve({
    hostname: "::",
    port: options.httpPort,
    async fetch(request, server) {
      const client = server.requestIP(request);
      const bytes = (await request.arrayBuffer()).byteLength;
      return new Response(answer("http", client?.address ?? "unknown", client?.port ?? 0, bytes), {
        headers: { "content-type": "application/json" },
      });
    },
  });
  const tcp = Bun.listen<Uint8Array>({
    hostname: "::",
    port: options.tcpPort,
    socket: {
      open(socket) {
        socket.data = new Uint8Array(0);
        send(socket, Buffer.from(answer("tcp", socket.remoteAddress, socket.remotePort, 0)));
      },
      data(socket, data) {
        send(socket, data);
      },
      drain(socket) {
        send(socket, new Uint8Array(0));
      },
    },
  });
  const udp = await serveUdp(options.udpPort, answer);
  return {
    stop() {
      http.stop(true);
      tcp.stop(true);
      udp.stop();
    },
  };
}

/** Writes what still waits and then `bytes`; what the socket does not take now waits in its `data`. */
function send(socket: Bun.Socket<Uint8Array>, bytes: Uint8Array): void {
  const all = socket.data.length === 0 ? bytes : Buffer.concat([socket.data, bytes]);
  const written = Math.max(0, all.length === 0 ? 0 : socket.write(all));
  socket.data = Uint8Array.from(all.subarray(written));
}

/**
 * A socket for each own address: one socket for all would answer from the address of the route back, which is
 * not always the address that was asked.
 */
async function serveUdp(
  port: number,
  answer: (protocol: "udp", client: string, clientPort: number, bytes: number) => string,
): Promise<EchoServer> {
  const sockets = new Map<string, { close(): void }>();
  const open = async (address: string): Promise<void> => {
    const socket = await Bun.udpSocket({
      hostname: address,
      port,
      socket: {
        data(own, data, clientPort, client) {
          own.send(answer("udp", client, clientPort, data.length), clientPort, client);
        },
      },
    });
    sockets.set(address, socket);
  };
  const follow = async (): Promise<void> => {
    const own = ownAddresses();
    for (const [address, socket] of sockets) {
      if (own.has(address)) continue;
      socket.close();
      sockets.delete(address);
    }
    for (const address of own) if (!sockets.has(address)) await open(address);
  };
  await follow();
  const timer = setInterval(() => {
    // An address can go again before its socket is bound; the next round sees what is there then.
    follow().catch(() => {});
  }, ADDRESSES_EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      for (const socket of sockets.values()) socket.close();
    },
  };
}

function ownAddresses(): Set<string> {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(all.map((a) => a.address).filter((a) => !a.toLowerCase().startsWith("fe80:")));
}

/** IPv4 clients of an IPv6 socket come as ::ffff:a.b.c.d. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "");

/** The program `weft workload echo`: serves until SIGTERM. */
export async function runEcho(): Promise<void> {
  const options = echoOptions(process.env);
  const server = await startEcho(options);
  console.log(
    `echo ${options.name}: HTTP ${options.httpPort}, TCP ${options.tcpPort}, UDP ${options.udpPort}`,
  );
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  server.stop();
}
