/** Faults that kube-apiserver finds too, with its fields and words. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { configMap, MAPS, PODS_PATH, pod, TestApi } from "../testing/api.ts";
import { type ApiObject, at, items, type Mapping } from "../values.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

const causes = (body: ApiObject): string[] =>
  (items(at(body, "details", "causes")) as Mapping[]).map(({ field, message }) => `${field}: ${message}`);

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const definition = (kind: string, properties: Mapping, version: Mapping = {}): Mapping => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${kind.toLowerCase()}s.example.com` },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: `${kind.toLowerCase()}s`, kind },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", properties } },
        ...version,
      },
    ],
  },
});

describe("a definition", () => {
  const text = { type: "string" };
  const SCHEMA = "spec.versions[0].schema.openAPIV3Schema.properties";
  test.each<[Mapping, string]>([
    [{ ...text, default: 5 }, ".default: Invalid value: 5: in body must be of type string"],
    [{ ...text, enum: ["a"], default: "b" }, '.default: Unsupported value: "b"'],
    [
      { type: "object", default: { n: "x" }, properties: { n: { type: "integer" } } },
      '.default.n: Invalid value: "x": in body must be of type integer',
    ],
    [{ type: "array", items: { ...text, default: 1 } }, ".items.default: Invalid value: 1"],
    [{ type: "word" }, '.type: Unsupported value: "word"'],
    [
      { type: "array", items: text, "x-kubernetes-list-type": "bag" },
      '.x-kubernetes-list-type: Unsupported value: "bag"',
    ],
    [{ ...text, "x-kubernetes-list-type": "set" }, ".type: Invalid value"],
    [
      { type: "array", items: { type: "object" }, "x-kubernetes-list-type": "set" },
      ".items.x-kubernetes-map-type: Invalid value: null: must be atomic",
    ],
    [
      { type: "array", items: { type: "object" }, "x-kubernetes-list-type": "map" },
      ".x-kubernetes-list-map-keys: Required value",
    ],
    [
      {
        type: "array",
        items: { type: "object", properties: { k: text } },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["z"],
      },
      '.x-kubernetes-list-map-keys: Invalid value: ["z"]',
    ],
  ])("with a field %j is refused", async (schema, message) => {
    const { status, body } = await api.post(DEFINITIONS, definition("Odd", { a: schema }));
    expect(status).toBe(422);
    expect(causes(body).join("\n")).toContain(`${SCHEMA}.a${message}`);
  });

  test("with a version or a column that is none is refused", async () => {
    const columns = [{ name: "", type: "word", jsonPath: ".spec.a" }];
    const version = { name: "1v", additionalPrinterColumns: columns };
    const { body } = await api.post(DEFINITIONS, definition("Odd", {}, version));
    const told = causes(body).join("\n");
    for (const field of [
      ".name: Invalid",
      ".additionalPrinterColumns[0].name: R",
      ".additionalPrinterColumns[0].type: U",
    ]) {
      expect(told).toContain(`spec.versions[0]${field}`);
    }
  });

  test("may have a default that its own defaults complete", async () => {
    const inner = {
      type: "object",
      default: {},
      required: ["x"],
      properties: { x: { ...text, default: "y" } },
    };
    expect((await api.post(DEFINITIONS, definition("Whole", { a: inner }))).status).toBe(201);
  });
});

test("what is twice in a list of a custom object that is a set or a map is told, and an embedded object of no kind", async () => {
  const map = {
    type: "array",
    items: { type: "object", properties: { k: { type: "string" }, v: { type: "string" } } },
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
  };
  const set = { type: "array", items: { type: "string" }, "x-kubernetes-list-type": "set" };
  const inner = {
    type: "object",
    "x-kubernetes-embedded-resource": true,
    "x-kubernetes-preserve-unknown-fields": true,
  };
  await api.post(DEFINITIONS, definition("Listed", { map, set, inner }));
  const path = "/apis/example.com/v1/namespaces/default/listeds";
  const listed = { apiVersion: "example.com/v1", kind: "Listed", metadata: { name: "l" } };
  const twice = {
    map: [
      { k: "a", v: "1" },
      { v: "2", k: "a" },
      { k: "b", v: "1" },
    ],
    set: ["x", "y", "x"],
    inner: { kind: "X" },
  };
  const { status, body } = await api.post(path, { ...listed, ...twice });
  expect(status).toBe(422);
  expect(causes(body)).toEqual([
    'map[1]: Duplicate value: {"k":"a"}',
    'set[2]: Duplicate value: "x"',
    "inner.apiVersion: Required value",
  ]);
  const fine = { map: twice.map.slice(1), set: ["x"], inner: { kind: "X", apiVersion: "v1" } };
  expect((await api.post(path, { ...listed, ...fine })).status).toBe(201);
});

test("a pod is told of probes, mounts, quantities and finalizers", async () => {
  const container = {
    name: "c",
    image: "i",
    env: [{ name: "" }],
    livenessProbe: {},
    readinessProbe: { exec: { command: ["x"] }, tcpSocket: { port: 1 } },
    resources: { limits: { cpu: "1", memory: "-1" }, requests: { cpu: "1500m" } },
    volumeMounts: [{ name: "v", mountPath: "" }],
  };
  const spec = { containers: [container], volumes: [{ name: "v" }] };
  const { body } = await api.post(PODS_PATH, pod("told", spec, { finalizers: ["mine"] }));
  const at = "spec.containers[0]";
  expect(causes(body).sort()).toEqual(
    [
      'metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified',
      `${at}.env[0].name: Required value`,
      `${at}.livenessProbe: Required value: must specify a handler type`,
      `${at}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`,
      `${at}.resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0`,
      `${at}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0`,
      `${at}.resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1`,
      `${at}.volumeMounts[0].mountPath: Required value`,
    ].sort(),
  );
});

test("a node is told of taints, a ConfigMap of keys, a Secret of what its type needs", async () => {
  const taints = [
    { key: "a b", effect: "NoSchedule" },
    { key: "a", effect: "Never" },
    { key: "c", effect: "NoExecute" },
    { key: "c", effect: "NoExecute" },
  ];
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n" }, spec: { taints } };
  const told = causes((await api.post("/api/v1/nodes", node)).body).join("\n");
  expect(told).toContain('spec.taints[0].key: Invalid value: "a b"');
  expect(told).toContain('spec.taints[1].effect: Unsupported value: "Never"');
  expect(told).toContain("spec.taints[3]: Duplicate value");
  const both = { ...configMap("both", { a: "x" }), binaryData: { a: "AA==" } };
  expect(causes((await api.post(MAPS, both)).body)).toEqual([
    'data[a]: Invalid value: "a": duplicate of key present in binaryData',
  ]);
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, type: "kubernetes.io/tls" };
  const answer = await api.post("/api/v1/namespaces/default/secrets", secret);
  expect(causes(answer.body)).toEqual(["data[tls.crt]: Required value", "data[tls.key]: Required value"]);
});

test("an object is put where its name says", async () => {
  const { status, body } = await api.put(`${MAPS}/other`, configMap("one"));
  expect(status).toBe(400);
  expect(String(body["message"])).toContain(
    "the name of the object (one) does not match the name on the URL (other)",
  );
});
