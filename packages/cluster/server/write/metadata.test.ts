/** What of an object's metadata a write keeps, takes and shows. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { configMap, MAPS, PODS_PATH, pod, TestApi } from "../testing/api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

const MARKS = { labels: { a: "1" }, annotations: { b: "2" }, finalizers: ["example.com/keep"] };

describe("a write to the status", () => {
  test("takes labels, annotations and finalizers with it, and nothing else", async () => {
    const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } };
    await api.post("/api/v1/nodes", node);
    const { body } = await api.patch("/api/v1/nodes/n1/status", "merge", {
      metadata: { ...MARKS, ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "x", uid: "y" }] },
      spec: { unschedulable: true },
      status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
    });
    expect(body.metadata).toMatchObject(MARKS);
    expect(body.metadata.ownerReferences).toBeUndefined();
    expect(body["spec"]).toEqual({});
    expect((await api.get("/api/v1/nodes/n1")).body).toEqual(body);
  });

  test("that takes the last finalizer of a deleted object away ends it", async () => {
    await api.post(PODS_PATH, pod("ending", {}, { finalizers: MARKS.finalizers }));
    await api.delete(`${PODS_PATH}/ending`);
    expect((await api.get(`${PODS_PATH}/ending`)).status).toBe(200);
    await api.patch(`${PODS_PATH}/ending/status`, "merge", { metadata: { finalizers: null } });
    expect((await api.get(`${PODS_PATH}/ending`)).status).toBe(404);
  });
});

describe("empty labels and annotations", () => {
  test("are the same as none", async () => {
    const { body } = await api.post(MAPS, configMap("bare", {}, { labels: {}, annotations: {} }));
    expect(body.metadata).not.toHaveProperty("labels");
    expect(body.metadata).not.toHaveProperty("annotations");
    const again = await api.put(`${MAPS}/bare`, {
      ...body,
      metadata: { ...body.metadata, annotations: {}, finalizers: [] },
    });
    expect(again.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion as string);
  });
});

describe("a dry run", () => {
  test("shows the version of what is there", async () => {
    const dry = await api.post(`${MAPS}?dryRun=All`, configMap("shown"));
    expect(dry.body.metadata).not.toHaveProperty("resourceVersion");
    const { body } = await api.post(MAPS, configMap("shown"));
    const changed = await api.put(`${MAPS}/shown?dryRun=All`, { ...body, data: { a: "1" } });
    expect(changed.body["data"]).toEqual({ a: "1" });
    expect(changed.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion as string);
  });
});

describe("namespaces that a cluster begins with", () => {
  test.each(["default", "kube-system", "kube-public"])("%s is not deleted", async (name) => {
    expect((await api.delete(`/api/v1/namespaces/${name}`)).body).toMatchObject({
      code: 403,
      reason: "Forbidden",
      message: `namespaces "${name}" is forbidden: this namespace may not be deleted`,
    });
    expect((await api.get(`/api/v1/namespaces/${name}`)).body["status"]).toEqual({ phase: "Active" });
  });

  test("nor are all at once", async () => {
    expect((await api.delete("/api/v1/namespaces")).status).toBe(405);
    const { body } = await api.get("/api/v1");
    const namespaces = (body["resources"] as { name: string; verbs: string[] }[]).find(
      ({ name }) => name === "namespaces",
    );
    expect(namespaces?.verbs).not.toContain("deletecollection");
  });
});
