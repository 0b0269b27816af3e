/**
 * Requests of node:http into those of the web, and answers back. The runtime's own server would do without, but it does
 * not say whether a client's certificate was good, and sends the head of an answer only with its first byte: a watch
 * on which nothing happens would look like a server that does not answer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import { describeError } from "@weft/base";

/** `certified`: the client has shown a certificate of our authority. */
export type Handler = (request: Request, certified: boolean) => Promise<Response>;

export async function serve(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handler: Handler,
): Promise<void> {
  const aborted = new AbortController();
  outgoing.on("close", () => aborted.abort());
  try {
    const response = await handler(
      requestOf(incoming, aborted.signal),
      (incoming.socket as TLSSocket).authorized === true,
    );
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of response.headers) {
      const held = headers[name];
      // A header that stands several times, as warnings do.
      headers[name] = held === undefined ? value : [held, value].flat();
    }
    outgoing.writeHead(response.status, headers);
    await pour(response, outgoing);
  } catch (error) {
    if (!outgoing.headersSent) outgoing.writeHead(400).end(describeError(error));
    else outgoing.destroy();
  }
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const { method = "GET", url = "/" } = incoming;
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string);
  }
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming);
  return new Request(new URL(url, "https://server").href, { method, headers, signal, body });
}

/** Read on demand: the handler refuses what is too large before all of it is here. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks = incoming[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await chunks.next();
      if (done === true) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
    async cancel() {
      await chunks.return?.();
    },
  });
}

/**
 * Waits where the client reads slower than the server writes. Whoever waits is woken by the client's going too, and
 * nothing that stays until then is added for a chunk: a watch may have millions.
 */
async function pour(response: Response, outgoing: ServerResponse): Promise<void> {
  const reader = response.body?.getReader();
  if (reader === undefined) {
    outgoing.end();
    return;
  }
  // A watch's answer begins before anything has happened.
  outgoing.flushHeaders();
  let drained = (): void => {};
  outgoing.on("drain", () => drained());
  const leave = (): void => {
    drained();
    // One that has failed says so again.
    reader.cancel().catch(() => {});
  };
  outgoing.once("close", leave);
  if (outgoing.destroyed) leave();
  for (;;) {
    const { value, done } = await reader.read();
    if (done || outgoing.destroyed) break;
    if (!outgoing.write(value) && !outgoing.destroyed) {
      await new Promise<void>((resolve) => {
        drained = resolve;
      });
    }
  }
  outgoing.end();
}
