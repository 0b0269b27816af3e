/**
 * GET /metrics over TCP, on the addresses that the settings name (metrics.listen, metrics.port): none by default. What
 * cannot be listened on is told and tried again; the agent's own socket answers in any case.
 */
import { describeError, EXPOSITION_TYPE, type IpAddress, type Logger } from "@weft/base";
import type { MetricsSettings } from "@weft/model";

const RETRY_MS = 10_000;

export interface MetricsStatus {
  /** "127.0.0.1:10247" */
  readonly listening: readonly string[];
  readonly errors: readonly string[];
}

type Server = ReturnType<typeof Bun.serve>;

export class MetricsListener {
  readonly #text: () => string;
  readonly #logger: Logger;
  readonly #servers = new Map<string, Server>();
  readonly #errors = new Map<string, string>();
  #wanted: readonly { readonly host: string; readonly port: number }[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(text: () => string, logger: Logger) {
    this.#text = text;
    this.#logger = logger;
  }

  /** `own`: the node's InternalIPs. To be called whenever either may be another. */
  want({ listen, port }: MetricsSettings, own: readonly IpAddress[]): void {
    const hosts =
      listen === "off"
        ? []
        : listen === "loopback"
          ? ["127.0.0.1", "::1"]
          : listen === "all"
            ? ["0.0.0.0", "::"]
            : own;
    this.#wanted = hosts.map((host) => ({ host, port }));
    this.#work();
  }

  status(): MetricsStatus {
    return {
      listening: [...this.#servers.keys()],
      errors: [...this.#errors].map(([where, error]) => `${where}: ${error}`),
    };
  }

  async stop(): Promise<void> {
    this.#wanted = [];
    clearTimeout(this.#retry);
    await Promise.all([...this.#servers.values()].map((s) => s.stop(true)));
    this.#servers.clear();
  }

  #work(): void {
    clearTimeout(this.#retry);
    const keys = new Set(this.#wanted.map(nameOf));
    for (const [where, server] of this.#servers) {
      if (keys.has(where)) continue;
      void server.stop(true);
      this.#servers.delete(where);
      this.#logger.info("metrics are no longer to be had", { address: where });
    }
    for (const where of this.#errors.keys()) if (!keys.has(where)) this.#errors.delete(where);
    for (const place of this.#wanted) this.#listen(place);
    if (this.#errors.size > 0) this.#retry = setTimeout(() => this.#work(), RETRY_MS);
  }

  #listen({ host, port }: { readonly host: string; readonly port: number }): void {
    const where = nameOf({ host, port });
    if (this.#servers.has(where)) return;
    try {
      const server = Bun.serve({
        hostname: host,
        port,
        // Both families have a socket of their own.
        ...(host.includes(":") ? { ipv6Only: true } : {}),
        maxRequestBodySize: 1024,
        fetch: (request) => answer(request, this.#text),
      });
      this.#servers.set(where, server);
      this.#errors.delete(where);
      this.#logger.info("metrics are to be had", { address: where });
    } catch (error) {
      const text = describeError(error);
      if (this.#errors.get(where) !== text)
        this.#logger.warn("metrics cannot be offered there", { address: where, error: text });
      this.#errors.set(where, text);
    }
  }
}

const nameOf = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

function answer(request: Request, text: () => string): Response {
  const { pathname } = new URL(request.url);
  if (pathname !== "/metrics") return new Response("there is /metrics\n", { status: 404 });
  if (request.method !== "GET" && request.method !== "HEAD")
    return new Response("only GET\n", { status: 405, headers: { Allow: "GET, HEAD" } });
  return metricsResponse(text());
}

export const metricsResponse = (text: string): Response =>
  new Response(text, { headers: { "Content-Type": EXPOSITION_TYPE } });
