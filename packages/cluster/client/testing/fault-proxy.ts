/**
 * A proxy in front of an API server that does to requests, replies and events what networks, load balancers and busy
 * servers do to them: for tests of whoever must come through it.
 *
 *   const proxy = await createFaultProxy({ target: server, seed: 7, faults: { "lose-reply": 0.1, conflict: 0.2 } });
 *   const client = createClient({ credentials: proxy.credentials });
 *   proxy.once("lose-reply", { method: "PUT", path: /ipblocks/ });
 *   ...
 *   proxy.set({});            // from here on everything passes
 *   await proxy.stop();
 *
 * What happens follows from the seed, the request ("PUT /api/v1/nodes/a", the n-th of these) and the number of the event
 * in its stream; so a run repeats what the same requests met before, however they are interleaved.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Credentials } from "../credentials/index.ts";
import { socketUrl } from "../unix-socket.ts";
import { dice, pick, type Rates } from "./dice.ts";
import { type EventFault, FaultyEvents } from "./faulty-events.ts";
import { forwarder, headersOf, plainHeaders, reply, status, type Target } from "./forward.ts";
import { anonymous } from "./setup.ts";

export type RequestFault =
  /** 429: nothing was done. */
  | "busy"
  /** 500: nothing was done. */
  | "fail"
  /** 503 with Retry-After: nothing was done. */
  | "unavailable"
  /** 409 Conflict to a PUT, PATCH or DELETE: nothing was done. */
  | "conflict"
  /** 410 to a later page of a list, or to a watch from a version. */
  | "expire"
  /** The connection is closed before the server hears of it. */
  | "lose-request"
  /** The server has done it, and the connection is closed without a reply. */
  | "lose-reply"
  /** The server has done it, and the reply is 504. */
  | "late"
  /** The server has done it, and the connection is closed in the middle of the reply. */
  | "cut-reply"
  /** It takes some 10 to 100 ms longer. */
  | "slow";

export type Fault = RequestFault | EventFault;

export interface FaultProxyOptions {
  readonly target: Target;
  readonly faults?: Rates<Fault>;
  /** 1 by default. */
  readonly seed?: number;
  /** Path of a unix socket to listen on; otherwise it is a port of 127.0.0.1. */
  readonly socket?: string;
  /** Seconds in Retry-After of 429 and 503: 0 by default, that is at once. */
  readonly retryAfter?: number;
}

export interface Injected {
  readonly fault: Fault;
  /** "PUT /api/v1/nodes/a" */
  readonly request: string;
}

export interface FaultProxy {
  /** "http://127.0.0.1:PORT" or "unix:///PATH", for a kubeconfig. */
  readonly url: string;
  /** For createClient; the target is shown those of the options. */
  readonly credentials: Credentials;
  /** What was done so far. */
  readonly injected: readonly Injected[];
  /** From here on these, of open streams too. */
  set(faults: Rates<Fault>): void;
  /** That, to the next request (or event of a watch) for which it can be, and which is like this. */
  once(fault: Fault, like?: { readonly method?: string; readonly path?: RegExp }): void;
  /** Breaks all connections that there are; streams as far as FaultyEvents says. */
  cutAll(): void;
  stop(): Promise<void>;
}

const EVENTS: ReadonlySet<string> = new Set<EventFault>([
  "duplicate",
  "repeat",
  "hold",
  "drop",
  "cut",
  "end",
  "gone",
  "swallow",
]);

interface Asked {
  readonly method: string;
  /** With its query. */
  readonly url: URL;
  readonly isWatch: boolean;
  /** "GET /api/v1/nodes" */
  readonly name: string;
}

export async function createFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new HttpProxy(options);
  await proxy.listen();
  return proxy;
}

class HttpProxy implements FaultProxy {
  readonly injected: Injected[] = [];
  readonly #options: FaultProxyOptions;
  readonly #target: (request: Request, signal: AbortSignal) => Promise<Response>;
  readonly #server = createServer((incoming, outgoing) => void this.#serve(incoming, outgoing));
  readonly #streams = new Set<FaultyEvents>();
  /** Connections of requests that are no streams. */
  readonly #busy = new Set<Socket>();
  readonly #counts = new Map<string, number>();
  #faults: Rates<Fault>;
  #scripted: { fault: Fault; method?: string; path?: RegExp }[] = [];

  constructor(options: FaultProxyOptions) {
    this.#options = options;
    this.#faults = options.faults ?? {};
    this.#target = forwarder(options.target);
  }

  get url(): string {
    const { socket } = this.#options;
    if (socket !== undefined) return socketUrl(socket);
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get credentials(): Credentials {
    return anonymous(this.url);
  }

  async listen(): Promise<void> {
    const { socket } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      if (socket === undefined) this.#server.listen(0, "127.0.0.1", resolve);
      else this.#server.listen(socket, resolve);
    });
  }

  set(faults: Rates<Fault>): void {
    this.#faults = faults;
  }

  once(fault: Fault, like: { readonly method?: string; readonly path?: RegExp } = {}): void {
    this.#scripted.push({ fault, ...like });
  }

  cutAll(): void {
    for (const stream of [...this.#streams]) stream.cut();
    for (const socket of this.#busy) socket.destroy();
    this.#server.closeIdleConnections();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    for (const stream of [...this.#streams]) stream.cut();
    this.#server.closeAllConnections();
    await closed;
  }

  /** What is done to that, and noted as done. */
  #choose(asked: Asked, roll: number, possible: (fault: Fault) => boolean): Fault | undefined {
    const { method, url, name } = asked;
    const at = this.#scripted.findIndex(
      (s) =>
        possible(s.fault) &&
        (s.method === undefined || s.method === method) &&
        (s.path === undefined || s.path.test(url.pathname)),
    );
    const [scripted] = at < 0 ? [] : this.#scripted.splice(at, 1);
    const fault = scripted?.fault ?? pick(this.#faults, roll, possible);
    if (fault !== undefined) this.injected.push({ fault, request: name });
    return fault;
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gone = new AbortController();
    outgoing.on("close", () => gone.abort());
    this.#busy.add(incoming.socket);
    try {
      const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Uint8Array>));
      const { method = "GET" } = incoming;
      const url = new URL(incoming.url ?? "/", "http://target");
      const isWatch = method === "GET" && /^(true|1)$/.test(url.searchParams.get("watch") ?? "");
      const asked: Asked = { method, url, isWatch, name: `${method} ${url.pathname}` };
      const which = `${asked.name}${isWatch ? " watch" : ""}`;
      const count = (this.#counts.get(which) ?? 0) + 1;
      this.#counts.set(which, count);
      const roll = dice(this.#options.seed ?? 1, `${which} ${count}`);
      const fault = this.#choose(asked, roll(), (f) => isPossible(f, asked)) as RequestFault | undefined;
      if (fault === "lose-request") return void incoming.socket.destroy();
      const refusal = refusalOf(fault, this.#options.retryAfter ?? 0);
      if (refusal !== undefined) return await reply(outgoing, refusal);
      if (fault === "slow") await Bun.sleep(10 + 90 * roll());
      const request = new Request(`http://target${url.pathname}${url.search}`, {
        method,
        headers: headersOf(incoming),
        ...(body.length === 0 ? {} : { body }),
      });
      const response = await this.#target(request, gone.signal);
      if (isWatch && response.ok) return await this.#stream(asked, response, outgoing, roll, gone.signal);
      const whole = Buffer.from(await response.arrayBuffer());
      if (fault === "lose-reply") return void incoming.socket.destroy();
      if (fault === "late") return await reply(outgoing, status(504, "Timeout"));
      outgoing.writeHead(response.status, plainHeaders(response, whole.length));
      if (fault !== "cut-reply") return void outgoing.end(whole);
      outgoing.write(whole.subarray(0, Math.floor(whole.length * roll())), () => incoming.socket.destroy());
    } catch {
      // The target is away, or the client is.
      incoming.socket.destroy();
    } finally {
      this.#busy.delete(incoming.socket);
    }
  }

  async #stream(
    asked: Asked,
    response: Response,
    outgoing: ServerResponse,
    roll: () => number,
    signal: AbortSignal,
  ): Promise<void> {
    outgoing.writeHead(response.status, plainHeaders(response));
    outgoing.flushHeaders();
    const sink = {
      write: (text: string) => void outgoing.write(text),
      end: () => void outgoing.end(),
      cut: () => void outgoing.write("", () => outgoing.socket?.destroy()),
    };
    const events = new FaultyEvents(
      sink,
      roll,
      (value) => this.#choose(asked, value, (fault) => EVENTS.has(fault)) as EventFault | undefined,
    );
    this.#streams.add(events);
    if (outgoing.socket !== null) this.#busy.delete(outgoing.socket);
    const reader = response.body?.getReader();
    signal.addEventListener("abort", () => void reader?.cancel().catch(() => {}), { once: true });
    try {
      const decoder = new TextDecoder();
      let rest = "";
      while (!events.over && !signal.aborted) {
        const next = await reader?.read();
        if (next === undefined || next.done) break;
        const lines = `${rest}${decoder.decode(next.value, { stream: true })}`.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) events.push(line);
      }
      events.end();
    } catch {
      events.cut();
    } finally {
      this.#streams.delete(events);
      await reader?.cancel().catch(() => {});
    }
  }
}

function isPossible(fault: Fault, { method, url, isWatch }: Asked): boolean {
  if (EVENTS.has(fault)) return false;
  if (fault === "conflict") return /^(PUT|PATCH|DELETE)$/.test(method);
  if (fault === "expire") return url.searchParams.has(isWatch ? "resourceVersion" : "continue");
  return !isWatch || !/^(lose-reply|late|cut-reply)$/.test(fault);
}

/** The answer of a server that did nothing. */
function refusalOf(fault: RequestFault | undefined, retryAfter: number): Response | undefined {
  const later = (response: Response): Response => {
    response.headers.set("Retry-After", String(retryAfter));
    return response;
  };
  if (fault === "busy") return later(status(429, "TooManyRequests"));
  if (fault === "unavailable") return later(status(503, "ServiceUnavailable"));
  if (fault === "fail") return status(500, "InternalError");
  if (fault === "expire") return status(410, "Expired");
  if (fault !== "conflict") return undefined;
  const modified =
    "the object has been modified; please apply your changes to the latest version and try again";
  return status(409, "Conflict", `${modified} (injected)`);
}
