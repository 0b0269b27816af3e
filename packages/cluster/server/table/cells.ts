/** Texts that several tables show. */
import { column } from "../resource.ts";
import { isMap, items, type Mapping, mapping, mappings, text } from "../values.ts";
import { age } from "./duration.ts";

export const AGE = column.text("Age", ({ metadata }, now) => age(metadata.creationTimestamp, now));

/** "a,b,c", or "<none>". */
export const joined = (values: readonly unknown[]): string =>
  values.length === 0 ? "<none>" : values.join(",");

/** A label selector, or a mapping of labels, on one line. */
export function selectorText(selector: unknown): string {
  const { matchLabels, matchExpressions } = mapping(selector);
  const plain =
    isMap(matchLabels) || Array.isArray(matchExpressions) ? mapping(matchLabels) : mapping(selector);
  const terms = Object.entries(plain)
    .filter(([, value]) => typeof value === "string")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${String(value)}`);
  for (const { key, operator, values } of mappings(matchExpressions)) {
    const list = `(${items(values).join(",")})`;
    if (operator === "In") terms.push(`${text(key)} in ${list}`);
    else if (operator === "NotIn") terms.push(`${text(key)} notin ${list}`);
    else terms.push(operator === "Exists" ? text(key) : `!${text(key)}`);
  }
  return joined(terms);
}

/** Names and images of a pod's containers. */
export const containerNames = (spec: unknown): string =>
  mappings(mapping(spec)["containers"])
    .map(({ name }) => text(name))
    .join(",");

export const containerImages = (spec: unknown): string =>
  mappings(mapping(spec)["containers"])
    .map(({ image }) => text(image))
    .join(",");

/** The condition of a type, or an empty mapping. */
export const conditionOf = (object: Mapping, type: string): Mapping =>
  mappings(mapping(object["status"])["conditions"]).find((c) => c["type"] === type) ?? {};
