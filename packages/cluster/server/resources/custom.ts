/** The resources that a CustomResourceDefinition defines, one for each version that is served. */
import { subdomainFault } from "../../names.ts";
import { type Column, column, type Resource, type ScalePaths } from "../resource.ts";
import { customCheck } from "../schema/check.ts";
import { checkListTypes } from "../schema/list-types.ts";
import type { Schema } from "../schema/schema.ts";
import { AGE } from "../table/cells.ts";
import { age } from "../table/duration.ts";
import { parseJsonPath } from "../table/json-path.ts";
import {
  type ApiObject,
  at,
  isMap,
  items,
  type Mapping,
  mapping,
  mappings,
  number,
  text,
} from "../values.ts";

export function customResources(definition: ApiObject): Resource[] {
  const spec = mapping(definition["spec"]);
  const versions = mappings(spec["versions"]);
  const group = text(spec["group"]);
  const storage = text(versions.find((v) => v["storage"] === true)?.["name"]);
  return versions
    .filter((v) => v["served"] === true)
    .map((version) => resourceOf(spec, group, version, storage));
}

function resourceOf(spec: Mapping, group: string, version: Mapping, stored: string): Resource {
  const names = mapping(spec["names"]);
  const schema = (at(version, "schema", "openAPIV3Schema") ?? {}) as Schema;
  const name = text(version["name"]);
  const strings = (value: unknown): string[] => items(value).map(text);
  const fields = mappings(version["selectableFields"]).map((f) => text(f["jsonPath"]).replace(/^\./, ""));
  let check: Resource["check"] | undefined;
  return {
    group,
    version: name,
    kind: text(names["kind"]),
    plural: text(names["plural"]),
    singular: text(names["singular"]),
    shortNames: strings(names["shortNames"]),
    categories: strings(names["categories"]),
    namespaced: spec["scope"] === "Namespaced",
    storage: `${group}/${text(names["plural"])}`,
    schema,
    // Compiling takes milliseconds: not at the start for all definitions, but at the first object of each.
    check: (object) => {
      check ??= customCheck(schema);
      return check(object);
    },
    validate: (object, _old, faults) => checkListTypes(object, schema, "", faults),
    model: undefined,
    status: isMap(at(version, "subresources", "status")),
    scale: scaleOf(version),
    columns: columnsOf(version),
    fields: Object.fromEntries(fields.map((field) => [field, ""])),
    permanent: [],
    nameFault: subdomainFault,
    toStored: (object) => ({ ...object, apiVersion: `${group}/${stored}` }),
    ...(name === stored ? {} : { fromStored: (object) => ({ ...object, apiVersion: `${group}/${name}` }) }),
  };
}

function scaleOf(version: Mapping): ScalePaths | undefined {
  const scale = at(version, "subresources", "scale");
  if (!isMap(scale)) return undefined;
  const path = (field: string): string[] => text(scale[field]).split(".").slice(1);
  return {
    specReplicas: path("specReplicasPath"),
    statusReplicas: path("statusReplicasPath"),
    selector: scale["labelSelectorPath"] === undefined ? undefined : path("labelSelectorPath"),
  };
}

function columnsOf(version: Mapping): readonly Column[] {
  const given = mappings(version["additionalPrinterColumns"]);
  if (given.length === 0) return [column.name, AGE];
  return [column.name, ...given.map(columnOf)];
}

function columnOf({ name, type, format, description, jsonPath, priority }: Mapping): Column {
  const find = parseJsonPath(text(jsonPath));
  return {
    name: text(name),
    type: text(type),
    description: text(description),
    priority: number(priority) ?? 0,
    ...(typeof format === "string" ? { format } : {}),
    value: (object, now) => cell(find(object), text(type), now),
  };
}

/** One value as its type says; several are joined. */
function cell(found: readonly unknown[], type: string, now: number): unknown {
  const [value] = found;
  if (value === undefined || value === null) return type === "date" ? "<unknown>" : null;
  if (type === "date") return age(value, now);
  if (found.length === 1 && (type === "integer" || type === "number" || type === "boolean")) return value;
  return found.map((v) => (typeof v === "object" ? JSON.stringify(v) : String(v))).join(",");
}
