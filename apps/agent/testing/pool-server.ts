/** The embedded API server with our definitions, its pools made Ready as the controller does it, and clients of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@weft/base";
import {
  type ApiClient,
  createClient,
  createObject,
  createPoolsApi,
  decodeBlock,
  decodePool,
  IP_BLOCKS,
  IP_POOLS,
  type KubernetesObject,
  listAll,
  patchObject,
  updateStatus,
} from "@weft/cluster/client";
import {
  anonymous,
  createFaultProxy,
  type Fault,
  type FaultProxy,
  type Rates,
} from "@weft/cluster/client/testing";
import { registerDefinitions } from "@weft/cluster/definitions";
import { ApiServer } from "@weft/cluster/server";
import type { PoolApi } from "@weft/ipam";
import type { Snapshot } from "@weft/ipam/pools/testing";
import type { IpPool } from "@weft/model";

const QUICK = { rateLimit: { qps: 100_000, burst: 100_000 }, backoff: { first: 5, cap: 50 } };

export class PoolServer {
  readonly #directory: string;
  readonly server: ApiServer;
  /** Straight to the server, past all faults. */
  readonly client: ApiClient;
  readonly proxy: FaultProxy;
  readonly #clients: ApiClient[] = [];

  static async start(options: { seed?: number } = {}): Promise<PoolServer> {
    const directory = mkdtempSync(join(tmpdir(), "weft-pool-server-"));
    const server = await ApiServer.start({ file: join(directory, "weft.db"), logger: silentLogger });
    await registerDefinitions((request) => server.handle(request));
    const proxy = await createFaultProxy({ target: server, ...options });
    return new PoolServer(directory, server, proxy);
  }

  private constructor(directory: string, server: ApiServer, proxy: FaultProxy) {
    this.#directory = directory;
    this.server = server;
    this.proxy = proxy;
    this.client = createClient({
      credentials: anonymous("http://server"),
      fetch: (url, init) => server.handle(new Request(url, { ...init, signal: null })),
      ...QUICK,
    });
  }

  /** A client of its own through the proxy of faults. */
  through(): ApiClient {
    const client = createClient({ credentials: this.proxy.credentials, ...QUICK });
    this.#clients.push(client);
    return client;
  }

  api(timeout = 3_000): PoolApi {
    return createPoolsApi(this.through(), timeout);
  }

  faults(rates: Rates<Fault>): void {
    this.proxy.set(rates);
  }

  async makePool(name: string, cidr: string, blockSize: number): Promise<IpPool> {
    const made = await createObject<KubernetesObject>(this.client, IP_POOLS, {
      metadata: { name },
      spec: { cidr, blockSize },
    });
    const conditions = [
      {
        type: "Ready",
        status: "True",
        reason: "Accepted",
        message: "for the test",
        lastTransitionTime: new Date().toISOString(),
      },
    ];
    const ready = await updateStatus(this.client, IP_POOLS, {
      ...made,
      status: { cidr, blockSize, conditions },
    });
    return decodePool(ready);
  }

  async disable(name: string): Promise<void> {
    await patchObject(this.client, IP_POOLS, { name }, "merge", { spec: { disabled: true } });
  }

  async snapshot(): Promise<Snapshot> {
    const pools = await listAll(this.client, IP_POOLS);
    const blocks = await listAll(this.client, IP_BLOCKS);
    return { pools: pools.map(decodePool), blocks: blocks.map((b) => decodeBlock(b)) };
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.proxy.stop();
    await this.server.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
