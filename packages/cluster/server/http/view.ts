/** Stored objects as a client asked for them: version, form, selection. */
import { badRequest } from "../errors.ts";
import type { Resource } from "../resource.ts";
import { type FieldSelector, parseFieldSelector } from "../select/fields.ts";
import { parseLabelSelector } from "../select/labels.ts";
import { type IncludeObject, partial, tableOf } from "../table/table.ts";
import type { ApiObject, Mapping } from "../values.ts";
import { type Form, formOf } from "./media.ts";

/** Not to be changed: it may be shared. */
export const viewed = (resource: Resource, stored: ApiObject): ApiObject =>
  resource.fromStored === undefined ? stored : resource.fromStored(stored);

export interface View {
  readonly form: Form;
  readonly include: IncludeObject;
  /** What is the same for two views gives the same bytes. */
  readonly key: string;
}

export function viewOf(resource: Resource, accept: string | null, query: URLSearchParams): View {
  const form = formOf(accept);
  const include = query.get("includeObject") ?? "Metadata";
  if (include !== "Metadata" && include !== "Object" && include !== "None") {
    throw badRequest(`includeObject must be Metadata, Object or None, not ${JSON.stringify(include)}`);
  }
  return { form, include, key: `${resource.group}/${resource.version} ${form} ${include}` };
}

/** One object in JSON, of its stored text where that is what is wanted. */
export function encodeObject(resource: Resource, value: string, view: View, now: number): string {
  const plain = view.form === "json" || view.form === "yaml";
  if (plain && resource.fromStored === undefined) return value;
  return JSON.stringify(shapeObject(resource, JSON.parse(value) as ApiObject, view, now));
}

export function shapeObject(resource: Resource, stored: ApiObject, view: View, now: number): Mapping {
  const object = viewed(resource, stored);
  if (view.form === "partial") return partial(object);
  if (view.form !== "table") return object;
  const { resourceVersion } = object.metadata;
  return tableOf(resource, [object], { resourceVersion }, { include: view.include, now });
}

export interface Selection {
  /** Undefined when everything matches. */
  readonly matches: FieldSelector | undefined;
  /** The only name that can match. */
  readonly name: string | undefined;
  /** What the JSON of whatever matches has in it. */
  readonly texts: readonly string[];
}

/** Of a list or watch: labelSelector and fieldSelector. Throws 400. */
export function selectionOf(resource: Resource, query: URLSearchParams): Selection {
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(query.get("fieldSelector") ?? "", resource.fields);
  if (labels === undefined && fields === undefined) return { matches: undefined, name: undefined, texts: [] };
  return {
    name: fields?.name,
    // In another version a value may be written in another way.
    texts: resource.fromStored === undefined ? (fields?.texts ?? []) : [],
    matches: (stored) =>
      (labels === undefined || labels(stored.metadata.labels)) &&
      (fields === undefined || fields.matches(viewed(resource, stored))),
  };
}

/** Whether a stored object is selected. */
export function isSelected(value: string, { matches, texts }: Selection): boolean {
  if (matches === undefined) return true;
  return texts.every((text) => value.includes(text)) && matches(JSON.parse(value) as ApiObject);
}
