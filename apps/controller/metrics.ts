/** What Prometheus gets of a controller: the cluster's pools, as the leader knows them. Every name is in docs/ipam.md. */
import { EXPOSITION_TYPE, exposition, type Logger, type Metric } from "@weft/base";
import type { Forecast } from "@weft/ipam/inspect";

export interface PoolGauges {
  readonly pool: string;
  /** At most Number.MAX_SAFE_INTEGER. */
  readonly size: number;
  readonly used: number;
  readonly blocks: number;
  readonly nodes: number;
  readonly ready: boolean;
  readonly forecast: Forecast;
}

/** `pools` is undefined of one that does not lead: it knows nothing of them. */
export function controllerMetrics(pools: readonly PoolGauges[] | undefined): string {
  const gauge = (name: string, help: string, of: (p: PoolGauges) => number | undefined): Metric => ({
    name,
    help,
    type: "gauge",
    measurements: (pools ?? []).flatMap((p) => {
      const value = of(p);
      return value === undefined ? [] : [{ labels: { pool: p.pool }, value }];
    }),
  });
  return exposition([
    {
      name: "weft_controller_leading",
      type: "gauge",
      help: "1 of the controller that leads, which alone has metrics of pools.",
      measurements: [{ value: pools === undefined ? 0 : 1 }],
    },
    gauge("weft_ipam_pool_addresses", "Addresses of the pool that can be handed out.", (p) => p.size),
    gauge("weft_ipam_pool_used", "Addresses of the pool that somebody has.", (p) => p.used),
    gauge("weft_ipam_pool_blocks", "Blocks of the pool that nodes have claimed.", (p) => p.blocks),
    gauge("weft_ipam_pool_nodes", "Nodes that have blocks of the pool.", (p) => p.nodes),
    gauge("weft_ipam_pool_ready", "1 when the pool may be used.", (p) => (p.ready ? 1 : 0)),
    gauge(
      "weft_ipam_pool_exhausted_seconds",
      "Forecast: seconds until the pool is full; +Inf when its use does not grow. Absent while too little is known.",
      ({ forecast: f }) =>
        f.kind === "unknown" ? undefined : f.kind === "never" ? Number.POSITIVE_INFINITY : f.seconds,
    ),
  ]);
}

/** Serves GET /metrics until it is stopped. Throws when the address cannot be listened on. */
export function serveMetrics(
  { host, port }: { readonly host: string; readonly port: number },
  text: () => string,
  logger: Logger,
): { readonly port: number; stop(): Promise<void> } {
  const server = Bun.serve({
    hostname: host,
    port,
    maxRequestBodySize: 1024,
    fetch(request) {
      if (new URL(request.url).pathname !== "/metrics")
        return new Response("there is /metrics\n", { status: 404 });
      if (request.method !== "GET" && request.method !== "HEAD")
        return new Response("only GET\n", { status: 405, headers: { Allow: "GET, HEAD" } });
      return new Response(text(), { headers: { "Content-Type": EXPOSITION_TYPE } });
    },
  });
  logger.info("metrics are to be had", { address: `${host}:${server.port}` });
  return { port: server.port ?? port, stop: () => server.stop(true) };
}
