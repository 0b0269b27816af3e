/**
 * What is done to an object along its schema: fields that nobody knows are found and dropped, nulls mean absence, and
 * defaults of custom resources are filled in ("Extend the Kubernetes API with CustomResourceDefinitions", pruning and
 * defaulting).
 */
import { below } from "../faults.ts";
import { clone, isMap, type Mapping } from "../values.ts";
import { refTo, resolve, type Schema } from "./schema.ts";

const METADATA = refTo("V1ObjectMeta");

/** Of an embedded object, and of every object itself: these are known whatever the schema says. */
const OWN: Readonly<Record<string, Schema>> = {
  apiVersion: { type: "string" },
  kind: { type: "string" },
  metadata: METADATA,
};

/** Removes what the schema does not know; the paths of what was removed. */
export function prune(object: Mapping, schema: Schema): string[] {
  const removed: string[] = [];
  pruneValue(object, { ...resolve(schema), "x-kubernetes-embedded-resource": true }, "", removed);
  return removed;
}

function pruneValue(value: unknown, given: Schema, path: string, removed: string[]): void {
  const schema = resolve(given);
  if (Array.isArray(value)) {
    if (schema.items === undefined) return;
    for (const [i, item] of value.entries()) pruneValue(item, schema.items, `${path}[${i}]`, removed);
    return;
  }
  if (!isMap(value)) return;
  const embedded = schema["x-kubernetes-embedded-resource"] === true;
  const { properties = {}, additionalProperties } = schema;
  const keep =
    schema["x-kubernetes-preserve-unknown-fields"] === true ||
    additionalProperties === true ||
    schema["x-kubernetes-int-or-string"] === true;
  for (const field of Object.keys(value)) {
    const inner =
      (Object.hasOwn(properties, field) ? properties[field] : undefined) ??
      (embedded && Object.hasOwn(OWN, field) ? OWN[field] : undefined) ??
      (typeof additionalProperties === "object" ? additionalProperties : undefined);
    // The schema of a custom resource may restrict its metadata, but knows only a part of it.
    const known = embedded && field === "metadata" ? METADATA : inner;
    if (known !== undefined) pruneValue(value[field], known, below(path, field), removed);
    else if (!keep) {
      removed.push(below(path, field));
      delete value[field];
    }
  }
}

/** Removes fields that are null, all the way down: to a Go decoder, null and absent are the same. */
export function dropNulls(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) dropNulls(item);
  if (!isMap(value)) return;
  for (const [field, inner] of Object.entries(value)) {
    if (inner === null || inner === undefined) delete value[field];
    else dropNulls(inner);
  }
}

/** Fills in defaults where a field is absent, or is null and must not be. */
export function applyDefaults(value: unknown, given: Schema): void {
  const schema = resolve(given);
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) applyDefaults(item, schema.items);
    return;
  }
  if (!isMap(value)) return;
  const { properties = {}, additionalProperties } = schema;
  for (const [field, inner] of Object.entries(properties)) {
    if (value[field] === null && inner.nullable !== true && inner.default !== undefined) delete value[field];
    if (value[field] === undefined && inner.default !== undefined) value[field] = clone(inner.default);
    applyDefaults(value[field], inner);
  }
  if (typeof additionalProperties !== "object") return;
  for (const [field, inner] of Object.entries(value)) {
    if (!Object.hasOwn(properties, field)) applyDefaults(inner, additionalProperties);
  }
}
