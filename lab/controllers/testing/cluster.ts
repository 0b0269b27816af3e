/** Controllers on the real API server, in this process, with something that plays kubelet: no nodes, no packets. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, silentLogger, systemClock } from "@weft/base";
import { type ApiClient, createClient, createEventRecorder, PODS } from "@weft/cluster/client";
import { ApiServer } from "@weft/cluster/server";
import { apply } from "../apply.ts";
import { Controllers } from "../index.ts";
import { keyOf, type PodObject, timestamp } from "../objects.ts";

export interface TestCluster {
  readonly client: ApiClient;
  readonly controllers: Controllers;
  /** Milliseconds until a pod that was bound is ready. */
  readyAfter: number;
  /** Pods whose image has this word never become ready. */
  broken: string;
  request<T>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T>;
  until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T>;
  stop(): Promise<void>;
}

const SERVER = "http://server";

/** `clock` is the controllers'. */
export async function startCluster(clock: Clock = systemClock): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), "weft-controllers-"));
  const server = await ApiServer.start({ file: join(directory, "weft.db"), logger: silentLogger });
  const client = createClient({
    credentials: {
      server: SERVER,
      namespace: "default",
      source: "test",
      trust: () => ({ ca: undefined, caSource: "test", serverName: undefined, insecure: true }),
      identity: async () => ({ headers: [], certificate: undefined, source: "test" }),
      refused() {},
    },
    rateLimit: { qps: 10_000, burst: 10_000 },
    fetch: (url, init) => server.handle(new Request(url, init as RequestInit)),
  });
  const recorder = createEventRecorder({ client, controller: "test", instance: "test", byNote: true });
  const controllers = new Controllers({ client, recorder, clock, logger: silentLogger });
  const cluster: TestCluster = {
    client,
    controllers,
    readyAfter: 5,
    broken: "broken",
    async request<T>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown) {
      const contentType = method === "PATCH" ? "application/merge-patch+json" : "application/json";
      return client.request<T>({ method, path, contentType, ...(body === undefined ? {} : { body }) });
    },
    async until(what, look) {
      for (let i = 0; i < 6000; i++) {
        const seen = await look();
        if (seen !== undefined && seen !== false) return seen;
        await Bun.sleep(10);
      }
      throw new Error(`never: ${what}`);
    },
    async stop() {
      stopped = true;
      await controllers.stop();
      await recorder.stop();
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  let stopped = false;
  controllers.pods.listen((_, after) => {
    if (after !== undefined && !stopped) void play(cluster, after.metadata, () => stopped);
  });
  await controllers.start();
  controllers.startScheduling();
  return cluster;
}

/** What a kubelet would do next. */
async function play(
  { controllers, client, ...cluster }: TestCluster,
  metadata: PodObject["metadata"],
  isStopped: () => boolean,
): Promise<void> {
  const seen = controllers.pods.get(keyOf(metadata));
  if (seen === undefined || (seen.spec.nodeName ?? "") === "") return;
  await Bun.sleep(cluster.readyAfter);
  const pod = controllers.pods.get(keyOf(metadata));
  if (pod === undefined || isStopped()) return;
  try {
    if (pod.metadata.deletionTimestamp !== undefined) {
      await apply([{ verb: "delete", kind: PODS, object: pod, graceSeconds: 0 }], controllers);
      return;
    }
    const isBroken = pod.spec.containers.some(({ image }) => image.includes(cluster.broken));
    if (pod.status?.phase === "Running") return;
    const conditions = [
      ...(pod.status?.conditions ?? []),
      { type: "Ready", status: isBroken ? "False" : "True", lastTransitionTime: timestamp(Date.now()) },
    ];
    const status = {
      ...pod.status,
      phase: "Running",
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }],
      conditions,
    };
    await apply([{ verb: "status", kind: PODS, object: { ...pod, status } }], controllers);
  } catch {
    // Somebody was first: what the watch tells comes here again.
  }
}
