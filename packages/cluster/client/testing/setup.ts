/** What the tests of the client share: a server around the fake API, a client of it, and waiting. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { unlessAborted } from "@weft/base";
import { type ApiClient, type ClientOptions, type Credentials, createClient } from "../index.ts";
import type { FakeApi } from "./fake-api.ts";

export const anonymous = (server: string): Credentials => ({
  server,
  namespace: "default",
  source: "the test",
  trust: () => ({ ca: undefined, caSource: "the test", serverName: undefined, insecure: false }),
  identity: async () => ({ headers: [], certificate: undefined, source: "the test" }),
  refused() {},
});

/** The API behind a real socket, and a client that is quick to retry. */
export async function serveApi(
  api: FakeApi,
  options: Partial<ClientOptions> = {},
): Promise<{ client: ApiClient; url: string; stop(): void }> {
  const server = createServer((request, response) => void answer(api, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createClient({
    credentials: anonymous(url),
    backoff: { first: 2, cap: 20 },
    ...FAST,
    ...options,
  });
  return {
    client,
    url,
    stop() {
      client.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A body that fails is a connection that is cut. */
async function answer(api: FakeApi, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = "GET", url = "/", headers } = request;
  const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Uint8Array>));
  const plain = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
  const answered = await api.handle(
    new Request(`http://api.test${url}`, { method, headers: plain, ...(body.length === 0 ? {} : { body }) }),
  );
  response.writeHead(answered.status, Object.fromEntries(answered.headers));
  const reader = answered.body?.getReader();
  response.on("close", () => void reader?.cancel().catch(() => {}));
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done) break;
      response.write(value);
    }
    response.end();
  } catch {
    request.socket.destroy();
  }
}

const FAST = { rateLimit: { qps: 100_000, burst: 100_000 } };

/** The API without a socket: for tests whose time is a fake clock's. */
export function directClient(api: FakeApi, options: Partial<ClientOptions> = {}): ApiClient {
  return createClient({
    credentials: anonymous("http://api.test"),
    fetch: (url, init) =>
      unlessAborted(api.handle(new Request(url, { ...init, signal: null })), init.signal ?? undefined),
    ...FAST,
    ...options,
  });
}

/** Waits for something that comes about by itself. */
export async function until(condition: () => boolean, what = "it"): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 30_000) throw new Error(`${what} did not come about`);
    await Bun.sleep(2);
  }
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not reject");
}

/** For a process of its own: "ok" once a list of that server's nodes came. */
export async function request(server: string): Promise<string> {
  await createClient({ credentials: anonymous(server), retries: 0 }).request({ path: "/api/v1/nodes" });
  return "ok";
}
