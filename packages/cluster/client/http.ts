/**
 * Requests to an API server, over Bun's fetch: HTTPS, or HTTP on a unix socket.
 *
 * A connection pool belongs to one identity: when the client's certificate or the CA changes, there is a new
 * pool, and the idle connections of the former one are closed. Requests go straight to the server; proxies of
 * the environment are not used, because a node's own API server is never behind one.
 *
 * Every request waits for a token of the rate limit. What the server refused before it did anything (429 and
 * 503 with Retry-After) is tried again; so is, for GET and where `idempotent` says so, what failed on the way.
 */
import { getCACertificates } from "node:tls";
import {
  abortReason,
  type Backoff,
  backoffDelay,
  type Clock,
  type Logger,
  silentLogger,
  systemClock,
  unlessAborted,
  WeftError,
} from "@weft/base";
import { type Deadline, deadline, sleep } from "./abort.ts";
import { type Attempt, connectionError, identityFault } from "./connection-error.ts";
import type { Credentials, Identity, Trust } from "./credentials/index.ts";
import { ApiError, type Asked, answerError } from "./status-error.ts";
import { type RateLimit, TokenBucket } from "./token-bucket.ts";
import { socketOf } from "./unix-socket.ts";

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface ApiRequest {
  /** GET by default. */
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From the server's root: "/api/v1/nodes". Segments must be encoded; `pathOf` does it. */
  readonly path: string;
  /** Undefined values are left out. */
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** application/json by default; patches have types of their own. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds until the answer is complete, or, of a stream, until it begins; the client's number by default. */
  readonly timeout?: number;
  /** Doing it twice is doing it once. GET is; others only if this says so. */
  readonly idempotent?: boolean;
  /** Retries at most; the client's number by default. */
  readonly retries?: number;
}

export interface ApiClient {
  /** URL without a slash at its end; "unix:///PATH" of a socket. */
  readonly server: string;
  /** Namespace of the credentials. */
  readonly namespace: string;
  /** The answer's JSON. Rejects with WeftError, an ApiError when the server has answered. */
  request<T = unknown>(request: ApiRequest): Promise<T>;
  /** The answer's bytes as they come; ends with the request's signal. No deadline once it has begun. */
  stream(request: ApiRequest): Promise<ReadableStream<Uint8Array>>;
  /** What the next error says of the request: for errors inside of streams. */
  asked(request: ApiRequest): Asked;
  /** Closes idle connections. The client can still be used. */
  close(): void;
}

export type Fetch = (url: string, init: BunFetchRequestInit) => Promise<Response>;

export interface ClientOptions {
  readonly credentials: Credentials;
  /** 50 a second and 100 at once by default. */
  readonly rateLimit?: RateLimit;
  /** Retries of one request at most, 3 by default. */
  readonly retries?: number;
  /** Milliseconds that a request may take which does not say so itself, 30,000 by default. */
  readonly timeout?: number;
  /** Between retries: 200 ms, doubling to 5 s by default. */
  readonly backoff?: Backoff;
  readonly userAgent?: string;
  /** Instead of the network: an API server in this process. */
  readonly fetch?: Fetch;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly logger?: Logger;
}

const TIMEOUT = 30_000;
/** A server that asks for more patience than this, in milliseconds, gets no retry from here. */
const LONGEST_RETRY_AFTER = 60_000;

export function createClient(options: ClientOptions): ApiClient {
  return new FetchClient(options);
}

interface Sent extends Attempt {
  readonly response: Response;
  readonly limit: Deadline;
}

class FetchClient implements ApiClient {
  readonly server: string;
  readonly namespace: string;
  readonly #options: ClientOptions;
  readonly #socket: string | undefined;
  readonly #clock: Clock;
  readonly #bucket: TokenBucket;
  readonly #logger: Logger;
  #pool: { key: string; session: Bun.FetchSession } | undefined;
  #lastIdentity: Identity | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.server = options.credentials.server;
    this.#socket = socketOf(this.server);
    this.namespace = options.credentials.namespace;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#bucket = new TokenBucket(options.rateLimit ?? { qps: 50, burst: 100 }, this.#clock);
  }

  async request<T>(request: ApiRequest): Promise<T> {
    return this.#retrying(request, async () => {
      const sent = await this.#send(request);
      try {
        const text = await sent.response.text();
        return parseJson<T>(text, sent);
      } catch (error) {
        throw await this.#fault(error, sent, sent.limit);
      } finally {
        sent.limit.release();
      }
    });
  }

  async stream(request: ApiRequest): Promise<ReadableStream<Uint8Array>> {
    return this.#retrying(request, async () => {
      const { response, limit } = await this.#send(request);
      limit.stop();
      return response.body ?? new ReadableStream({ start: (controller) => controller.close() });
    });
  }

  asked(request: ApiRequest): Asked {
    const identity = this.#lastIdentity;
    return {
      request: describe(request),
      server: this.server,
      identity: identity?.source ?? this.#options.credentials.source,
      identityFault: identity === undefined ? undefined : identityFault(identity, this.#clock.now()),
    };
  }

  close(): void {
    this.#pool?.session.close();
    this.#pool = undefined;
  }

  async #retrying<T>(request: ApiRequest, once: () => Promise<T>): Promise<T> {
    const { backoff = { first: 200, cap: 5000 }, random = Math.random } = this.#options;
    const most = request.retries ?? this.#options.retries ?? 3;
    let renewed = false;
    for (let failures = 1; ; failures++) {
      try {
        await this.#bucket.take(request.signal);
        return await once();
      } catch (error) {
        if (request.signal?.aborted) throw abortReason(request.signal);
        const refused = error instanceof ApiError && error.status === 401;
        if (refused && !renewed) {
          // A token that was renewed since, or a plugin's answer that was revoked: once more with what is there now.
          renewed = true;
          this.#options.credentials.refused();
          continue;
        }
        if (failures > most || !mayRetry(request, error)) throw error;
        const asked = error instanceof ApiError ? (error.retryAfter ?? 0) : 0;
        if (asked > LONGEST_RETRY_AFTER) throw error;
        const wait = Math.max(asked, backoffDelay(failures, backoff, random));
        this.#logger.debug("request is tried again", { request: describe(request), wait: Math.round(wait) });
        await sleep(this.#clock, wait, request.signal);
      }
    }
  }

  /** One try: an answer that is a success, of which the body has not been read; or a WeftError. */
  async #send(request: ApiRequest): Promise<Sent> {
    const { credentials } = this.#options;
    const trust = credentials.trust();
    // A program may have to be asked for it, which takes its time: whoever calls the request off need not wait for that.
    const identity = await unlessAborted(credentials.identity(request.signal), request.signal);
    this.#lastIdentity = identity;
    const timeout = request.timeout ?? this.#options.timeout ?? TIMEOUT;
    const late = (): WeftError =>
      new WeftError("timeout", `${this.server}: no answer within ${timeout / 1000} s`, {
        object: describe(request),
        hint: "Check that the API server is well and can be reached from here.",
      });
    const limit = deadline(this.#clock, timeout, late, request.signal);
    const attempt: Attempt = {
      request: describe(request),
      server: this.server,
      trust,
      identity,
      now: this.#clock.now(),
    };
    try {
      const response = await this.#fetch(trust, identity)(this.#url(request), {
        method: request.method ?? "GET",
        headers: this.#headers(request, identity),
        ...(request.body === undefined ? {} : { body: bodyOf(request) }),
        signal: limit.signal,
        ...(this.#socket === undefined ? {} : { unix: this.#socket }),
        redirect: "manual",
        timeout: false,
      });
      if (!response.ok) throw await this.#failure(response, request);
      return { ...attempt, response, limit };
    } catch (error) {
      limit.release();
      throw await this.#fault(error, attempt, limit);
    }
  }

  #fault(error: unknown, attempt: Attempt, limit: Deadline): Promise<WeftError> {
    // A connection that went silent may have left others like it in the pool.
    if (limit.expired) this.close();
    return connectionError(error, attempt);
  }

  async #failure(response: Response, request: ApiRequest): Promise<Error> {
    if (response.status >= 300 && response.status < 400) {
      return new WeftError(
        "unavailable",
        `${this.server}: redirects to ${response.headers.get("location")}`,
        {
          object: describe(request),
          hint: "The server's URL must be the API server's own; credentials are not sent elsewhere.",
        },
      );
    }
    const retryAfter = response.headers.get("retry-after");
    return answerError(response.status, await response.text(), retryAfter, this.asked(request));
  }

  #url({ path, query = {} }: ApiRequest): string {
    const parameters = Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`],
    );
    // Of a request on a socket nobody asks for the host.
    const root = this.#socket === undefined ? this.server : "http://localhost";
    return `${root}${path}${parameters.length === 0 ? "" : `?${parameters.join("&")}`}`;
  }

  #headers({ body, contentType = "application/json" }: ApiRequest, identity: Identity): Headers {
    const headers = new Headers({
      Accept: "application/json",
      "User-Agent": this.#options.userAgent ?? "weft",
    });
    if (body !== undefined) headers.set("Content-Type", contentType);
    for (const [name, value] of identity.headers) headers.append(name, value);
    return headers;
  }

  #fetch(trust: Trust, identity: Identity): Fetch {
    if (this.#options.fetch !== undefined) return this.#options.fetch;
    if (this.#socket !== undefined) {
      this.#pool ??= { key: "", session: new Bun.FetchSession({ proxy: false }) };
      return this.#pool.session.fetch;
    }
    const { certificate } = identity;
    const key = [trust.ca, trust.serverName, trust.insecure, certificate?.cert, certificate?.key].join("\n");
    if (this.#pool?.key !== key) {
      this.#pool?.session.close();
      this.#pool = { key, session: new Bun.FetchSession({ tls: tlsOptions(trust, identity), proxy: false }) };
    }
    return this.#pool.session.fetch;
  }
}

export function tlsOptions(trust: Trust, { certificate }: Identity): BunFetchRequestInitTLS {
  return {
    ca: trust.ca ?? [...getCACertificates("bundled"), ...getCACertificates("system")],
    rejectUnauthorized: !trust.insecure,
    ...(trust.serverName === undefined ? {} : { serverName: trust.serverName }),
    ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
  };
}

/**
 * Bun sends a PUT once more by itself when a kept connection breaks before the answer. What had been written the first
 * time would then be a conflict with itself: whoever holds an object's version must hear that nothing is sure instead.
 * A stream cannot be sent twice.
 */
function bodyOf(request: ApiRequest): string | ReadableStream<Uint8Array> {
  const text = JSON.stringify(request.body);
  if (request.method !== "PUT" || isIdempotent(request)) return text;
  return new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from(text));
      controller.close();
    },
  });
}

const describe = ({ method = "GET", path }: ApiRequest): string => `${method} ${path}`;

function mayRetry(request: ApiRequest, error: unknown): boolean {
  if (error instanceof ApiError) {
    if (error.status === 429 || (error.status === 503 && error.retryAfter !== undefined)) return true;
    return isIdempotent(request) && error.status >= 500;
  }
  const transient = error instanceof WeftError && (error.code === "unavailable" || error.code === "timeout");
  return transient && isIdempotent(request);
}

const isIdempotent = ({ method = "GET", idempotent }: ApiRequest): boolean => idempotent ?? method === "GET";

function parseJson<T>(text: string, { server, request }: Attempt): T {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError(
      "unavailable",
      `${server}: the answer is no JSON: ${JSON.stringify(text.slice(0, 80))}`,
      {
        object: request,
        hint: "Check that the address is an API server's and not a web page's.",
        cause,
      },
    );
  }
}
