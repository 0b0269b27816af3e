import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { configMap, MAPS, PODS_PATH, pod, TestApi } from "../testing/api.ts";
import { type ApiObject, items, type Mapping } from "../values.ts";

let api: TestApi;
beforeEach(async () => {
  api = await TestApi.start();
});
afterEach(() => api.remove());

const owner = ({ apiVersion, kind, metadata }: ApiObject, more: Mapping = {}): Mapping => {
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, ...more };
};
const owned = (name: string, ...owners: Mapping[]): Mapping =>
  configMap(name, {}, { ownerReferences: owners });
const isThere = async (path: string): Promise<boolean> => (await api.get(path)).status === 200;
const left = async (): Promise<string[]> => {
  await api.server.settled();
  return (items((await api.get(MAPS)).body["items"]) as ApiObject[]).map(({ metadata }) => metadata.name);
};
const made = async (object: Mapping): Promise<ApiObject> => (await api.post(MAPS, object)).body;

describe("dependents", () => {
  test("go after the last of their owners, over several steps", async () => {
    const [a, b] = [await made(configMap("a")), await made(configMap("b"))];
    const child = await made(owned("child", owner(a)));
    await made(owned("grandchild", owner(child)));
    await made(owned("both", owner(a), owner(b)));
    await api.delete(`${MAPS}/a`);
    expect(await left()).toEqual(["b", "both"]);
    // What is left names only the owner that is.
    expect((await api.get(`${MAPS}/both`)).body.metadata.ownerReferences).toEqual([owner(b)] as never);
    await api.delete(`${MAPS}/b`);
    expect(await left()).toEqual([]);
  });

  test("of an owner that never was, or was another one, go too", async () => {
    const a = await made(configMap("a"));
    await made(owned("wrong", owner(a, { uid: "other" })));
    await made(owned("absent", { apiVersion: "v1", kind: "ConfigMap", name: "nope", uid: "u" }));
    await made(owned("foreign", { apiVersion: "example.com/v1", kind: "Unknown", name: "x", uid: "u" }));
    expect(await left()).toEqual(["a", "foreign"]);
  });

  test("are let go with Orphan", async () => {
    const a = await made(configMap("a"));
    await made(owned("child", owner(a)));
    await api.delete(`${MAPS}/a`, { propagationPolicy: "Orphan" });
    expect(await left()).toEqual(["child"]);
    expect((await api.get(`${MAPS}/child`)).body.metadata.ownerReferences).toBeUndefined();
  });

  test("go first with Foreground, as far as they block", async () => {
    const a = await made(configMap("a"));
    await made(
      configMap(
        "slow",
        {},
        { ownerReferences: [owner(a, { blockOwnerDeletion: true })], finalizers: ["x.io/wait"] },
      ),
    );
    const { body } = await api.delete(`${MAPS}/a`, { propagationPolicy: "Foreground" });
    expect(body.metadata.finalizers).toEqual(["foregroundDeletion"]);
    expect(await left()).toEqual(["a", "slow"]);
    await api.patch(`${MAPS}/slow`, "merge", { metadata: { finalizers: null } });
    expect(await left()).toEqual([]);
  });

  test("go with Foreground also where none of them blocks", async () => {
    const a = await made(configMap("a"));
    for (const name of ["one", "two"]) {
      const child = await made(owned(name, owner(a)));
      await made(owned(`${name}-child`, owner(child)));
    }
    await api.delete(`${MAPS}/a`, { propagationPolicy: "Foreground" });
    expect(await left()).toEqual([]);
  });

  test("that come to an owner after it has gone go too, as do those that had others", async () => {
    const [a, b] = [await made(configMap("a")), await made(configMap("b"))];
    await made(configMap("late"));
    await made(owned("moved", owner(b)));
    await api.delete(`${MAPS}/a`);
    expect(await left()).toEqual(["b", "late", "moved"]);
    for (const name of ["late", "moved"]) {
      await api.patch(`${MAPS}/${name}`, "merge", { metadata: { ownerReferences: [owner(a)] } });
    }
    expect(await left()).toEqual(["b"]);
  });

  test("that are let go by others hold up no owner that waits for them", async () => {
    const [a, b] = [await made(configMap("a")), await made(configMap("b"))];
    const waiting = { finalizers: ["x.io/wait"] };
    const blocking = (o: ApiObject): Mapping => ({
      ownerReferences: [owner(o, { blockOwnerDeletion: true })],
      ...waiting,
    });
    await made(configMap("released", {}, blocking(a)));
    await made(configMap("yielding", {}, blocking(b)));
    for (const name of ["a", "b"]) await api.delete(`${MAPS}/${name}`, { propagationPolicy: "Foreground" });
    expect(await left()).toEqual(["a", "b", "released", "yielding"]);
    await api.patch(`${MAPS}/released`, "merge", { metadata: { ownerReferences: null } });
    await api.patch(`${MAPS}/yielding`, "merge", { metadata: { ownerReferences: [owner(b)] } });
    expect(await left()).toEqual(["released", "yielding"]);
  });

  test("of what was deleted before a restart go after it", async () => {
    const a = await made(configMap("a"));
    await made(owned("child", owner(a)));
    await api.delete(`${MAPS}/a`);
    await api.stop();
    await api.start();
    expect(await left()).toEqual([]);
  });
});

describe("a namespace", () => {
  const path = "/api/v1/namespaces/gone";
  beforeEach(async () => {
    await api.post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "gone" } });
  });

  test("goes with its content, and nothing new comes meanwhile", async () => {
    for (let i = 0; i < 30; i++) await api.post(`${path}/configmaps`, configMap(`m${i}`));
    await api.post(`${path}/configmaps`, configMap("held", {}, { finalizers: ["x.io/wait"] }));
    await api.post(`${path}/pods`, pod("p"));
    const { body } = await api.delete(path);
    expect(body).toMatchObject({ status: { phase: "Terminating" }, spec: { finalizers: ["kubernetes"] } });
    const refused = await api.post(`${path}/configmaps`, configMap("late"));
    expect(refused.body).toMatchObject({ code: 403, reason: "Forbidden" });
    expect(String(refused.body["message"])).toContain("is being terminated");
    await api.server.settled();
    expect(await isThere(path)).toBe(true);
    await api.patch(`${path}/configmaps/held`, "merge", { metadata: { finalizers: [] } });
    await api.server.settled();
    expect(await isThere(path)).toBe(false);
    expect(items((await api.get("/api/v1/pods")).body["items"])).toEqual([]);
  });

  test("whose deletion a restart interrupts", async () => {
    await api.post(`${path}/pods`, pod("p", { nodeName: "n" }));
    await api.delete(path);
    await api.stop();
    await api.start();
    await api.server.settled();
    expect(await isThere(path)).toBe(true);
    await api.delete(`${path}/pods/p`, { gracePeriodSeconds: 0 });
    await api.server.settled();
    expect(await isThere(path)).toBe(false);
  });
});

test("old events are forgotten, others not", async () => {
  const { forgetEvents } = await import("./housekeeping.ts");
  const event = (name: string): Mapping => ({
    apiVersion: "v1",
    kind: "Event",
    metadata: { name, namespace: "default" },
    involvedObject: { kind: "Pod", name: "p" },
  });
  await api.post("/api/v1/namespaces/default/events", event("old"));
  api.clock += 3_600_001;
  await api.post("/api/v1/namespaces/default/events", event("new"));
  await forgetEvents(api.server.store, api.clock - 3_600_000);
  const { body } = await api.get("/api/v1/namespaces/default/events");
  expect((items(body["items"]) as ApiObject[]).map(({ metadata }) => metadata.name)).toEqual(["new"]);
  expect(await isThere(PODS_PATH)).toBe(true);
});
