/** Connections that do nothing, or far too little, come to an end; watches do not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect as connectPlain } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { serve } from "./bridge.ts";
import { loadCertificates } from "./certificates.ts";
import { type Listening, listenHttps } from "./https.ts";
import { limitIdle } from "./limits.ts";
import { removeDirectory, temporaryDirectory } from "./testing/process.ts";

const LIMITS = { head: 3000, body: 4000, idle: 8000, connections: 4 };
const directory = temporaryDirectory();

async function handler(request: Request): Promise<Response> {
  if (new URL(request.url).pathname !== "/watch") return new Response(await request.text());
  return new Response(new ReadableStream());
}

let https: Listening;
let plain: Server;
beforeAll(async () => {
  const certificates = await loadCertificates(join(directory, "pki"), ["127.0.0.1"], Date.now());
  https = await listenHttps("127.0.0.1", 0, certificates, handler, LIMITS);
  plain = createServer((incoming, outgoing) => void serve(incoming, outgoing, handler));
  limitIdle(plain, LIMITS);
  await new Promise<void>((done) => plain.listen(0, "127.0.0.1", done));
});
afterAll(async () => {
  await https.stop();
  plain.closeAllConnections();
  plain.close();
  removeDirectory(directory);
});

interface Talk {
  readonly socket: Socket;
  closed: boolean;
  heard: string;
}

function talk(way: string, text: string): Talk {
  const write = (): void => void socket.write(text);
  const port = (plain.address() as AddressInfo).port;
  const socket: Socket =
    way === "http"
      ? connectPlain(port, "127.0.0.1", write)
      : connectTls({ port: https.port, host: "127.0.0.1", rejectUnauthorized: false }, write);
  const result: Talk = { socket, closed: false, heard: "" };
  socket.on("data", (data) => {
    result.heard += data.toString();
  });
  socket.on("close", () => {
    result.closed = true;
  });
  socket.on("error", () => {});
  return result;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 3000) throw new Error("it did not come about");
    await Bun.sleep(20);
  }
}

/** One that is let in: the server may have yet to notice that another has gone. */
async function admitted(way: string, text: string): Promise<Talk> {
  for (;;) {
    const one = talk(way, text);
    await until(() => one.closed || one.heard.includes("200 OK"));
    if (!one.closed) return one;
  }
}

const REQUEST = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

describe.each(["http", "https"])("over %s", (way) => {
  test("half a head, half a body and an idle connection end, a watch goes on", async () => {
    const watch = talk(way, REQUEST("/watch"));
    await until(() => watch.heard.includes("200 OK"));
    const head = talk(way, "GET / HTTP/1.1\r\nHost:");
    const body = talk(way, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    const idle = talk(way, REQUEST("/"));
    await until(() => idle.heard.includes("200 OK"));
    await until(() => head.closed);
    // Two of one connection: the time begins anew.
    idle.socket.write(REQUEST("/"));
    await until(() => idle.heard.split("200 OK").length === 3);
    await until(() => body.closed);
    await until(() => idle.closed);
    expect([watch.closed, watch.heard.includes("200 OK")]).toEqual([false, true]);
    watch.socket.destroy();
  });

  test("more connections than there may be are closed, and there is room again after that", async () => {
    const some: Talk[] = [];
    while (some.length < 4) some.push(await admitted(way, REQUEST("/watch")));
    const more = talk(way, REQUEST("/"));
    await until(() => more.closed);
    expect(more.heard).toBe("");
    some[0]?.socket.destroy();
    await until(() => some[0]?.closed === true);
    const next = await admitted(way, REQUEST("/"));
    for (const { socket } of [...some, next]) socket.destroy();
    await until(() => next.closed);
  });
});
