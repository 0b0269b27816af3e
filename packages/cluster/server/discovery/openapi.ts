/**
 * OpenAPI: what kubectl needs to know types (explain), and that this server checks fields itself (fieldValidation), so
 * that no client does it. Descriptions are not in it.
 */
import { createHash } from "node:crypto";
import type { Registry } from "../registry.ts";
import type { Resource } from "../resource.ts";
import { DEFINITIONS, publishedName, referred, refTo, type Schema } from "../schema/schema.ts";
import type { Mapping } from "../values.ts";

const groupPath = ({ group, version }: Resource): string =>
  group === "" ? `api/${version}` : `apis/${group}/${version}`;

const gvk = ({ group, version, kind }: Resource): Mapping => ({ group, version, kind });

/** The name of a resource's type: "io.k8s.api.v1.Pod", "com.example.v1.Widget". */
const typeName = (r: Resource): string =>
  r.model === undefined
    ? `${r.group.split(".").reverse().join(".")}.${r.version}.${r.kind}`
    : publishedName(r.model);

/** "/openapi/v3": the documents of each group and version. */
export function openapiIndex(registry: Registry): Mapping {
  const paths = [...new Set(registry.all.map(groupPath))];
  return {
    paths: Object.fromEntries(
      paths.map((path) => {
        const document = JSON.stringify(openapiDocument(path, registry));
        const hash = createHash("sha256").update(document).digest("hex").toUpperCase();
        return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }];
      }),
    ),
  };
}

/** "/openapi/v3/apis/apps/v1"; undefined when there is no such group and version. */
export function openapiDocument(path: string, registry: Registry): Mapping | undefined {
  const resources = registry.all.filter((r) => groupPath(r) === path);
  if (resources.length === 0) return undefined;
  return {
    openapi: "3.0.0",
    info: { title: "Weft", version: "v1.34" },
    paths: Object.assign({}, ...resources.map(pathsOf)),
    components: { schemas: schemasOf(resources) },
  };
}

function schemasOf(resources: readonly Resource[]): Record<string, Schema> {
  const schemas: Record<string, Schema> = {};
  for (const resource of resources) {
    for (const name of referred(resource.schema)) schemas[name] = DEFINITIONS[name] ?? {};
  }
  for (const name of referred(refTo("V1ObjectMeta"))) schemas[name] = DEFINITIONS[name] ?? {};
  for (const resource of resources) {
    const base = resource.model === undefined ? withOwn(resource.schema) : DEFINITIONS[typeName(resource)];
    schemas[typeName(resource)] = { ...base, "x-kubernetes-group-version-kind": [gvk(resource)] };
    schemas[`${typeName(resource)}List`] = {
      type: "object",
      required: ["items"],
      properties: {
        apiVersion: { type: "string" },
        kind: { type: "string" },
        metadata: { type: "object" },
        items: { type: "array", items: { $ref: `#/components/schemas/${typeName(resource)}` } },
      },
      "x-kubernetes-group-version-kind": [{ ...gvk(resource), kind: `${resource.kind}List` }],
    };
  }
  return schemas;
}

const withOwn = (schema: Schema): Schema => ({
  ...schema,
  properties: {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    ...schema.properties,
    metadata: refTo("V1ObjectMeta"),
  },
});

const parameter = (name: string): Mapping => ({
  name,
  in: "query",
  schema: { type: "string", uniqueItems: true },
});
const WRITING = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
const READING = [
  "continue",
  "fieldSelector",
  "labelSelector",
  "limit",
  "resourceVersion",
  "resourceVersionMatch",
  "sendInitialEvents",
  "timeoutSeconds",
  "watch",
  "allowWatchBookmarks",
].map(parameter);

function pathsOf(resource: Resource): Mapping {
  const scope = resource.namespaced ? "namespaces/{namespace}/" : "";
  const collection = `/${groupPath(resource)}/${scope}${resource.plural}`;
  const operation = (action: string, parameters: readonly Mapping[]): Mapping => ({
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": gvk(resource),
    parameters,
    responses: { "200": { description: "OK" } },
  });
  const content = Object.fromEntries(
    ["application/json-patch+json", "application/merge-patch+json"].map((type) => [type, {}]),
  );
  return {
    [collection]: {
      get: operation("list", READING),
      post: operation("post", WRITING),
      delete: operation("deletecollection", []),
    },
    [`${collection}/{name}`]: {
      get: operation("get", []),
      put: operation("put", WRITING),
      patch: { ...operation("patch", WRITING), requestBody: { content } },
      delete: operation("delete", []),
    },
  };
}

/** "/openapi/v2" in JSON. */
export function openapiV2(registry: Registry): Mapping {
  const text = JSON.stringify(schemasOf(registry.all)).replaceAll("#/components/schemas/", "#/definitions/");
  return {
    swagger: "2.0",
    info: { title: "Weft", version: "v1.34" },
    paths: {},
    definitions: JSON.parse(text) as Mapping,
  };
}

/** What clients ask for, and its name in answers: "@" is none of a media type's characters. */
export const OPENAPI_V2_PROTOBUF = /^application\/com\.github\.proto-openapi\.spec\.v2[@.]v1\.0\+protobuf$/;
export const OPENAPI_V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/**
 * The same in protobuf (gnostic's openapi.v2.Document), with paths (8) and definitions (9) that are empty. kubectl asks for it before it creates or
 * applies a `kind: List`, which it wants to check itself; a type that it finds no definition of it leaves to the server,
 * as this server would have it.
 */
export function openapiV2Protobuf(): Uint8Array {
  const field = (tag: number, content: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.of((tag << 3) | 2, content.length), content]);
  const text = (tag: number, value: string): Uint8Array => field(tag, Buffer.from(value));
  const info = Buffer.concat([text(1, "Weft"), text(2, "v1.34")]);
  return Buffer.concat([
    text(1, "2.0"),
    field(2, info),
    field(8, new Uint8Array()),
    field(9, new Uint8Array()),
  ]);
}
