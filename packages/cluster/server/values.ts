/** JSON values of objects, and safe ways to look into them. Objects here are as a client sent them: nothing is sure. */
import { isMapping } from "../field.ts";

export type Mapping = Record<string, unknown>;

/** An object that has passed through decoding: it has metadata, and that is a mapping. */
export interface ApiObject {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  [field: string]: unknown;
}

/** What the server itself reads and writes of metadata. */
export interface Metadata {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  [field: string]: unknown;
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  blockOwnerDeletion?: boolean;
  controller?: boolean;
}

export const isMap = (value: unknown): value is Mapping => isMapping(value);

/** The mapping that is there, or an empty one that is not attached to anything. */
export const mapping = (value: unknown): Mapping => (isMap(value) ? value : {});

export const items = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The items that are mappings. */
export const mappings = (value: unknown): readonly Mapping[] => items(value).filter(isMap);

export const text = (value: unknown): string => (typeof value === "string" ? value : "");

export const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);

/** The value at a path of fields; undefined when any of them is missing. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value;
  for (const step of path) {
    if (!isMap(here) || !Object.hasOwn(here, step)) return undefined;
    here = here[step];
  }
  return here;
}

/** The mapping at that field, made when it is missing. */
export function ensure(parent: Mapping, field: string): Mapping {
  const held = parent[field];
  if (isMap(held)) return held;
  const made: Mapping = {};
  parent[field] = made;
  return made;
}

/** Sets a field that is absent. */
export function setDefault(parent: Mapping, field: string, value: unknown): void {
  if (parent[field] === undefined) parent[field] = value;
}

export const clone = <T>(value: T): T => structuredClone(value);

/** Equality of JSON values; the order of fields does not count, and undefined is the same as absent. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => equal(item, b[i]));
  }
  if (!isMap(a) || !isMap(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => equal(a[key], b[key]));
}

export { timestamp } from "../timestamp.ts";
