/** HTTPS, with client certificates for those who have one. */
import { createServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describeError, WeftError } from "@weft/base";
import { type Handler, serve } from "./bridge.ts";
import type { Certificates } from "./certificates.ts";
import { LIMITS, type Limits, limitIdle } from "./limits.ts";

export interface Listening {
  readonly port: number;
  /**
   * New connections have these from here on; those that are there go on. The runtime cannot change the certificate of a
   * listener: there is another one in its place, and for the moment between the two nobody is let in.
   */
  reload(certificates: Certificates): Promise<void>;
  stop(): Promise<void>;
}

/** Tries to listen again, a tenth of a second apart. */
const RELOADS = 100;

export async function listenHttps(
  address: string,
  port: number,
  certificates: Certificates,
  handler: Handler,
  limits: Limits = LIMITS,
): Promise<Listening> {
  const begin = async ({ authority, server: pair }: Certificates, at: number): Promise<HttpsServer> => {
    const server = createServer(
      { cert: pair.cert, key: pair.key, ca: authority, requestCert: true, rejectUnauthorized: false },
      (incoming, outgoing) => void serve(incoming, outgoing, handler),
    );
    limitIdle(server, limits);
    try {
      await listen(server, address, at);
    } catch (error) {
      // It never was open: what ends with it ends now.
      server.emit("close");
      throw error;
    }
    return server;
  };
  let current = await begin(certificates, port);
  const bound = (current.address() as AddressInfo).port;
  /** With connections that began before a reload. */
  const former = new Map<HttpsServer, Promise<void>>();
  const close = (server: HttpsServer): Promise<void> => new Promise((done) => server.close(() => done()));
  return {
    port: bound,
    async reload(next) {
      const old = current;
      former.set(
        old,
        close(old).then(() => void former.delete(old)),
      );
      for (let attempt = 1; ; attempt++) {
        try {
          current = await begin(next, bound);
          return;
        } catch (error) {
          // Somebody else has the port for the moment, an outgoing connection for instance.
          if (attempt === RELOADS) throw error;
          await Bun.sleep(100);
        }
      }
    },
    async stop() {
      const closing = [close(current), ...former.values()];
      for (const server of [current, ...former.keys()]) server.closeAllConnections();
      await Promise.all(closing);
    },
  };
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
