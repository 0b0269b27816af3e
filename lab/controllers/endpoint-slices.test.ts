import { describe, expect, test } from "bun:test";
import { MANAGER, reconcileEndpointSlices } from "./endpoint-slices.ts";
import type { EndpointSliceObject, PodObject, ServiceObject } from "./objects.ts";
import { startCluster } from "./testing/cluster.ts";
import { node, pod, service } from "./testing/objects.ts";

const labels = { app: "web" };
const NODES = new Map([["node1", node("node1", { labels: { "topology.kubernetes.io/zone": "rack1" } })]]);
const at = (name: string, ip: string, more: Parameters<typeof pod>[1] = {}): PodObject =>
  pod(name, { labels, node: "node1", ips: [ip], ...more });

/** Applies the writes to the slices, as a server would. */
function slicesOf(
  of: ServiceObject | undefined,
  pods: readonly PodObject[],
  before: readonly EndpointSliceObject[] = [],
): EndpointSliceObject[] {
  const slices = new Map(before.map((s) => [s.metadata.name, s]));
  for (const write of reconcileEndpointSlices(of, pods, NODES, before).writes) {
    if (write.verb === "event" || write.verb === "bind") continue;
    const object = write.object as EndpointSliceObject;
    const name = object.metadata.name ?? `s${slices.size}-${Math.random()}`;
    if (write.verb === "delete") slices.delete(name);
    else slices.set(name, { ...object, metadata: { ...object.metadata, name } });
  }
  return [...slices.values()];
}
const addresses = (slices: readonly EndpointSliceObject[]): string[] =>
  slices
    .flatMap((s) => s.endpoints ?? [])
    .flatMap((e) => e.addresses)
    .sort();

test("an endpoint says what a proxy needs", () => {
  const [slice] = slicesOf(service(), [at("a", "10.0.0.1")]);
  expect(slice).toMatchObject({
    metadata: {
      labels: {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": MANAGER,
      },
      ownerReferences: [{ kind: "Service", name: "web", uid: "uid-svc" }],
    },
    addressType: "IPv4",
    ports: [{ name: "", port: 8080, protocol: "TCP" }],
    endpoints: [
      {
        addresses: ["10.0.0.1"],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: "node1",
        zone: "rack1",
        targetRef: { kind: "Pod", name: "a", namespace: "default", uid: "uid-a" },
      },
    ],
  });
});

describe("conditions", () => {
  test.each([
    ["ready", {}, {}, [true, true, false]],
    ["not ready", { ready: false }, {}, [false, false, false]],
    [
      "not ready, published all the same",
      { ready: false },
      { publishNotReadyAddresses: true },
      [true, false, false],
    ],
    ["ending and serving", { deleting: true }, {}, [false, true, true]],
    ["ending", { deleting: true, ready: false }, {}, [false, false, true]],
  ] as const)("%s", (_, choice, spec, [ready, serving, terminating]) => {
    const [slice] = slicesOf(service(spec), [at("a", "10.0.0.1", choice)]);
    expect(slice?.endpoints?.[0]?.conditions).toEqual({ ready, serving, terminating });
  });

  test("what has ended, or has no address yet, is no endpoint", () => {
    const pods = [at("a", "10.0.0.1", { phase: "Succeeded" }), pod("b", { labels, node: "node1" })];
    expect(addresses(slicesOf(service(), pods))).toEqual([]);
  });
});

test("both families have slices of their own", () => {
  const pods = [at("a", "10.0.0.1", { ips: ["10.0.0.1", "fd00::1"] }), at("b", "10.0.0.2")];
  const slices = slicesOf(service({ ipFamilies: ["IPv6", "IPv4"] }), pods);
  expect(slices.map((s) => [s.addressType, addresses([s])])).toEqual([
    ["IPv6", ["fd00::1"]],
    ["IPv4", ["10.0.0.1", "10.0.0.2"]],
  ]);
});

test("a named port can be another number in each pod, and a pod without it has none", () => {
  const listens = (port: number) => ({
    spec: { containers: [{ name: "c", image: "x", ports: [{ name: "http", containerPort: port }] }] },
  });
  const pods = [at("a", "10.0.0.1", listens(80)), at("b", "10.0.0.2", listens(81)), at("c", "10.0.0.3")];
  const slices = slicesOf(service({ ports: [{ port: 80, targetPort: "http" }] }), pods);
  expect(slices.map((s) => [s.ports?.map((p) => p.port), addresses([s])])).toEqual([
    [[80], ["10.0.0.1"]],
    [[81], ["10.0.0.2"]],
    [[], ["10.0.0.3"]],
  ]);
});

test("a service nobody serves has one empty slice", () => {
  const empty = slicesOf(service(), []);
  expect(empty).toHaveLength(1);
  expect(reconcileEndpointSlices(service(), [], NODES, empty).writes).toEqual([]);
  const filled = slicesOf(service(), [at("a", "10.0.0.1")], empty);
  expect(filled.map((s) => s.ports?.length)).toEqual([1]);
  expect(slicesOf(service(), [], filled)).toHaveLength(1);
});

test("a headless service's slices say so, and follow its labels", () => {
  const headless = service({ clusterIP: "None" });
  const labelled = { ...headless, metadata: { ...headless.metadata, labels: { team: "a" } } };
  const [slice] = slicesOf(labelled, [at("a", "10.0.0.1")]);
  expect(slice?.metadata.labels).toMatchObject({ "service.kubernetes.io/headless": "", team: "a" });
  const [changed] = slicesOf(headless, [at("a", "10.0.0.1")], slice === undefined ? [] : [slice]);
  expect(changed?.metadata.labels).not.toHaveProperty("team");
});

test("at most a hundred a slice; who is in one stays there", () => {
  const many = Array.from({ length: 250 }, (_, i) => at(`p${i}`, `10.0.${i >> 8}.${i & 255}`));
  const slices = slicesOf(service(), many);
  expect(slices.map((s) => s.endpoints?.length)).toEqual([100, 100, 50]);
  const without = many.filter((p) => p.metadata.name !== "p7");
  const changed = reconcileEndpointSlices(service(), without, NODES, slices).writes;
  expect(changed).toHaveLength(1);
  const fewer = slicesOf(service(), many.slice(0, 3), slices);
  expect(addresses(fewer)).toEqual(["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
  expect(fewer.every((s) => (s.endpoints ?? []).length > 0)).toBe(true);
});

test("slices of others stay; ours go with the service, its selector, or its type", () => {
  const theirs: EndpointSliceObject = {
    metadata: { name: "by-hand", namespace: "default", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.1"] }],
  };
  const both = slicesOf(service(), [at("a", "10.0.0.1")], [theirs]);
  expect(both).toHaveLength(2);
  const { selector: _, ...unselective } = service().spec;
  const going = {
    ...service(),
    metadata: { ...service().metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
  };
  for (const other of [
    undefined,
    { ...service(), spec: unselective },
    service({ type: "ExternalName" }),
    going,
  ]) {
    expect(slicesOf(other, [at("a", "10.0.0.1")], both)).toEqual([theirs]);
  }
});

test("a slice that is taken from its service is made anew", async () => {
  const cluster = await startCluster();
  const path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  const slices = async (): Promise<EndpointSliceObject[]> => {
    const query = `?labelSelector=${encodeURIComponent("kubernetes.io/service-name=web")}`;
    return (await cluster.request<{ items: EndpointSliceObject[] }>("GET", path + query)).items;
  };
  try {
    await cluster.request("POST", "/api/v1/namespaces/default/services", {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web" },
      spec: { selector: labels, ports: [{ port: 80 }] },
    });
    const [first] = await cluster.until("it is made", async () => {
      const found = await slices();
      return found.length === 1 && found;
    });
    const taken = `${path}/${first?.metadata.name}`;
    await cluster.request("PATCH", taken, { metadata: { labels: { "kubernetes.io/service-name": null } } });
    await cluster.until("it is made anew", async () => (await slices()).length === 1);
  } finally {
    await cluster.stop();
  }
});
