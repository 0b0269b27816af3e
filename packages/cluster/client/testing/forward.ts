/** Requests handed on to an API server, and replies handed back: what the proxy of faults has of a proxy. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Credentials } from "../credentials/index.ts";
import { tlsOptions } from "../http.ts";
import { socketOf } from "../unix-socket.ts";
import { anonymous } from "./setup.ts";

/** URL (http or unix), credentials, or a server in this process. */
export type Target = string | Credentials | InProcess;

export interface InProcess {
  handle(request: Request): Promise<Response>;
}

export function status(code: number, reason: string, message = `${reason} (injected)`): Response {
  const body = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code };
  return Response.json(body, { status: code });
}

export async function reply(outgoing: ServerResponse, response: Response): Promise<void> {
  const body = Buffer.from(await response.arrayBuffer());
  outgoing.writeHead(response.status, plainHeaders(response, body.length)).end(body);
}

/** Hop by hop: not for whoever is behind the proxy. */
const OWN =
  /^(host|connection|content-length|transfer-encoding|accept-encoding|content-encoding|keep-alive)$/;

export function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (!OWN.test(name.toLowerCase())) headers.append(name, rawHeaders[i + 1] as string);
  }
  return headers;
}

export function plainHeaders({ headers }: Response, length?: number): Record<string, string> {
  const kept = [...headers].filter(([name]) => !OWN.test(name));
  return {
    ...Object.fromEntries(kept),
    ...(length === undefined ? {} : { "Content-Length": String(length) }),
  };
}

export function forwarder(target: Target): (request: Request, signal: AbortSignal) => Promise<Response> {
  if (typeof target !== "string" && "handle" in target) {
    return (request, signal) => target.handle(new Request(request, { signal }));
  }
  const credentials = typeof target === "string" ? anonymous(target) : target;
  const unix = socketOf(credentials.server);
  return async (request, signal) => {
    const identity = await credentials.identity();
    for (const [name, value] of identity.headers) request.headers.append(name, value);
    const { pathname, search } = new URL(request.url);
    const root = unix === undefined ? credentials.server : "http://localhost";
    return fetch(`${root}${pathname}${search}`, {
      method: request.method,
      headers: request.headers,
      ...(request.body === null ? {} : { body: await request.arrayBuffer() }),
      signal,
      redirect: "manual",
      timeout: false,
      ...(unix === undefined ? { tls: tlsOptions(credentials.trust(), identity) } : { unix }),
    } as BunFetchRequestInit);
  };
}
