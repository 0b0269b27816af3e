/**
 * An API server of Kubernetes' kind, without a listener: a Request goes in, a Response comes out. Who may ask is decided
 * by whoever listens (apps/server); whoever may ask may do everything.
 *
 *   Request -> discovery | openapi | health | resource -> read:  store -> list, watch
 *                                                       -> write: decode, prepare, check -> transaction -> store
 *   store -> changes -> watchers, registry (definitions), collector (owners, namespaces)
 */
import { describeError, type Logger } from "@weft/base";
import { Collector } from "./background/collector.ts";
import { Housekeeping } from "./background/housekeeping.ts";
import { discover } from "./discovery/discovery.ts";
import {
  OPENAPI_V2_PROTOBUF,
  OPENAPI_V2_PROTOBUF_TYPE,
  openapiDocument,
  openapiIndex,
  openapiV2,
  openapiV2Protobuf,
} from "./discovery/openapi.ts";
import { Failure, internal, noSuchPath } from "./errors.ts";
import { handleResource, type Server } from "./http/handler.ts";
import { formOf, mediaType } from "./http/media.ts";
import { targetOf } from "./http/path.ts";
import type { Watcher } from "./http/watch.ts";
import { Registry } from "./registry.ts";
import type { Context, ServiceSettings } from "./resource.ts";
import { NAMESPACES } from "./resources/plain.ts";
import { tellServiceRanges } from "./resources/service-cidr.ts";
import { openDatabase } from "./storage/database.ts";
import { Store } from "./storage/store.ts";
import type { Mapping } from "./values.ts";
import { create } from "./write/writer.ts";

/** The Kubernetes version whose API this is. */
export const KUBERNETES_VERSION = { major: "1", minor: "34", gitVersion: "v1.34.0+weft" };

const NAMESPACES_AT_START = ["default", "kube-system", "kube-public", "kube-node-lease"];

export const DEFAULT_SERVICES: ServiceSettings = {
  ranges: ["10.96.0.0/16", "fd00:10:96::/112"],
  nodePorts: [30000, 32767],
};

export interface ApiServerOptions {
  /** The data file, made when it is not there. */
  readonly file: string;
  readonly services?: ServiceSettings;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export class ApiServer implements Server {
  readonly store: Store;
  readonly registry = new Registry();
  readonly watchers = new Set<Watcher>();
  readonly now: () => number;
  readonly #services: ServiceSettings;
  readonly #logger: Logger;
  readonly #collector: Collector;
  readonly #housekeeping: Housekeeping;
  /** Documents of OpenAPI, for one generation of the registry. */
  readonly #documents = new Map<string, { generation: number; text: string }>();
  #stopped = false;

  /** Opens the file and is ready when this resolves. Throws "busy", "invalid" (damaged), "unsupported". */
  static async start(options: ApiServerOptions): Promise<ApiServer> {
    const server = new ApiServer(options);
    try {
      for (const name of NAMESPACES_AT_START) {
        if (server.store.get(NAMESPACES.storage, name) !== undefined) continue;
        const object = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
        await create(server.store, NAMESPACES, object, undefined, {
          dryRun: false,
          context: server.context(),
        });
      }
      await tellServiceRanges(server.store, { dryRun: false, context: server.context() });
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  private constructor({ file, services = DEFAULT_SERVICES, logger, now = Date.now }: ApiServerOptions) {
    this.now = now;
    this.#services = services;
    this.#logger = logger;
    this.store = new Store(openDatabase(file), now);
    this.registry.follow(this.store);
    this.#collector = new Collector({ store: this.store, registry: this.registry, now, logger });
    this.#housekeeping = new Housekeeping(this.store, this.watchers, now, logger);
  }

  context(): Context {
    return { now: this.now(), services: this.#services };
  }

  /** Never rejects: what fails is an answer. */
  async handle(request: Request): Promise<Response> {
    try {
      return await this.#route(request);
    } catch (error) {
      return this.#failed(request, error);
    }
  }

  async #route(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method === "GET") {
      const known = this.#known(pathname, request.headers.get("accept") ?? "", searchParams);
      if (known !== undefined) return known;
    }
    const target = targetOf(pathname, this.registry);
    if (target === undefined) throw noSuchPath();
    return handleResource(this, target, request, searchParams);
  }

  /** What is no resource. */
  #known(path: string, accept: string, query: URLSearchParams): Response | undefined {
    if (/^\/(healthz|livez|readyz)(\/.*)?$/.test(path)) {
      if (this.#stopped) return new Response("it is being closed", { status: 500 });
      // Only readiness: to be started again would lose what can still be read.
      const lost = path.startsWith("/readyz") ? this.store.lost : undefined;
      return lost === undefined ? new Response("ok") : new Response(lost, { status: 500 });
    }
    if (path === "/version")
      return Response.json({ ...KUBERNETES_VERSION, platform: `linux/${process.arch}` });
    const found = discover(path, accept, this.registry);
    if (found !== undefined) {
      return new Response(JSON.stringify(found.body), {
        headers: { "Content-Type": found.contentType, Vary: "Accept" },
      });
    }
    if (path === "/openapi/v2") {
      if (accept.split(",").some((offer) => OPENAPI_V2_PROTOBUF.test(mediaType(offer)))) {
        return new Response(openapiV2Protobuf(), { headers: { "Content-Type": OPENAPI_V2_PROTOBUF_TYPE } });
      }
      formOf(accept);
      return this.#document(path, () => openapiV2(this.registry), query);
    }
    if (path === "/openapi/v3") return this.#document(path, () => openapiIndex(this.registry), query);
    if (path.startsWith("/openapi/v3/")) {
      const part = path.slice("/openapi/v3/".length);
      return this.#document(path, () => openapiDocument(part, this.registry), query);
    }
    if (path === "/")
      return Response.json({
        paths: ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"],
      });
    return undefined;
  }

  #document(path: string, make: () => Mapping | undefined, query: URLSearchParams): Response {
    const { generation } = this.registry;
    let held = this.#documents.get(path);
    if (held?.generation !== generation) {
      const made = make();
      if (made === undefined) throw noSuchPath();
      held = { generation, text: JSON.stringify(made) };
      this.#documents.set(path, held);
    }
    // A path with the hash of its content never changes.
    const cache: Record<string, string> = query.has("hash") ? { "Cache-Control": "public, immutable" } : {};
    return new Response(held.text, { headers: { "Content-Type": "application/json", ...cache } });
  }

  #failed(request: Request, error: unknown): Response {
    let failure = error;
    if (!(failure instanceof Failure)) {
      // A client that went away in the middle of its body is no fault, and hears nothing.
      if (!request.signal.aborted) {
        this.#logger.error("a request failed", {
          request: `${request.method} ${new URL(request.url).pathname}`,
          error: error instanceof Error ? (error.stack ?? describeError(error)) : describeError(error),
        });
      }
      failure = internal(describeError(error));
    }
    const known = failure as Failure;
    const wait = known.details["retryAfterSeconds"];
    const headers = wait === undefined ? {} : { "Retry-After": String(wait) };
    return Response.json(known.toStatus(), { status: known.status, headers });
  }

  /** Resolves when all that follows from deletions so far is done. */
  settled(): Promise<void> {
    return this.#collector.idle();
  }

  /** Ends all watches, finishes what is being written, closes the file. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#housekeeping.stop();
    for (const watcher of [...this.watchers]) watcher.end();
    await this.#collector.stop();
    this.store.close();
  }
}
