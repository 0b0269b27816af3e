/**
 * How long a connection may do nothing: until the head of a request is there, until its body is, and between two requests.
 * While an answer is being given there is no limit, since a watch is silent for as long as nothing happens. The runtime's
 * own limits do not hold for TLS, so that they are kept here, by one look at all connections each second.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";

/** Milliseconds, and a number of connections. */
export interface Limits {
  readonly head: number;
  readonly body: number;
  readonly idle: number;
  readonly connections: number;
}

/** A thousand agents have some ten connections each. */
export const LIMITS: Limits = { head: 10_000, body: 60_000, idle: 180_000, connections: 20_000 };

export function limitIdle(server: Server | HttpsServer, limits: Limits = LIMITS): void {
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.timeout = 0;
  // What a client keeps for its next request is closed here and not by the runtime, after five seconds.
  server.keepAliveTimeout = limits.idle * 2;
  /** Of each connection, until when something must happen. */
  const until = new Map<Socket, number>();
  const allow = (socket: Socket, time: number): void => {
    if (until.has(socket)) until.set(socket, performance.now() + time);
  };
  server.on("connection", (socket: Socket) => {
    if (until.size >= limits.connections) {
      socket.destroy();
      return;
    }
    until.set(socket, performance.now() + limits.head);
    socket.once("close", () => until.delete(socket));
  });
  server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { socket } = incoming;
    let bodyIsHere = incoming.method === "GET" || incoming.method === "HEAD";
    allow(socket, bodyIsHere ? Number.POSITIVE_INFINITY : limits.body);
    incoming.once("end", () => {
      bodyIsHere = true;
      allow(socket, Number.POSITIVE_INFINITY);
    });
    outgoing.once("close", () => {
      // An answer that came before the whole of the request: whoever goes on sending must come to an end too.
      allow(socket, bodyIsHere ? limits.idle : limits.head);
    });
  });
  const sweep = setInterval(() => {
    const now = performance.now();
    for (const [socket, time] of until) if (time < now) socket.destroy();
  }, 1000);
  sweep.unref();
  server.once("close", () => clearInterval(sweep));
}
