import { afterEach, describe, expect, test } from "bun:test";
import { hasCode, isExists, isInvalid } from "@weft/base";
import {
  applyObject,
  createObject,
  deleteObject,
  EVENTS,
  getObject,
  type KubernetesObject,
  LEASES,
  NODES,
  type PatchType,
  PODS,
  patchObject,
  pathOf,
  updateObject,
  updateStatus,
  updateWithRetry,
} from "./index.ts";
import { FakeApi } from "./testing/fake-api.ts";
import { rejection, serveApi } from "./testing/setup.ts";

const stops: (() => unknown)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function setup() {
  const api = new FakeApi();
  const { client, stop } = await serveApi(api);
  stops.push(stop);
  const last = () => api.calls.at(-1)!;
  return { api, client, last };
}

const node = (extra: object = {}): KubernetesObject => ({ metadata: { name: "n" }, ...extra });
const N = { name: "n" };

test("paths", () => {
  expect(pathOf(NODES)).toBe("/api/v1/nodes");
  expect(pathOf(PODS, { namespace: "a", name: "b", subresource: "status" })).toBe(
    "/api/v1/namespaces/a/pods/b/status",
  );
  expect(pathOf(LEASES, { namespace: "a" })).toBe("/apis/coordination.k8s.io/v1/namespaces/a/leases");
  expect(pathOf(EVENTS)).toBe("/apis/events.k8s.io/v1/events");
  expect(pathOf(NODES, { name: "system:a b" })).toBe("/api/v1/nodes/system%3Aa%20b");
  for (const name of ["", ".", "..", "a/b", "a%2fb"])
    expect(() => pathOf(NODES, { name })).toThrow("part of a path");
  expect(() => pathOf(NODES, { namespace: "a" })).toThrow("have no namespace");
  expect(() => pathOf(PODS, { name: "a" })).toThrow("none is given");
});

describe("writes", () => {
  test("create, read, update, delete", async () => {
    const { client, api, last } = await setup();
    const made = await createObject(client, NODES, node({ spec: { a: 1 } }), { fieldManager: "weft" });
    expect(made).toMatchObject({ apiVersion: "v1", kind: "Node", spec: { a: 1 } });
    expect(last().query.get("fieldManager")).toBe("weft");
    expect(isExists(await rejection(createObject(client, NODES, node())))).toBe(true);
    const next = await updateObject(client, NODES, { ...made, spec: { a: 2 } });
    expect(next["spec"]).toEqual({ a: 2 });
    expect(hasCode(await rejection(updateObject(client, NODES, made)), "conflict")).toBe(true);
    expect(hasCode(await rejection(deleteObject(client, NODES, N, { uid: "other" })), "conflict")).toBe(true);
    await deleteObject(client, NODES, N, { uid: next.metadata.uid!, propagationPolicy: "Background" });
    expect(last().body).toMatchObject({ kind: "DeleteOptions", propagationPolicy: "Background" });
    await deleteObject(client, NODES, N);
    expect(api.objects("/api/v1/nodes")).toEqual([]);
    expect(hasCode(await rejection(getObject(client, NODES, N)), "not-found")).toBe(true);
  });

  test("the status has a path of its own", async () => {
    const { client, api, last } = await setup();
    api.put("/api/v1/nodes", node({ spec: { a: 1 } }));
    await updateStatus(client, NODES, node({ spec: { a: 9 }, status: { ready: true } }));
    expect(last().path).toBe("/api/v1/nodes/n/status");
    expect(api.objects("/api/v1/nodes")[0]).toMatchObject({ spec: { a: 1 }, status: { ready: true } });
  });

  test("each kind of patch has its media type", async () => {
    const { client, api, last } = await setup();
    api.put("/api/v1/nodes", node({ spec: { a: 1, b: 2 } }));
    const types: [PatchType, unknown, string][] = [
      ["merge", { spec: { b: null } }, "application/merge-patch+json"],
      ["strategic", { spec: { c: 3 } }, "application/strategic-merge-patch+json"],
      ["json", [{ op: "replace", path: "/spec/a", value: 5 }], "application/json-patch+json"],
    ];
    for (const [type, patch, mediaType] of types) {
      await patchObject(client, NODES, N, type, patch);
      expect(last().headers.get("content-type")).toBe(mediaType);
    }
    expect(api.objects("/api/v1/nodes")[0]!["spec"]).toEqual({ a: 5, c: 3 });
  });

  test("server-side apply makes what is not there, and needs a manager", async () => {
    const { client, api, last } = await setup();
    await applyObject(client, NODES, node({ spec: { a: 1 } }), { fieldManager: "weft", force: true });
    expect(last().headers.get("content-type")).toBe("application/apply-patch+yaml");
    expect(Object.fromEntries(last().query)).toEqual({ fieldManager: "weft", force: "true" });
    expect(last().body).toMatchObject({ apiVersion: "v1", kind: "Node" });
    expect(api.objects("/api/v1/nodes")).toHaveLength(1);
    expect(() => patchObject(client, NODES, N, "apply", {})).toThrow("without a fieldManager");
  });

  test("a dry run keeps nothing", async () => {
    const { client, api } = await setup();
    api.put("/api/v1/nodes", node({ spec: { a: 1 } }));
    await patchObject(client, NODES, N, "merge", { spec: { a: 2 } }, { dryRun: true });
    expect(api.objects("/api/v1/nodes")[0]!["spec"]).toEqual({ a: 1 });
  });
});

describe("updateWithRetry", () => {
  const counter = (object: KubernetesObject) => ({ ...object, count: Number(object["count"] ?? 0) + 1 });

  test("nothing is lost among many who count at once", async () => {
    const { client, api } = await setup();
    api.put("/api/v1/nodes", node());
    const one = async () => {
      for (;;) {
        const failed = await updateWithRetry(client, NODES, N, counter).catch((e: unknown) => e);
        if (!hasCode(failed, "conflict")) return;
      }
    };
    await Promise.all(Array.from({ length: 10 }, one));
    expect(api.objects("/api/v1/nodes")[0]!["count"]).toBe(10);
  });

  test("undefined leaves it; five conflicts are enough", async () => {
    const { client, api } = await setup();
    api.put("/api/v1/nodes", node());
    const { version } = api;
    expect((await updateWithRetry(client, NODES, N, () => undefined)).metadata.name).toBe("n");
    expect(api.version).toBe(version);
    let tries = 0;
    const spoilt = updateWithRetry(client, NODES, N, (object) => {
      tries++;
      api.put("/api/v1/nodes", node({ count: tries }));
      return object;
    });
    expect(hasCode(await rejection(spoilt), "conflict")).toBe(true);
    expect(tries).toBe(5);
    expect(
      isInvalid(await rejection(updateWithRetry(client, PODS, N, counter).catch((e) => Promise.reject(e)))),
    ).toBe(true);
  });
});
