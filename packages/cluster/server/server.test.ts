import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { configMap, MAPS, PODS_PATH, pod, TestApi } from "./testing/api.ts";
import { type ApiObject, at, items, type Mapping, mapping } from "./values.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

const causes = (body: ApiObject): string[] =>
  (items(at(body, "details", "causes")) as Mapping[]).map(({ field, message }) => `${field}: ${message}`);
const namespace = (name: string): Mapping => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });

describe("objects", () => {
  test("are created with what the server decides, read, replaced and deleted", async () => {
    const made = await api.post(MAPS, configMap("one", { a: "1" }));
    expect(made.status).toBe(201);
    expect(made.body.metadata).toMatchObject({
      name: "one",
      namespace: "default",
      creationTimestamp: "2026-01-02T03:04:05Z",
    });
    expect(made.body.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect((await api.get(`${MAPS}/one`)).body).toEqual(made.body);
    const replaced = await api.put(`${MAPS}/one`, { ...made.body, data: { a: "2" } });
    expect(replaced.body["data"]).toEqual({ a: "2" });
    expect(replaced.body.metadata.uid).toBe(made.body.metadata.uid);
    // The first state is no longer the newest: replacing by it is a conflict.
    const stale = await api.put(`${MAPS}/one`, { ...made.body, data: { a: "3" } });
    expect(stale.body).toMatchObject({ code: 409, reason: "Conflict" });
    expect(String(stale.body["message"])).toContain("the object has been modified");
    const gone = await api.delete(`${MAPS}/one`);
    expect(gone.body).toMatchObject({ status: "Success", details: { name: "one", kind: "configmaps" } });
    expect((await api.get(`${MAPS}/one`)).body).toMatchObject({
      code: 404,
      reason: "NotFound",
      message: 'configmaps "one" not found',
    });
    expect((await api.delete(`${MAPS}/one`)).status).toBe(404);
  });

  test("get a name when they have only its beginning", async () => {
    const { body } = await api.post(MAPS, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { generateName: "gen-" },
    });
    expect(body.metadata.name).toMatch(/^gen-[a-z0-9]{5}$/);
  });

  test("cannot be made twice, or where there is no namespace", async () => {
    await api.post(MAPS, configMap("twice"));
    expect((await api.post(MAPS, configMap("twice"))).body).toMatchObject({
      code: 409,
      reason: "AlreadyExists",
    });
    expect((await api.post("/api/v1/namespaces/nowhere/configmaps", configMap("x"))).body).toMatchObject({
      code: 404,
      message: 'namespaces "nowhere" not found',
    });
    expect((await api.post(MAPS, configMap("x", {}, { namespace: "other" }))).status).toBe(400);
  });

  test("an update that changes nothing writes nothing", async () => {
    const { body } = await api.post(MAPS, configMap("same", { a: "1" }));
    const { revision } = api.server.store;
    const again = await api.put(`${MAPS}/same`, body);
    expect(again.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion as string);
    expect(api.server.store.revision).toBe(revision);
  });

  test("a dry run says what would be, and does nothing", async () => {
    const { revision } = api.server.store;
    expect((await api.post(`${MAPS}?dryRun=All`, configMap("dry"))).status).toBe(201);
    expect((await api.get(`${MAPS}/dry`)).status).toBe(404);
    await api.post(MAPS, configMap("wet"));
    expect((await api.ask("DELETE", `${MAPS}/wet?dryRun=All`)).status).toBe(200);
    expect((await api.get(`${MAPS}/wet`)).status).toBe(200);
    expect(api.server.store.revision).toBe(revision + 1);
    expect((await api.post(`${MAPS}?dryRun=Some`, configMap("dry"))).status).toBe(400);
  });

  test("status and all else are written apart, and generation counts what is asked for", async () => {
    const made = await api.post(PODS_PATH, { ...pod("split"), status: { phase: "Running" } });
    expect(made.body["status"]).toEqual({ phase: "Pending", qosClass: "BestEffort" });
    const status = await api.patch(`${PODS_PATH}/split/status`, "merge", {
      metadata: { labels: { a: "b" } },
      status: { phase: "Running" },
    });
    expect(at(status.body, "status", "phase")).toBe("Running");
    expect(status.body.metadata).toMatchObject({ generation: 1 });
    // Labels come with it, as kube-apiserver has it for its own kinds.
    expect(status.body.metadata.labels).toEqual({ a: "b" });
    const both = await api.patch(`${PODS_PATH}/split`, "merge", {
      spec: { activeDeadlineSeconds: 9 },
      status: { phase: "Failed" },
    });
    expect(at(both.body, "status", "phase")).toBe("Running");
    expect(both.body.metadata.generation).toBe(2);
  });

  test("preconditions of a deletion are held", async () => {
    const { body } = await api.post(MAPS, configMap("guarded"));
    const wrong = await api.delete(`${MAPS}/guarded`, { preconditions: { uid: "other" } });
    expect(wrong.body).toMatchObject({ code: 409, reason: "Conflict" });
    const { uid, resourceVersion } = body.metadata;
    expect((await api.delete(`${MAPS}/guarded`, { preconditions: { uid, resourceVersion } })).status).toBe(
      200,
    );
  });

  test("concurrent writers: one at a time wins, and nothing is lost", async () => {
    await api.post(MAPS, configMap("counter", { n: "0" }));
    const add = async (): Promise<void> => {
      for (;;) {
        const { body } = await api.get(`${MAPS}/counter`);
        const n = Number(mapping(body["data"])["n"]) + 1;
        const { status } = await api.put(`${MAPS}/counter`, { ...body, data: { n: String(n) } });
        if (status === 200) return;
        expect(status).toBe(409);
      }
    };
    await Promise.all(Array.from({ length: 20 }, add));
    expect((await api.get(`${MAPS}/counter`)).body["data"]).toEqual({ n: "20" });
  });
});

describe("finalizers", () => {
  test("hold an object until the last one is gone", async () => {
    await api.post(MAPS, configMap("held", {}, { finalizers: ["example.com/a", "example.com/b"] }));
    const marked = await api.delete(`${MAPS}/held`);
    expect(marked.body.metadata.deletionTimestamp).toBe("2026-01-02T03:04:05Z");
    await api.patch(`${MAPS}/held`, "merge", { metadata: { finalizers: ["example.com/b"] } });
    const more = await api.patch(`${MAPS}/held`, "merge", {
      metadata: { finalizers: ["example.com/b", "example.com/c"] },
    });
    expect(more.status).toBe(422);
    expect(String(more.body["message"])).toContain("no new finalizers can be added");
    expect((await api.get(`${MAPS}/held`)).status).toBe(200);
    await api.patch(`${MAPS}/held`, "merge", { metadata: { finalizers: null } });
    expect((await api.get(`${MAPS}/held`)).status).toBe(404);
  });
});

describe("pods", () => {
  test("that run somewhere are ended there first", async () => {
    await api.post(PODS_PATH, pod("bound", { nodeName: "n1", terminationGracePeriodSeconds: 10 }));
    const { body } = await api.delete(`${PODS_PATH}/bound`);
    expect(body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 10,
      deletionTimestamp: "2026-01-02T03:04:15Z",
    });
    expect((await api.get(`${PODS_PATH}/bound`)).status).toBe(200);
    expect((await api.delete(`${PODS_PATH}/bound`, { gracePeriodSeconds: 0 })).body["status"]).toBe(
      "Success",
    );
    expect((await api.get(`${PODS_PATH}/bound`)).status).toBe(404);
  });

  test("may not change what they are", async () => {
    await api.post(PODS_PATH, pod("fixed"));
    const { status, body } = await api.patch(`${PODS_PATH}/fixed`, "merge", { spec: { hostNetwork: true } });
    expect(status).toBe(422);
    expect(String(body["message"])).toContain("pod updates may not change fields other than");
    const image = { spec: { containers: [{ name: "c", image: "example/image:2" }] } };
    expect((await api.patch(`${PODS_PATH}/fixed`, "strategic", image)).status).toBe(200);
  });
});

describe("what is invalid", () => {
  test("is told all at once, with path and reason", async () => {
    const { status, body } = await api.post(PODS_PATH, {
      ...pod("Bad_Name", {
        restartPolicy: "Sometimes",
        containers: [{ name: "a", image: "i", ports: [{ containerPort: 0 }] }, { name: "a" }],
        volumes: [{ name: "v" }, { name: "v" }],
      }),
    });
    expect(status).toBe(422);
    expect(body).toMatchObject({ reason: "Invalid", details: { kind: "Pod", name: "Bad_Name" } });
    expect(causes(body).map((cause) => cause.split(":", 2).join(":"))).toEqual([
      "metadata.name: Invalid value",
      "spec.restartPolicy: Unsupported value",
      "spec.volumes[1].name: Duplicate value",
      "spec.containers[0].ports[0].containerPort: Invalid value",
      "spec.containers[1].name: Duplicate value",
      "spec.containers[1].image: Required value",
    ]);
  });

  test.each([
    ["not JSON", "{", 400],
    ["a list", "[]", 400],
    ["of no kind", "{}", 400],
    ["of another kind", { apiVersion: "v1", kind: "Secret", metadata: { name: "x" } }, 400],
    ["of another version", { apiVersion: "v2", kind: "ConfigMap", metadata: { name: "x" } }, 400],
    ["with metadata that is none", { apiVersion: "v1", kind: "ConfigMap", metadata: "x" }, 400],
    ["with a wrong form", { ...configMap("x"), data: { a: 1 } }, 400],
    ["with labels that are none", configMap("x", {}, { labels: { a: 1 } }), 400],
    ["without a name", { apiVersion: "v1", kind: "ConfigMap", metadata: {} }, 422],
    ["with a version of its own", configMap("x", {}, { resourceVersion: "7" }), 400],
    ["with a wrong label", configMap("x", {}, { labels: { "a b": "c" } }), 422],
    ["with a wrong key", configMap("x", { "a/b": "c" }), 422],
    [
      "too deep",
      `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":${"[".repeat(10_000)}`,
      400,
    ],
    ["too large", configMap("x", { a: "y".repeat(4_000_000) }), 413],
  ])("an object %s", async (_, object, code) => {
    const { status, body } = await api.post(MAPS, object);
    expect(status).toBe(code);
    expect(body).toMatchObject({ kind: "Status", status: "Failure", code });
    expect(String(body["message"]).length).toBeGreaterThan(10);
    expect((await api.get(`${MAPS}/x`)).status).toBe(404);
  });

  test("an integer that would be kept as another one is refused", async () => {
    const events = PODS_PATH.replace(/pods$/, "events");
    for (const count of ["9007199254740993", "-9223372036854775808"]) {
      const text = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"big"},"spec":{"activeDeadlineSeconds":${count}}}`;
      const { status, body } = await api.ask("POST", events, text);
      expect(status).toBe(400);
      expect(String(body["message"])).toContain("beyond 2^53");
    }
    const fine = configMap("fine", { a: "9007199254740993" }, { annotations: { n: "12345678901234567890" } });
    expect((await api.post(MAPS, fine)).status).toBe(201);
  });

  test("names of JavaScript's own mean nothing", async () => {
    const text =
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"proto"},"data":{"__proto__":"1","constructor":"2"}}';
    expect((await api.post(MAPS, text)).status).toBe(201);
    expect((await api.get(`${MAPS}/proto`)).body["data"]).toEqual(
      JSON.parse('{"__proto__":"1","constructor":"2"}'),
    );
    expect((await api.patch(`${MAPS}/proto`, "merge", '{"__proto__":{"polluted":"yes"}}')).status).toBe(200);
    const add = [{ op: "add", path: "/data/__proto__", value: "3" }];
    const patched = await api.patch(`${MAPS}/proto`, "json", add);
    expect(Object.entries(patched.body["data"] as Mapping)).toEqual([
      ["__proto__", "3"],
      ["constructor", "2"],
    ]);
    expect(({} as Mapping)["polluted"]).toBeUndefined();
    expect((await api.get("/api/v1/constructor")).status).toBe(404);
  });

  test("fields that nobody knows are refused, told, or dropped, as asked", async () => {
    const object = { ...configMap("extra"), spec: { a: 1 } };
    const strict = await api.post(`${MAPS}?fieldValidation=Strict`, object);
    expect(strict.status).toBe(400);
    expect(String(strict.body["message"])).toContain('strict decoding error: unknown field "spec"');
    const warned = await api.post(MAPS, object);
    expect(warned.headers.get("warning")).toContain('unknown field \\"spec\\"');
    expect(warned.body["spec"]).toBeUndefined();
    expect((await api.put(`${MAPS}/extra?fieldValidation=Ignore`, object)).headers.get("warning")).toBeNull();
    expect((await api.put(`${MAPS}/extra?fieldValidation=Maybe`, object)).status).toBe(400);
  });

  test.each([
    ["PATCH", `${MAPS}/extra`, "application/apply-patch+yaml", 415, "no server-side apply"],
    ["PATCH", `${MAPS}/extra`, "text/plain", 415, "unknown format"],
    ["POST", MAPS, "text/plain", 415, "unknown format"],
    ["POST", MAPS, "application/vnd.kubernetes.protobuf", 400, "protobuf"],
    ["PUT", MAPS, "application/json", 405, "does not allow this method"],
    ["POST", "/api/v1/configmaps", "application/json", 405, "does not allow this method"],
    ["PUT", `${MAPS}/extra/status`, "application/json", 404, "could not find"],
    ["POST", "/api/v1/nothing", "application/json", 404, "could not find"],
    ["POST", "/apis/apps/v9/namespaces/default/deployments", "application/json", 404, "could not find"],
  ])("%s %s as %s is %d", async (method, path, type, code, message) => {
    const { status, body } = await api.ask(method, path, JSON.stringify(configMap("extra")), {
      "Content-Type": type,
    });
    expect([status, String(body["message"])]).toEqual([code, expect.stringContaining(message)]);
  });

  test("bodies in YAML are as those in JSON: the last of two counts, aliases are copies, depth has a limit", async () => {
    const type = { "Content-Type": "application/yaml" };
    const head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: in-yaml";
    const twice = `${head}, labels: &both {a: b}, annotations: *both}\ndata: {a: "1", a: "2"}\n`;
    const { status, body } = await api.ask("POST", MAPS, twice, type);
    expect([status, body["data"]]).toEqual([201, { a: "2" }]);
    expect(body.metadata).toMatchObject({ labels: { a: "b" }, annotations: { a: "b" } });
    const deep = await api.ask("POST", MAPS, `${head}}\ndata: ${"[".repeat(600)}${"]".repeat(600)}`, type);
    expect([deep.status, String(deep.body["message"])]).toEqual([
      400,
      expect.stringContaining("levels deep"),
    ]);
  });

  test.each<[string, string]>([
    ["brackets", "[".repeat(1_000_000)],
    ["mappings in a line", "a: ".repeat(500_000)],
    ["mappings in braces", "{a: ".repeat(500_000)],
    ["unknown aliases", "- *a\n".repeat(300_000)],
    ["an alias of itself", "a: &a [*a]"],
    [
      "aliases of aliases",
      [
        "a: &a [x,x]",
        ...[..."bcdefghijklmnopqrstuvwxyz"].map(
          (k, i) => `${k}: &${k} [${`*${"abcdefghijklmnopqrstuvwxyz"[i]},`.repeat(9)}]`,
        ),
      ].join("\n"),
    ],
    ["several documents", "a: 1\n---\nb: 2\n"],
    ["a list", "- a\n".repeat(300_000)],
  ])("YAML of %s is refused", async (_, text) => {
    const { status, body } = await api.ask("POST", MAPS, text, { "Content-Type": "application/yaml" });
    expect([status, body["reason"]]).toEqual([400, "BadRequest"]);
  });

  test("nothing of it was logged as a failure of ours", () => {
    expect(api.logged).toEqual([]);
  });
});

describe("lists", () => {
  beforeAll(async () => {
    for (const name of ["l1", "l2"]) await api.post("/api/v1/namespaces", namespace(name));
    for (let i = 0; i < 7; i++) {
      const labels = { parity: i % 2 === 0 ? "even" : "odd", n: String(i) };
      await api.post(`/api/v1/namespaces/l${1 + (i % 2)}/configmaps`, configMap(`c${i}`, {}, { labels }));
    }
  });
  const names = (body: ApiObject): string[] =>
    (items(body["items"]) as ApiObject[]).map(({ metadata }) => metadata.name);
  const paths = "/api/v1/namespaces/l1/configmaps";

  test.each([
    ["labelSelector=parity%3Deven", ["c0", "c2", "c4", "c6"]],
    ["labelSelector=n%20in%20(0,2)", ["c0", "c2"]],
    ["labelSelector=n%20notin%20(0,2),n", ["c4", "c6"]],
    ["labelSelector=!nope,n!%3D4", ["c0", "c2", "c6"]],
    ["labelSelector=n%3E3", ["c4", "c6"]],
    ["fieldSelector=metadata.name%3Dc2", ["c2"]],
    ["fieldSelector=metadata.name!%3Dc2", ["c0", "c4", "c6"]],
    ["fieldSelector=metadata.namespace%3Dl2", []],
  ])("by %s", async (query, wanted) => {
    expect(names((await api.get(`${paths}?${query}`)).body)).toEqual(wanted);
  });

  test("in pages are of one moment, whatever happens meanwhile", async () => {
    const first = await api.get(`${paths}?limit=2`);
    expect(names(first.body)).toEqual(["c0", "c2"]);
    await api.post(paths, configMap("c3-new"));
    await api.delete(`${paths}/c6`);
    const token = String(at(first.body, "metadata", "continue"));
    const second = await api.get(`${paths}?limit=2&continue=${token}`);
    expect(names(second.body)).toEqual(["c4", "c6"]);
    expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion as string);
    expect(at(second.body, "metadata", "continue")).toBeUndefined();
    while (api.server.store.compact(api.clock + 1));
    expect((await api.get(`${paths}?limit=2&continue=${token}`)).body).toMatchObject({
      code: 410,
      reason: "Expired",
    });
    expect((await api.get(`${paths}?continue=nonsense`)).status).toBe(400);
    expect((await api.get(`${paths}?limit=-1`)).status).toBe(400);
  });

  test("of all namespaces, and of everything of a selection deleted at once", async () => {
    expect(names((await api.get("/api/v1/configmaps?labelSelector=n")).body)).toEqual([
      "c0",
      "c2",
      "c4",
      "c1",
      "c3",
      "c5",
    ]);
    const { body } = await api.delete("/api/v1/namespaces/l2/configmaps?labelSelector=n%3D3");
    expect(names(body)).toEqual(["c3"]);
    expect(names((await api.get("/api/v1/namespaces/l2/configmaps")).body)).toEqual(["c1", "c5"]);
  });

  test("of a moment that has passed", async () => {
    const before = api.server.store.revision;
    await api.post(paths, configMap("later"));
    const then = await api.get(`${paths}?resourceVersion=${before}&resourceVersionMatch=Exact`);
    expect(names(then.body)).not.toContain("later");
  });
});

describe("tables", () => {
  const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

  test("have kubectl's columns", async () => {
    await api.post(PODS_PATH, pod("shown", { nodeName: "n1" }));
    await api.patch(`${PODS_PATH}/shown/status`, "merge", {
      status: {
        phase: "Running",
        podIP: "10.0.0.1",
        containerStatuses: [
          {
            name: "c",
            ready: true,
            restartCount: 2,
            state: { running: {} },
            lastState: { terminated: { finishedAt: "2026-01-02T03:00:05Z" } },
          },
        ],
      },
    });
    const { body } = await api.get(`${PODS_PATH}/shown`, TABLE);
    expect(body.kind).toBe("Table");
    const columns = items(body["columnDefinitions"]) as Mapping[];
    expect(columns.map(({ name }) => name).slice(0, 5)).toEqual([
      "Name",
      "Ready",
      "Status",
      "Restarts",
      "Age",
    ]);
    const [row] = items(body["rows"]) as Mapping[];
    expect(row?.["cells"]).toEqual([
      "shown",
      "1/1",
      "Running",
      "2 (4m ago)",
      "0s",
      "10.0.0.1",
      "n1",
      "<none>",
      "<none>",
    ]);
    expect(row?.["object"]).toMatchObject({ kind: "PartialObjectMetadata", metadata: { name: "shown" } });
  });

  test("every resource has one, also of an empty list", async () => {
    for (const resource of api.server.registry.all) {
      const prefix = resource.group === "" ? "/api/v1" : `/apis/${resource.group}/${resource.version}`;
      const { body } = await api.get(`${prefix}/${resource.plural}`, TABLE);
      expect([resource.plural, body.kind]).toEqual([resource.plural, "Table"]);
    }
  });

  test("what cannot be had is 406", async () => {
    expect((await api.get(PODS_PATH, "application/vnd.kubernetes.protobuf")).status).toBe(406);
    expect((await api.get(PODS_PATH, "text/html")).status).toBe(406);
    const yaml = await api.get(`${PODS_PATH}/shown`, "application/yaml");
    expect(yaml.headers.get("content-type")).toBe("application/yaml");
  });
});

describe("events", () => {
  test("of both groups are the same objects", async () => {
    const event = {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: "e1", namespace: "default" },
      eventTime: "2026-01-02T03:04:05.000000Z",
      regarding: { kind: "Pod", name: "p", namespace: "default" },
      reason: "Tested",
      action: "Testing",
      note: "It was.",
      type: "Normal",
      reportingController: "weft",
      reportingInstance: "i",
    };
    const made = await api.post("/apis/events.k8s.io/v1/namespaces/default/events", event);
    expect(made.body).toMatchObject({ note: "It was.", apiVersion: "events.k8s.io/v1" });
    const core = await api.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp");
    expect(items(core.body["items"])).toMatchObject([
      { apiVersion: "v1", message: "It was.", involvedObject: { kind: "Pod" }, reportingComponent: "weft" },
    ]);
    const watch = await api.watch(
      "/apis/events.k8s.io/v1/events?watch=true&fieldSelector=regarding.name%3Dp",
    );
    expect((await watch.next())?.object["note"]).toBe("It was.");
    await watch.stop();
  });
});

describe("discovery", () => {
  test("in both forms names the same resources", async () => {
    const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    const aggregated = new Set<string>();
    for (const path of ["/api", "/apis"]) {
      const { body, headers } = await api.get(path, accept);
      expect(headers.get("content-type")).toContain("as=APIGroupDiscoveryList");
      for (const group of items(body["items"]) as ApiObject[]) {
        for (const { version, resources } of items(group["versions"]) as Mapping[]) {
          for (const { resource } of items(resources) as Mapping[]) {
            aggregated.add(`${group.metadata.name}/${version}/${resource}`);
          }
        }
      }
    }
    const listed = new Set(api.server.registry.all.map((r) => `${r.group}/${r.version}/${r.plural}`));
    expect(aggregated).toEqual(listed);
    const { body } = await api.get("/apis/apps/v1");
    expect((items(body["resources"]) as Mapping[]).map(({ name }) => name)).toEqual([
      "deployments",
      "deployments/status",
      "deployments/scale",
      "replicasets",
      "replicasets/status",
      "replicasets/scale",
    ]);
    expect((await api.get("/apis/nothing.example.com/v1")).status).toBe(404);
    expect((await api.get("/apis/apps")).body["preferredVersion"]).toEqual({
      groupVersion: "apps/v1",
      version: "v1",
    });
  });

  test("openapi has every kind, and says that fields are checked here", async () => {
    const index = (await api.get("/openapi/v3")).body;
    const paths = mapping(index["paths"]);
    expect(Object.keys(paths)).toContain("apis/apps/v1");
    const document = (await api.get(String(mapping(paths["apis/apps/v1"])["serverRelativeURL"]))).body;
    const patch = at(document, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch");
    expect((items(mapping(patch)["parameters"]) as Mapping[]).map(({ name }) => name)).toContain(
      "fieldValidation",
    );
    // Nothing is referred to that is not there.
    const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(
      ([, name]) => name,
    );
    const schemas = Object.keys(mapping(at(document, "components", "schemas")));
    expect(refs.filter((name) => !schemas.includes(name as string))).toEqual([]);
  });

  test("openapi v2 is there in protobuf, for what kubectl does with lists", async () => {
    const type = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    const answer = await api.get("/openapi/v2", type);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe(type.replace("@", "."));
  });
});
