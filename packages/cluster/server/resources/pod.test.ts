/** Pods between a client, a scheduler and a kubelet: binding, eviction, graceful deletion, defaults. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { PODS_PATH, pod, TestApi } from "../testing/api.ts";
import { at, items, type Mapping, mappings } from "../values.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

const binding = (name: string, node = "n1", metadata: Mapping = {}, target: Mapping = {}): Mapping => ({
  apiVersion: "v1",
  kind: "Binding",
  metadata: { name, ...metadata },
  target: { apiVersion: "v1", kind: "Node", name: node, ...target },
});
const bind = (name: string, node?: string, metadata?: Mapping) =>
  api.post(`${PODS_PATH}/${name}/binding`, binding(name, node, metadata));
const eviction = (name: string, deleteOptions?: Mapping): Mapping => ({
  apiVersion: "policy/v1",
  kind: "Eviction",
  metadata: { name, namespace: "default" },
  ...(deleteOptions === undefined ? {} : { deleteOptions }),
});

describe("a binding", () => {
  test("gives a pod its node, once", async () => {
    const made = await api.post(PODS_PATH, pod("b1"));
    const done = await bind("b1", "n1", { uid: made.body.metadata.uid, annotations: { a: "1" } });
    expect(done).toMatchObject({ status: 201, body: { kind: "Status", status: "Success" } });
    const { body } = await api.get(`${PODS_PATH}/b1`);
    expect(body).toMatchObject({
      metadata: { annotations: { a: "1" }, generation: 2 },
      spec: { nodeName: "n1" },
      status: {
        phase: "Pending",
        conditions: [{ type: "PodScheduled", status: "True", lastTransitionTime: "2026-01-02T03:04:05Z" }],
      },
    });
    expect((await bind("b1", "n2")).body).toMatchObject({
      code: 409,
      reason: "Conflict",
      message: 'Operation cannot be fulfilled on pods/binding "b1": pod b1 is already assigned to node "n1"',
    });
    expect((await api.get(`${PODS_PATH}/b1`)).body).toEqual(body);
  });

  test("at its old place names the pod in its body", async () => {
    await api.post(PODS_PATH, pod("b2"));
    const path = "/api/v1/namespaces/default/bindings";
    expect((await api.post(path, binding("b2"))).status).toBe(201);
    expect(at((await api.get(`${PODS_PATH}/b2`)).body, "spec", "nodeName")).toBe("n1");
    expect((await api.get(path)).status).toBe(405);
  });

  test("is of that very pod, and of one that stays and may be placed", async () => {
    await api.post(PODS_PATH, pod("b3"));
    expect((await bind("b3", "n1", { uid: "another" })).body).toMatchObject({ code: 409 });
    expect((await bind("b3", "n1", { resourceVersion: "1" })).body).toMatchObject({ code: 409 });
    expect((await bind("nobody")).body).toMatchObject({ code: 404, message: 'pods "nobody" not found' });
    await api.post(PODS_PATH, pod("b4", { schedulingGates: [{ name: "wait" }] }));
    expect(String((await bind("b4")).body["message"])).toContain("non-empty .spec.schedulingGates");
    await api.post(PODS_PATH, pod("b5", {}, { finalizers: ["example.com/x"] }));
    await api.delete(`${PODS_PATH}/b5`);
    expect(String((await bind("b5")).body["message"])).toContain("is being deleted");
    expect(at((await api.get(`${PODS_PATH}/b3`)).body, "spec", "nodeName")).toBeUndefined();
  });

  test.each<[string, unknown, number, string]>([
    ["no node", binding("b6", ""), 422, "target.name: Required value"],
    ["another kind of target", binding("b6", "n", {}, { kind: "Rack" }), 422, 'Unsupported value: "Rack"'],
    ["another pod", binding("other"), 400, "name in URL does not match"],
    ["another kind", { ...binding("b6"), kind: "Pod" }, 400, "must be of kind Binding"],
    ["a number for a name", binding("b6", 7 as never), 422, "must be of type string"],
    ["nothing", undefined, 400, "must be of kind Binding"],
  ])("with %s is refused", async (_, body, status, message) => {
    await api.post(PODS_PATH, pod("b6"));
    const { body: said } = await api.ask("POST", `${PODS_PATH}/b6/binding`, body);
    expect(said).toMatchObject({ code: status });
    expect(String(said["message"])).toContain(message);
  });

  test("tried only changes nothing", async () => {
    await api.post(PODS_PATH, pod("b7"));
    expect((await api.post(`${PODS_PATH}/b7/binding?dryRun=All`, binding("b7"))).status).toBe(201);
    expect(at((await api.get(`${PODS_PATH}/b7`)).body, "spec", "nodeName")).toBeUndefined();
    expect((await api.get(`${PODS_PATH}/b7/binding`)).status).toBe(405);
  });

  test("of many schedulers at once counts for one of them", async () => {
    await api.post(PODS_PATH, pod("b8"));
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => bind("b8", `n${i}`)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
  });
});

describe("a deletion", () => {
  test("of a pod without a node is over at once", async () => {
    await api.post(PODS_PATH, pod("d1"));
    expect((await api.delete(`${PODS_PATH}/d1`)).body).toMatchObject({ status: "Success" });
    expect((await api.get(`${PODS_PATH}/d1`)).status).toBe(404);
  });

  test("of a pod on a node waits for its kubelet", async () => {
    await api.post(PODS_PATH, pod("d2", { terminationGracePeriodSeconds: 12 }));
    await bind("d2");
    const marked = await api.delete(`${PODS_PATH}/d2`);
    expect(marked.body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 12,
      deletionTimestamp: "2026-01-02T03:04:17Z",
    });
    // Once more, and longer, changes nothing; shorter counts.
    expect((await api.delete(`${PODS_PATH}/d2`, { gracePeriodSeconds: 60 })).body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 12,
    });
    expect((await api.delete(`${PODS_PATH}/d2`, { gracePeriodSeconds: -1 })).body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 1,
    });
    // A kubelet that knew an earlier pod of this name must not end this one.
    const wrong = { gracePeriodSeconds: 0, preconditions: { uid: "earlier" } };
    expect((await api.delete(`${PODS_PATH}/d2`, wrong)).status).toBe(409);
    const right = { gracePeriodSeconds: 0, preconditions: { uid: marked.body.metadata.uid } };
    expect((await api.delete(`${PODS_PATH}/d2`, right)).body).toMatchObject({ status: "Success" });
    expect((await api.get(`${PODS_PATH}/d2`)).status).toBe(404);
  });

  test("of a pod that has ended is over at once", async () => {
    await api.post(PODS_PATH, pod("d3", { nodeName: "n1" }));
    await api.patch(`${PODS_PATH}/d3/status`, "merge", { status: { phase: "Succeeded" } });
    expect((await api.delete(`${PODS_PATH}/d3`)).body).toMatchObject({ status: "Success" });
  });
});

describe("an eviction", () => {
  test("deletes as its options say", async () => {
    await api.post(PODS_PATH, pod("e1", { nodeName: "n1" }));
    const evict = (body: Mapping) => api.post(`${PODS_PATH}/e1/eviction`, body);
    expect((await evict(eviction("e1", { preconditions: { uid: "other" } }))).status).toBe(409);
    expect((await evict(eviction("e1", { dryRun: ["All"] }))).status).toBe(201);
    expect((await api.get(`${PODS_PATH}/e1`)).body.metadata.deletionTimestamp).toBeUndefined();
    expect((await evict(eviction("e1", { gracePeriodSeconds: 5 }))).body).toMatchObject({
      status: "Success",
    });
    expect((await api.get(`${PODS_PATH}/e1`)).body.metadata.deletionGracePeriodSeconds).toBe(5);
    expect((await evict(eviction("e1", { gracePeriodSeconds: 0 }))).status).toBe(201);
    expect((await evict(eviction("e1"))).status).toBe(404);
    expect((await evict({ ...eviction("e1"), apiVersion: "policy/v1beta1" })).status).toBe(400);
  });

  test("and bindings are in discovery", async () => {
    const { body } = await api.get("/api/v1");
    const found = mappings(body["resources"]).filter(({ name }) => /^pods\/[be]/.test(String(name)));
    expect(found).toMatchObject([
      { name: "pods/binding", kind: "Binding", verbs: ["create"] },
      { name: "pods/eviction", kind: "Eviction", group: "policy", version: "v1", verbs: ["create"] },
    ]);
  });
});

describe("a new pod", () => {
  test("has the defaults that clients read", async () => {
    const { body } = await api.post(
      PODS_PATH,
      pod("p1", {
        containers: [
          {
            name: "c",
            image: "example/image:1",
            env: [{ name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
            resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "500m" } },
            lifecycle: { preStop: { httpGet: { port: 80 } } },
            readinessProbe: { httpGet: { port: 80 } },
            livenessProbe: { grpc: { port: 81 } },
          },
        ],
        volumes: [{ name: "h", hostPath: { path: "/x" } }, { name: "e" }],
      }),
    );
    expect(body["spec"]).toMatchObject({
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      schedulerName: "default-scheduler",
      securityContext: {},
      volumes: [{ hostPath: { type: "" } }, { emptyDir: {} }],
      containers: [
        {
          env: [{ valueFrom: { fieldRef: { apiVersion: "v1" } } }],
          resources: { requests: { cpu: "500m", memory: "1Gi" } },
          lifecycle: { preStop: { httpGet: { path: "/", scheme: "HTTP" } } },
          readinessProbe: { periodSeconds: 10, timeoutSeconds: 1, successThreshold: 1, failureThreshold: 3 },
          livenessProbe: { grpc: { service: "" } },
        },
      ],
    });
    expect(body["status"]).toEqual({ phase: "Pending", qosClass: "Burstable" });
  });

  test("is found by node, phase and name, also by those who watch", async () => {
    await api.post(PODS_PATH, pod("f1", { nodeName: "only" }));
    const query = "fieldSelector=spec.nodeName%3Donly,status.phase%3DPending,metadata.name%3Df1";
    const names = async (q: string): Promise<unknown[]> =>
      mappings((await api.get(`/api/v1/pods?${q}`)).body["items"]).map((o) => at(o, "metadata", "name"));
    expect(await names(query)).toEqual(["f1"]);
    const watch = await api.watch("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Donly2");
    await api.post(PODS_PATH, pod("f2"));
    await bind("f2", "only2");
    // It was there before, but is new to who looks at that node.
    const [event] = await watch.take(1);
    expect(event).toMatchObject({ type: "ADDED", object: { metadata: { name: "f2" } } });
    await watch.stop();
    expect(await names("fieldSelector=spec.nodeName%3Donly2")).toEqual(["f2"]);
  });
});

test("a collection of more objects than may wait to be written is deleted whole", async () => {
  const path = "/api/v1/namespaces/many/configmaps";
  await api.post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "many" } });
  const make = (i: number): Promise<unknown> =>
    api.post(path, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `m${i}` } });
  for (let i = 0; i < 5500; i += 500) await Promise.all(Array.from({ length: 500 }, (_, j) => make(i + j)));
  const { status, body } = await api.delete(path);
  expect([status, items(body["items"]).length]).toEqual([200, 5500]);
  expect(items((await api.get(path)).body["items"])).toEqual([]);
}, 120_000);
