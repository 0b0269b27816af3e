import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { customCheck } from "../schema/check.ts";
import { TestApi } from "../testing/api.ts";
import { type ApiObject, at, items, type Mapping } from "../values.ts";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS = "/apis/example.com/v1/namespaces/default/widgets";

const SCHEMA = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      required: ["color"],
      properties: {
        color: { type: "string", enum: ["red", "green"] },
        size: { type: "integer", minimum: 1, maximum: 9, default: 3 },
        port: { "x-kubernetes-int-or-string": true },
        note: { type: "string", nullable: true, maxLength: 5, pattern: "^[a-z]*$" },
        address: { type: "string", format: "ipv4" },
        digits: { type: "string", pattern: "^[0-9]*$" },
        list: {
          type: "array",
          maxItems: 2,
          items: { type: "object", properties: { on: { type: "boolean", default: true } } },
        },
        labels: { type: "object", additionalProperties: { type: "string" } },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      },
    },
    status: { type: "object", properties: { size: { type: "integer" }, selector: { type: "string" } } },
  },
};
const version = (name: string, more: Mapping = {}): Mapping => ({
  name,
  served: true,
  storage: true,
  schema: { openAPIV3Schema: SCHEMA },
  subresources: {
    status: {},
    scale: {
      specReplicasPath: ".spec.size",
      statusReplicasPath: ".status.size",
      labelSelectorPath: ".status.selector",
    },
  },
  selectableFields: [{ jsonPath: ".spec.color" }],
  additionalPrinterColumns: [
    { name: "Color", type: "string", jsonPath: ".spec.color" },
    { name: "Size", type: "integer", jsonPath: ".spec.size", priority: 1 },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  ...more,
});
const definition = (spec: Mapping = {}, name = "widgets.example.com"): Mapping => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", kind: "Widget", shortNames: ["wd"] },
    versions: [version("v1")],
    ...spec,
  },
});
const widget = (name: string, spec: Mapping = {}, more: Mapping = {}): Mapping => ({
  apiVersion: "example.com/v1",
  kind: "Widget",
  metadata: { name },
  spec: { color: "red", ...spec },
  ...more,
});

let api: TestApi;
beforeEach(async () => {
  api = await TestApi.start();
  expect((await api.post(DEFINITIONS, definition())).status).toBe(201);
});
afterEach(() => api.remove());

const message = (body: ApiObject): string => String(body["message"]);

describe("custom objects", () => {
  test("get defaults, lose what the schema does not know, and keep what is free", async () => {
    const { body } = await api.post(
      WIDGETS,
      widget("w", { port: "http", list: [{}], note: null, free: { any: { thing: null } }, bogus: 1 }),
    );
    expect(body["spec"]).toEqual({
      color: "red",
      size: 3,
      port: "http",
      list: [{ on: true }],
      note: null,
      free: { any: { thing: null } },
    });
    expect((await api.post(`${WIDGETS}?fieldValidation=Strict`, widget("s", { bogus: 1 }))).status).toBe(400);
  });

  test.each<[Mapping, readonly string[]]>([
    [
      { color: "blue", size: 0 },
      [
        'spec.color: Unsupported value: "blue": supported values: "red", "green"',
        "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
      ],
    ],
    [{ color: undefined }, ["spec.color: Required value"]],
    [
      { size: "big" },
      ['spec.size: Invalid value: "big": spec.size in body must be of type integer: "string"'],
    ],
    [{ size: 1.5 }, ["spec.size in body must be of type integer"]],
    [{ port: true }, ["spec.port in body must be of type integer or string"]],
    [{ note: "abcdef" }, ["spec.note: Too long: may not be more than 5 bytes"]],
    [{ note: "A" }, ["spec.note in body should match '^[a-z]*$'"]],
    [{ note: "a", digits: "a" }, ["spec.digits in body should match '^[0-9]*$'"]],
    [{ address: "10.0.0.256" }, ["spec.address in body must be of type ipv4"]],
    [{ list: [{}, {}, {}] }, ["spec.list: Too many: 3: must have at most 2 items"]],
    [{ list: [{ on: "yes" }] }, ["spec.list[0].on in body must be of type boolean"]],
    [{ labels: { a: 1 } }, ["spec.labels.a in body must be of type string"]],
  ])("with %j are refused", async (spec, wanted) => {
    const { status, body } = await api.post(WIDGETS, widget("bad", spec));
    expect(status).toBe(422);
    expect(body["reason"]).toBe("Invalid");
    for (const part of wanted) expect(message(body)).toContain(part);
  });

  test("are patched, but have no strategic merge", async () => {
    await api.post(WIDGETS, widget("w"));
    expect((await api.patch(`${WIDGETS}/w`, "merge", { spec: { size: 4 } })).body.metadata.generation).toBe(
      2,
    );
    expect(
      (await api.patch(`${WIDGETS}/w`, "json", [{ op: "test", path: "/spec/size", value: 4 }])).status,
    ).toBe(200);
    expect((await api.patch(`${WIDGETS}/w`, "strategic", {})).status).toBe(415);
    expect((await api.patch(`${WIDGETS}/w`, "merge", { spec: { size: 10 } })).status).toBe(422);
    // Replacing a custom object needs its version.
    expect((await api.put(`${WIDGETS}/w`, widget("w"))).status).toBe(422);
  });

  test("have status, scale, columns and selectable fields", async () => {
    await api.post(WIDGETS, widget("w"));
    await api.post(WIDGETS, widget("g", { color: "green" }));
    const status = await api.patch(`${WIDGETS}/w/status`, "merge", {
      status: { size: 2, selector: "a=b" },
      spec: { size: 8 },
    });
    expect(status.body).toMatchObject({ spec: { size: 3 }, status: { size: 2 } });
    const scale = await api.get(`${WIDGETS}/w/scale`);
    expect(scale.body).toMatchObject({
      kind: "Scale",
      spec: { replicas: 3 },
      status: { replicas: 2, selector: "a=b" },
    });
    await api.put(`${WIDGETS}/w/scale`, { ...scale.body, spec: { replicas: 7 } });
    expect(at((await api.get(`${WIDGETS}/w`)).body, "spec", "size")).toBe(7);
    expect((await api.patch(`${WIDGETS}/w/scale`, "merge", { spec: { replicas: 5 } })).body).toMatchObject({
      spec: { replicas: 5 },
    });
    expect((await api.put(`${WIDGETS}/w/scale`, { ...scale.body, spec: { replicas: 6 } })).status).toBe(409);
    expect((await api.patch(`${WIDGETS}/w/scale`, "merge", { spec: { replicas: -1 } })).status).toBe(422);
    const table = await api.get(
      `${WIDGETS}?fieldSelector=spec.color%3Dgreen`,
      "application/json;as=Table;v=v1;g=meta.k8s.io",
    );
    const [row] = items(table.body["rows"]) as Mapping[];
    expect(row?.["cells"]).toEqual(["g", "green", 3, "0s"]);
    expect((await api.get(`${WIDGETS}?fieldSelector=spec.size%3D3`)).status).toBe(400);
  });

  test("are there after a restart, and go with their definition", async () => {
    await api.post(WIDGETS, widget("w", {}, { metadata: { name: "w", finalizers: ["x.io/wait"] } }));
    await api.stop();
    await api.start();
    const watch = await api.watch(`${WIDGETS}?watch=true`);
    expect((await watch.next())?.object.metadata.name).toBe("w");
    await api.delete(`${DEFINITIONS}/widgets.example.com`);
    await api.server.settled();
    // Its finalizer holds the object, and so the definition.
    expect((await api.get(`${WIDGETS}/w`)).status).toBe(200);
    await api.patch(`${WIDGETS}/w`, "merge", { metadata: { finalizers: [] } });
    await api.server.settled();
    expect((await api.get(WIDGETS)).status).toBe(404);
    expect((await api.get(`${DEFINITIONS}/widgets.example.com`)).status).toBe(404);
    await watch.stop();
  });

  test("of two versions are the same objects", async () => {
    const versions = [version("v1", { storage: false }), version("v2")];
    const held = (await api.get(`${DEFINITIONS}/widgets.example.com`)).body;
    await api.put(`${DEFINITIONS}/widgets.example.com`, {
      ...held,
      spec: { ...(held["spec"] as Mapping), versions },
    });
    await api.post(WIDGETS, widget("w"));
    const second = await api.get("/apis/example.com/v2/namespaces/default/widgets/w");
    expect(second.body.apiVersion).toBe("example.com/v2");
    expect((await api.get(`${WIDGETS}/w`)).body.apiVersion).toBe("example.com/v1");
    expect((await api.get("/apis/example.com")).body["preferredVersion"]).toEqual({
      groupVersion: "example.com/v2",
      version: "v2",
    });
    expect(
      at((await api.get(`${DEFINITIONS}/widgets.example.com`)).body, "status", "storedVersions"),
    ).toEqual(["v1", "v2"]);
  });
});

describe("a definition", () => {
  test("is established at once", async () => {
    const { body } = await api.get(`${DEFINITIONS}/widgets.example.com`);
    expect(items(at(body, "status", "conditions"))).toMatchObject([
      { type: "NamesAccepted", status: "True" },
      { type: "Established", status: "True" },
    ]);
    expect((await api.get("/openapi/v3/apis/example.com/v1")).status).toBe(200);
  });

  const broken = (schema: unknown): Mapping =>
    definition({ versions: [version("v1", { schema: { openAPIV3Schema: schema } })] }, "widgets.example.com");
  test.each<[string, Mapping, string]>([
    ["name", definition({}, "other.example.com"), "metadata.name: Invalid value"],
    ["no version", definition({ versions: [] }), "must have at least one version"],
    [
      "two storage versions",
      definition({ versions: [version("v1"), version("v2")] }),
      "exactly one version marked as storage",
    ],
    ["scope", definition({ scope: "World" }), "spec.scope: Unsupported value"],
    ["conversion", definition({ conversion: { strategy: "Webhook" } }), 'supported values: "None"'],
    ["no schema", definition({ versions: [version("v1", { schema: null })] }), "schemas are required"],
    ["root", broken({ type: "string" }), "must be object at the root"],
    ["untyped field", broken({ type: "object", properties: { a: {} } }), "properties.a.type: Required value"],
    [
      "reference",
      broken({ type: "object", properties: { a: { type: "object", $ref: "#/x" } } }),
      "$ref is not supported",
    ],
    [
      "pattern",
      broken({ type: "object", properties: { a: { type: "string", pattern: "(" } } }),
      'properties.a.pattern: Invalid value: "(": must be a valid regular expression',
    ],
    [
      "pattern that RE2 does not have",
      broken({ type: "object", properties: { a: { type: "string", pattern: "a(?=b)" } } }),
      "invalid or unsupported Perl syntax",
    ],
    [
      "column",
      definition({
        versions: [
          version("v1", { additionalPrinterColumns: [{ name: "A", type: "string", jsonPath: "spec" }] }),
        ],
      }),
      "is no JSON path",
    ],
    ["guarded group", definition({ group: "widgets.k8s.io" }), "api-approved.kubernetes.io"],
  ])("with a wrong %s is refused", async (_, object, part) => {
    await api.delete(`${DEFINITIONS}/widgets.example.com`);
    await api.server.settled();
    const { status, body } = await api.post(DEFINITIONS, object);
    expect([status, message(body)]).toEqual([422, expect.stringContaining(part)]);
  });

  test("with several patterns is checked against each", () => {
    const field = (pattern: string) => ({ type: "string", pattern });
    const check = customCheck({
      type: "object",
      properties: { a: field("^[a-c]+$"), b: field("^[0-9]+$"), c: field("^[a-c]+$") },
    });
    expect(check({ a: "abc", b: "123", c: "c" })).toEqual([]);
    expect(check({ a: "1", b: "a", c: "2" })).toHaveLength(3);
  });

  test("with a pattern that other engines backtrack in for years checks at once", async () => {
    await api.delete(`${DEFINITIONS}/widgets.example.com`);
    await api.server.settled();
    const a = { type: "string", pattern: "^(a+)+$" };
    const properties = { spec: { type: "object", properties: { a } } };
    expect((await api.post(DEFINITIONS, broken({ type: "object", properties }))).status).toBe(201);
    const widget = (text: string): Mapping => ({
      apiVersion: "example.com/v1",
      kind: "Widget",
      metadata: { name: "slow" },
      spec: { a: text },
    });
    const refused = await api.post(WIDGETS, widget(`${"a".repeat(50_000)}!`));
    expect([refused.status, message(refused.body)]).toEqual([
      422,
      expect.stringContaining("should match '^(a+)+$'"),
    ]);
    const long = await api.post(WIDGETS, widget("a".repeat(1_000_000)));
    expect([long.status, message(long.body)]).toEqual([400, expect.stringContaining("is too long")]);
    expect((await api.post(WIDGETS, widget("a".repeat(50_000)))).status).toBe(201);
  });

  test("with rules that are not evaluated says so", async () => {
    await api.delete(`${DEFINITIONS}/widgets.example.com`);
    await api.server.settled();
    const rules = { ...SCHEMA, "x-kubernetes-validations": [{ rule: "true" }] };
    const { headers, status } = await api.post(DEFINITIONS, broken(rules));
    expect(status).toBe(201);
    expect(headers.get("warning")).toContain("does not evaluate them");
  });
});
