/**
 * Health check node ports: what a balancer asks each node to learn whether it has endpoints of a service whose external
 * traffic stays on the node (API reference, spec.healthCheckNodePort). Any path, in kube-proxy's words:
 *
 *   200 or 503, X-Load-Balancing-Endpoint-Weight: 2
 *   {"service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": true}
 */
import { describeError, type IpAddress } from "@weft/base";
import type { HealthCheck } from "@weft/compile";

export interface PortFault {
  readonly check: HealthCheck;
  readonly address: IpAddress;
  readonly why: string;
}

interface Listener {
  check: HealthCheck;
  readonly server: Bun.Server<undefined> | undefined;
}

export class HealthPorts {
  readonly #healthy: () => boolean;
  /** By address and port. */
  readonly #listeners = new Map<string, Listener>();
  #faults: readonly PortFault[] = [];

  constructor(healthy: () => boolean) {
    this.#healthy = healthy;
  }

  /** Ports that could not be opened at the last `set`. */
  get faults(): readonly PortFault[] {
    return this.#faults;
  }

  /** Listens for just these checks at just these addresses; what failed before is tried again. */
  set(checks: readonly HealthCheck[], addresses: readonly IpAddress[]): void {
    const wanted = new Map<string, { check: HealthCheck; address: IpAddress }>();
    for (const check of checks) {
      for (const address of addresses) wanted.set(`${address} ${check.port}`, { check, address });
    }
    for (const [key, { server }] of this.#listeners) {
      if (wanted.has(key)) continue;
      void server?.stop(true);
      this.#listeners.delete(key);
    }
    const faults: PortFault[] = [];
    for (const [key, { check, address }] of wanted) {
      const known = this.#listeners.get(key);
      if (known !== undefined) {
        known.check = check;
        continue;
      }
      try {
        this.#listeners.set(key, this.#listen(address, check));
      } catch (error) {
        faults.push({ check, address, why: describeError(error) });
      }
    }
    this.#faults = faults;
  }

  #listen(address: IpAddress, first: HealthCheck): Listener {
    const server = Bun.serve({
      hostname: address,
      port: first.port,
      fetch: () => healthAnswer(listener.check, this.#healthy()),
    });
    const listener: Listener = { check: first, server };
    return listener;
  }

  async stop(): Promise<void> {
    const servers = [...this.#listeners.values()].map(({ server }) => server?.stop(true));
    this.#listeners.clear();
    this.#faults = [];
    await Promise.all(servers);
  }
}

export function healthAnswer({ namespace, name, localEndpoints }: HealthCheck, healthy: boolean): Response {
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: healthy };
  return new Response(JSON.stringify(body, null, "\t"), {
    status: localEndpoints > 0 && healthy ? 200 : 503,
    headers: {
      "Content-Type": "application/json",
      "X-Content-Type-Options": "nosniff",
      "X-Load-Balancing-Endpoint-Weight": String(localEndpoints),
    },
  });
}
