/**
 * /healthz and /livez as kube-proxy has them on port 10256 (KEP-3836): balancers of externalTrafficPolicy Cluster ask
 * the first to learn whether a node should get traffic at all. It says no when changes do not reach the kernel, and
 * when the node is about to leave the cluster; /livez leaves the latter out.
 */
import { describeError } from "@weft/base";

export interface Healthz {
  /** "[::]:10256", or why nobody listens. */
  readonly state: string;
  /** Listens on that port, 0: on none; what failed before is tried again. */
  listen(port: number): void;
  stop(): Promise<void>;
}

export interface HealthzSources {
  readonly healthy: () => boolean;
  readonly leaving: () => boolean;
  readonly now: () => number;
}

export function createHealthz(sources: HealthzSources): Healthz {
  let server: Bun.Server<undefined> | undefined;
  let wanted = 0;
  let state = "off";
  const stop = async (): Promise<void> => {
    const former = server;
    server = undefined;
    state = "off";
    await former?.stop(true);
  };
  return {
    get state() {
      return state;
    },
    listen(port) {
      if (port === wanted && (server !== undefined || port === 0)) return;
      wanted = port;
      void stop();
      if (port === 0) return;
      try {
        server = listenEverywhere(port, (request) => answer(request, sources));
        state = `${server.hostname?.includes(":") === true ? `[${server.hostname}]` : server.hostname}:${port}`;
      } catch (error) {
        state = `off: ${describeError(error)}`;
      }
    },
    stop,
  };
}

/** A machine without IPv6 has no [::]. */
function listenEverywhere(port: number, fetch: (request: Request) => Response): Bun.Server<undefined> {
  try {
    return Bun.serve({ hostname: "::", port, fetch });
  } catch (error) {
    if ((error as { code?: string }).code === "EADDRINUSE") throw error;
    return Bun.serve({ hostname: "0.0.0.0", port, fetch });
  }
}

/** When nothing is wrong, the last update is as recent as can be. */
function answer(request: Request, { healthy, leaving, now }: HealthzSources): Response {
  const { pathname } = new URL(request.url);
  if (pathname !== "/healthz" && pathname !== "/livez")
    return new Response("404 page not found\n", { status: 404 });
  const nodeEligible = !leaving();
  const good = healthy() && (pathname === "/livez" || nodeEligible);
  const time = new Date(now()).toISOString();
  const body = { lastUpdated: time, currentTime: time, ...(pathname === "/healthz" ? { nodeEligible } : {}) };
  return Response.json(body, {
    status: good ? 200 : 503,
    headers: { "Content-Type": "application/json", "X-Content-Type-Options": "nosniff" },
  });
}
