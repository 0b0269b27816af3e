/** The same API on a unix socket: whoever may open it may ask. */
import { chmodSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import { describeError, WeftError } from "@weft/base";
import { makeDirectory, takeLock } from "@weft/cluster/server";
import { type Handler, serve } from "./bridge.ts";
import { limitIdle } from "./limits.ts";

const HINT = "Give another path with --socket.";

/** Throws "busy" when somebody else listens there, be he slow or stopped; "exists" for what is no socket. */
export async function listenSocket(path: string, handler: Handler): Promise<{ stop(): Promise<void> }> {
  makeDirectory(dirname(path));
  // Whose it is does not depend on how quick somebody answers: of servers, only who has the lock looks at the socket.
  const lock = takeLock(path, { message: "another server has this socket", hint: HINT });
  try {
    await removeStale(path);
    const server = createServer((incoming, outgoing) => void serve(incoming, outgoing, handler));
    limitIdle(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        const message = `cannot listen: ${describeError(cause)}`;
        reject(new WeftError("unavailable", message, { object: path, hint: HINT, cause }));
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
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** Takes away what a server that was killed has left. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new WeftError("exists", "there is something else than a socket", {
      object: path,
      hint: "Give another path with --socket, or remove that.",
    });
  }
  if (await isListening(path)) {
    throw new WeftError("busy", "another program listens there", { object: path, hint: HINT });
  }
  unlinkSync(path);
}

/** connect(2) on a unix socket says at once whether anybody listens, whether or not he is able to answer. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}
