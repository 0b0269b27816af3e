/** The same API on a unix socket: whoever may open it may ask. */
import { chmodSync, existsSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer } from "node:http";
import { dirname } from "node:path";
import { describeError, WeftError } from "@weft/base";
import { type Handler, serve } from "./bridge.ts";

export async function listenSocket(path: string, handler: Handler): Promise<{ stop(): Promise<void> }> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) {
    if (!found.isSocket()) {
      throw new WeftError("exists", "there is something else than a socket", {
        object: path,
        hint: "Give another path with --socket, or remove that.",
      });
    }
    if (await answers(path)) {
      throw new WeftError("busy", "another server answers there", {
        object: path,
        hint: "Give another path with --socket.",
      });
    }
    unlinkSync(path);
  }
  const server = createServer((incoming, outgoing) => void serve(incoming, outgoing, handler));
  // Watches are silent for as long as nothing happens.
  server.requestTimeout = 0;
  server.timeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const message = `cannot listen: ${describeError(cause)}`;
      reject(
        new WeftError("unavailable", message, {
          object: path,
          hint: "Give another path with --socket.",
          cause,
        }),
      );
    });
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return {
    async stop() {
      await new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
      if (existsSync(path)) unlinkSync(path);
    },
  };
}

async function answers(path: string): Promise<boolean> {
  try {
    await fetch("http://server/healthz", { unix: path, signal: AbortSignal.timeout(2000) });
    return true;
  } catch {
    return false;
  }
}
