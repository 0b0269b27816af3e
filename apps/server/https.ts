/** HTTPS, with client certificates for those who have one. */

import { createServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describeError, WeftError } from "@weft/base";
import { type Handler, serve } from "./bridge.ts";
import type { Certificates } from "./certificates.ts";

export interface Listening {
  readonly port: number;
  stop(): Promise<void>;
}

export async function listenHttps(
  address: string,
  port: number,
  { authority, server: pair }: Certificates,
  handler: Handler,
): Promise<Listening> {
  const server = createServer(
    { cert: pair.cert, key: pair.key, ca: authority, requestCert: true, rejectUnauthorized: false },
    (incoming, outgoing) => void serve(incoming, outgoing, handler),
  );
  // Watches are silent for as long as nothing happens.
  server.requestTimeout = 0;
  server.timeout = 0;
  await listen(server, address, port);
  const stop = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return { port: (server.address() as AddressInfo).port, stop };
}

function listen(server: HttpsServer, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const hint = "Give another port with --port, or another address with --address.";
      reject(
        new WeftError("busy", `cannot listen: ${describeError(cause)}`, {
          object: `${address}:${port}`,
          hint,
          cause,
        }),
      );
    });
    server.listen(port, address, resolve);
  });
}
