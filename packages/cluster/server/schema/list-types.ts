/**
 * What a custom resource's schema says beside OpenAPI: lists that are sets or maps have nothing twice, embedded objects say
 * what they are ("Extend the Kubernetes API with CustomResourceDefinitions", merge strategy and embedded resources).
 */
import { below, type Faults } from "../faults.ts";
import { isMap, items, type Mapping, text } from "../values.ts";
import type { Schema } from "./schema.ts";

/** Adds to `faults` what is wrong with a value, all the way down. */
export function checkListTypes(value: unknown, schema: Schema, path: string, faults: Faults): void {
  if (Array.isArray(value)) {
    checkTwice(value, schema, path, faults);
    const inner = schema.items;
    if (inner !== undefined)
      for (const [i, item] of value.entries()) checkListTypes(item, inner, below(path, i), faults);
    return;
  }
  if (!isMap(value)) return;
  if (schema["x-kubernetes-embedded-resource"] === true) {
    for (const field of ["apiVersion", "kind"]) {
      if (text(value[field]) === "") faults.required(below(path, field));
    }
  }
  const { properties = {}, additionalProperties } = schema;
  for (const [field, inner] of Object.entries(value)) {
    const known = Object.hasOwn(properties, field) ? properties[field] : additionalProperties;
    if (typeof known === "object") checkListTypes(inner, known, below(path, field), faults);
  }
}

function checkTwice(list: readonly unknown[], schema: Schema, path: string, faults: Faults): void {
  const type = schema["x-kubernetes-list-type"];
  if (type !== "set" && type !== "map") return;
  const keys = items(schema["x-kubernetes-list-map-keys"]).map(text);
  const seen = new Set<string>();
  for (const [i, item] of list.entries()) {
    const shown = type === "map" && isMap(item) ? keysOf(item, keys) : item;
    const key = JSON.stringify(shown, (_, inner) => (isMap(inner) ? sorted(inner) : inner));
    if (seen.has(key)) faults.duplicate(below(path, i), shown);
    seen.add(key);
  }
}

const keysOf = (item: Mapping, keys: readonly string[]): Mapping =>
  Object.fromEntries(keys.filter((key) => item[key] !== undefined).map((key) => [key, item[key]]));

const sorted = (map: Mapping): Mapping =>
  Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
