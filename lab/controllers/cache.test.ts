/** The cache against the real API server: what answers and events tell, in whatever order they come. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { silentLogger, systemClock } from "@weft/base";
import { type ApiClient, type ApiRequest, PODS } from "@weft/cluster/client";
import { Cache } from "./cache.ts";
import type { PodObject } from "./objects.ts";
import { startCluster, type TestCluster } from "./testing/cluster.ts";

const PATH = "/api/v1/namespaces/default/pods";
let cluster: TestCluster;
let cache: Cache<PodObject>;
const told: string[] = [];

beforeAll(async () => {
  cluster = await startCluster();
  cache = new Cache<PodObject>(PODS, { client: cluster.client, clock: systemClock, logger: silentLogger });
  cache.listen((before, after) =>
    told.push(`${before?.metadata.name ?? "-"} ${after?.metadata.name ?? "-"}`),
  );
  await cache.start();
});
afterAll(async () => {
  await cache.stop();
  await cluster.stop();
});

const make = (name: string): Promise<PodObject> =>
  cluster.request<PodObject>("POST", PATH, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    // Nobody gives it a node: it goes at once when it is deleted.
    spec: { schedulerName: "nobody", containers: [{ name: "c", image: "x" }] },
  });
const label = (name: string, n: string): Promise<PodObject> =>
  cluster.request<PodObject>("PATCH", `${PATH}/${name}`, { metadata: { labels: { n } } });

test("an answer counts at once, and its event is no news", async () => {
  cache.put(await make("a"));
  expect(cache.get("default/a")?.metadata.name).toBe("a");
  const last = await make("b");
  await cluster.until("b is told", () => cache.get("default/b"));
  expect(told).toEqual(["- a", "- b"]);
  expect(cache.inNamespace("default").map((p) => p.metadata.name)).toEqual(["a", "b"]);
  expect(cache.get("default/b")).toEqual(last);
});

test("of two versions the newer one counts", async () => {
  const older = await label("a", "1");
  cache.put(await label("a", "2"));
  cache.put(older);
  expect(cache.get("default/a")?.metadata.labels).toEqual({ n: "2" });
});

test("a late answer does not bring back what is gone, nor does a late event what we removed", async () => {
  const answer = await label("a", "3");
  await cluster.request("DELETE", `${PATH}/a`);
  await cluster.until("it is told", () => cache.get("default/a") === undefined);
  cache.put(answer);
  expect(cache.get("default/a")).toBeUndefined();

  const b = await label("b", "1");
  await cluster.request("DELETE", `${PATH}/b`);
  cache.remove(b);
  expect(cache.get("default/b")).toBeUndefined();
  // Another one of the same name is another one.
  cache.put(await make("b"));
  expect(cache.get("default/b")?.metadata.uid).not.toBe(b.metadata.uid);
  await make("c");
  await cluster.until("all is told", () => cache.get("default/c"));
  expect(
    cache
      .all()
      .map((p) => p.metadata.name)
      .sort(),
  ).toEqual(["b", "c"]);
});

test("what is assumed gives way to what is told", async () => {
  const pod = cache.get("default/c") as PodObject;
  cache.assume({ ...pod, spec: { ...pod.spec, nodeName: "node1" } });
  expect(cache.get("default/c")?.spec.nodeName).toBe("node1");
  cache.put(await label("c", "1"));
  expect(cache.get("default/c")?.spec.nodeName).toBeUndefined();
  // Too late: the watch has told more since.
  cache.assume({ ...pod, spec: { ...pod.spec, nodeName: "node1" } });
  expect(cache.get("default/c")?.spec.nodeName).toBeUndefined();
});

test("what is made while the first list is on its way stays, and what the list no longer has goes", async () => {
  const gone = await make("gone");
  const { client } = cluster;
  const listed = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const slow: ApiClient = {
    server: client.server,
    namespace: client.namespace,
    close() {},
    stream: (request) => client.stream(request),
    asked: (request) => client.asked(request),
    request: async <T>(request: ApiRequest): Promise<T> => {
      const answer = await client.request<T>(request);
      listed.resolve();
      await release.promise;
      return answer;
    },
  };
  await cluster.request("DELETE", `${PATH}/gone`);
  const late = new Cache<PodObject>(PODS, { client: slow, clock: systemClock, logger: silentLogger });
  const ready = late.start();
  await listed.promise;
  late.put(gone);
  late.put(await make("made"));
  release.resolve();
  await ready;
  try {
    expect(late.get("default/gone")).toBeUndefined();
    expect(late.get("default/made")?.metadata.name).toBe("made");
    // And its events count.
    await label("made", "1");
    await cluster.until("the event is told", () => late.get("default/made")?.metadata.labels?.["n"] === "1");
  } finally {
    await late.stop();
  }
});

test("an answer that comes after a list which is newer does not bring back what has gone before", async () => {
  const answer = await make("short");
  await cluster.request("DELETE", `${PATH}/short`);
  const { client } = cluster;
  const late = new Cache<PodObject>(PODS, { client, clock: systemClock, logger: silentLogger });
  await late.start();
  try {
    late.put(answer);
    expect(late.get("default/short")).toBeUndefined();
    late.put(await make("short"));
    expect(late.get("default/short")?.metadata.uid).not.toBe(answer.metadata.uid);
  } finally {
    await late.stop();
  }
});
