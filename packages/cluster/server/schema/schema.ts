/**
 * Schemas of objects, as OpenAPI v3 has them: of Kubernetes' own types out of kubernetes.json (generate.ts makes it), of
 * custom resources as their definitions bring them.
 */
import forms from "./kubernetes.json";

export interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly $ref?: string;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly [keyword: string]: unknown;
}

const REF = "#/components/schemas/";

/** "V1Pod" is published as "io.k8s.api.v1.Pod": tools show what is behind the last dot. */
export const publishedName = (model: string): string =>
  model.startsWith("V1") ? `io.k8s.api.v1.${model.slice(2)}` : `io.k8s.api.v1.${model}`;

export const refTo = (model: string): Schema => ({ $ref: `${REF}${publishedName(model)}` });

const SCALARS: Readonly<Record<string, Schema>> = {
  string: { type: "string" },
  boolean: { type: "boolean" },
  int32: { type: "integer", format: "int32" },
  int64: { type: "integer", format: "int64" },
  double: { type: "number", format: "double" },
  "date-time": { type: "string", format: "date-time" },
  bytes: { type: "string", format: "byte" },
  "int-or-string": { "x-kubernetes-int-or-string": true },
  any: { "x-kubernetes-preserve-unknown-fields": true },
};

function formSchema(form: string): Schema {
  if (form.startsWith("[]")) return { type: "array", items: formSchema(form.slice(2)) };
  if (form.startsWith("{}")) return { type: "object", additionalProperties: formSchema(form.slice(2)) };
  return SCALARS[form] ?? refTo(form);
}

function typeSchema(fields: Readonly<Record<string, string>>): Schema {
  const entries = Object.entries(fields);
  const required = entries.filter(([, form]) => form.endsWith("!")).map(([field]) => field);
  return {
    type: "object",
    properties: Object.fromEntries(
      entries.map(([field, form]) => [field, formSchema(form.replace(/!$/, ""))]),
    ),
    ...(required.length === 0 ? {} : { required }),
  };
}

/** All of Kubernetes' own types, by their published name. */
export const DEFINITIONS: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(forms as Record<string, Record<string, string>>).map(([model, fields]) => [
    publishedName(model),
    typeSchema(fields),
  ]),
);

/** What a schema says itself, or what it refers to says. */
export function resolve(schema: Schema): Schema {
  if (schema.$ref === undefined) return schema;
  return DEFINITIONS[schema.$ref.slice(REF.length)] ?? {};
}

/** The names of the types that a schema refers to, all the way down. */
export function referred(schema: Schema, found = new Set<string>()): Set<string> {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.slice(REF.length);
    if (!found.has(name)) {
      found.add(name);
      referred(resolve(schema), found);
    }
  }
  const { properties = {}, items, additionalProperties } = schema;
  for (const inner of Object.values(properties)) referred(inner, found);
  if (items !== undefined) referred(items, found);
  if (typeof additionalProperties === "object") referred(additionalProperties, found);
  return found;
}
