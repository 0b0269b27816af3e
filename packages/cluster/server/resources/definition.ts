/** CustomResourceDefinitions: defaults and checks of a definition. What it defines is in custom.ts. */
import { describeError } from "@weft/base";
import { label1035Fault, labelFault, subdomainFault } from "../../names.ts";
import { below, type Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { customCheck } from "../schema/check.ts";
import { compilePattern } from "../schema/pattern.ts";
import type { Schema } from "../schema/schema.ts";
import { applyDefaults } from "../schema/walk.ts";
import { parseJsonPath } from "../table/json-path.ts";
import {
  type ApiObject,
  at,
  clone,
  ensure,
  isMap,
  items,
  type Mapping,
  mapping,
  mappings,
  setDefault,
  text,
  timestamp,
} from "../values.ts";

/** Keeps a definition until its objects are gone. */
export const CLEANUP = "customresourcecleanup.apiextensions.k8s.io";

export const DEFINITIONS_RESOURCE = builtIn({
  group: "apiextensions.k8s.io",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  shortNames: ["crd", "crds"],
  categories: ["api-extensions"],
  namespaced: false,
  status: true,
  columns: [column.name, column.text("Created At", ({ metadata }) => metadata.creationTimestamp)],

  prepare(object, old, { now }) {
    const spec = ensure(object, "spec");
    const names = ensure(spec, "names");
    setDefault(names, "singular", text(names["kind"]).toLowerCase());
    setDefault(names, "listKind", `${text(names["kind"])}List`);
    setDefault(spec, "conversion", { strategy: "None" });
    for (const version of mappings(spec["versions"])) {
      const scale = at(version, "subresources", "scale");
      if (isMap(scale) && scale["labelSelectorPath"] === "") delete scale["labelSelectorPath"];
    }
    if (old === undefined)
      object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), CLEANUP])];
    object["status"] = statusOf(object, mapping(old?.["status"]), timestamp(now));
  },

  validate(object, old, faults) {
    const spec = mapping(object["spec"]);
    validateNames(object, spec, faults);
    faults.oneOf("spec.scope", spec["scope"], ["Cluster", "Namespaced"]);
    if (old !== undefined) {
      faults.immutable("spec.scope", spec["scope"], spec["scope"] === at(old, "spec", "scope"));
      const kind = at(spec, "names", "kind");
      faults.immutable("spec.names.kind", kind, kind === at(old, "spec", "names", "kind"));
    }
    if (at(spec, "conversion", "strategy") !== "None") {
      faults.oneOf("spec.conversion.strategy", at(spec, "conversion", "strategy"), ["None"]);
    }
    const versions = mappings(spec["versions"]);
    if (versions.length === 0) faults.required("spec.versions", "must have at least one version");
    if (versions.filter((v) => v["storage"] === true).length !== 1) {
      const names = versions.map((v) => v["name"]);
      faults.invalid("spec.versions", names, "must have exactly one version marked as storage version");
    }
    for (const [i, version] of versions.entries()) validateVersion(version, `spec.versions[${i}]`, faults);
  },
});

function statusOf(object: ApiObject, held: Mapping, now: string): Mapping {
  const spec = mapping(object["spec"]);
  const storage = mappings(spec["versions"]).find((v) => v["storage"] === true)?.["name"];
  const stored = items(held["storedVersions"]);
  const condition = (type: string, reason: string, message: string): Mapping =>
    mappings(held["conditions"]).find((c) => c["type"] === type) ?? {
      type,
      status: "True",
      reason,
      message,
      lastTransitionTime: now,
    };
  return {
    conditions: [
      condition("NamesAccepted", "NoConflicts", "no conflicts found"),
      condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
      ...mappings(held["conditions"]).filter((c) => !/^(NamesAccepted|Established)$/.test(text(c["type"]))),
    ],
    acceptedNames: spec["names"],
    storedVersions: stored.includes(storage) ? stored : [...stored, storage],
  };
}

function validateNames(object: ApiObject, spec: Mapping, faults: Faults): void {
  const group = text(spec["group"]);
  const names = mapping(spec["names"]);
  faults.form("spec.group", group, subdomainFault);
  if (!group.includes(".")) faults.invalid("spec.group", group, "should be a domain with at least one dot");
  const guarded = /(^|\.)(k8s|kubernetes)\.io$/.test(group);
  const approval = "api-approved.kubernetes.io";
  if (guarded && object.metadata.annotations?.[approval] === undefined) {
    faults.required(
      `metadata.annotations[${approval}]`,
      'protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
    );
  }
  for (const field of ["plural", "singular"]) {
    if (text(names[field]) === "") faults.required(`spec.names.${field}`);
    else faults.form(`spec.names.${field}`, names[field], labelFault);
  }
  if (text(names["kind"]) === "") faults.required("spec.names.kind");
  else faults.form("spec.names.kind", text(names["kind"]).toLowerCase(), labelFault);
  for (const field of ["shortNames", "categories"]) {
    for (const [i, name] of items(names[field]).entries()) {
      faults.form(`spec.names.${field}[${i}]`, name, labelFault);
    }
  }
  const wanted = `${text(names["plural"])}.${group}`;
  if (object.metadata.name !== wanted) {
    faults.invalid("metadata.name", object.metadata.name, `must be spec.names.plural+"."+spec.group`);
  }
}

function validateVersion(version: Mapping, path: string, faults: Faults): void {
  faults.form(`${path}.name`, version["name"], label1035Fault);
  const schema = at(version, "schema", "openAPIV3Schema");
  const field = `${path}.schema.openAPIV3Schema`;
  if (!isMap(schema)) {
    faults.required(field, "schemas are required");
    return;
  }
  const before = faults.list.length;
  if (schema["type"] !== "object")
    faults.invalid(`${field}.type`, schema["type"] ?? "", "must be object at the root");
  validateStructure(schema, field, faults);
  if (faults.list.length === before) {
    try {
      customCheck(schema as Schema);
      validateDefaults(schema as Schema, field, faults);
    } catch (error) {
      faults.invalid(field, text(schema["type"]), `cannot be used: ${describeError(error)}`);
    }
  }
  for (const [i, { name, type, jsonPath }] of mappings(version["additionalPrinterColumns"]).entries()) {
    const column = `${path}.additionalPrinterColumns[${i}]`;
    if (text(name) === "") faults.required(`${column}.name`);
    faults.oneOf(`${column}.type`, type, ["boolean", "date", "integer", "number", "string"]);
    validatePath(`${column}.jsonPath`, jsonPath, faults);
  }
  const scale = at(version, "subresources", "scale");
  for (const name of isMap(scale) ? ["specReplicasPath", "statusReplicasPath", "labelSelectorPath"] : []) {
    const at = mapping(scale)[name];
    if (at === undefined && name === "labelSelectorPath") continue;
    if (!/^\.(spec|status)(\.[\w-]+)+$/.test(text(at))) {
      faults.invalid(
        `${path}.subresources.scale.${name}`,
        at,
        "should be a json path under .spec or .status",
      );
    }
  }
}

/** A default must be what its field may be: it would be refused in every object that leaves the field out. */
function validateDefaults(schema: Schema, path: string, faults: Faults): void {
  const { properties = {}, items: inner, additionalProperties } = schema;
  if (schema.default !== undefined) {
    const { default: value, ...plain } = schema;
    const filled = { value: clone(value) };
    applyDefaults(filled.value, plain);
    for (const fault of customCheck({ type: "object", properties: { value: plain } })(filled)) {
      const field = fault.field.replace(/^value/, `${path}.default`);
      faults.list.push({ ...fault, field, detail: fault.detail.replace(/^value\S* /, "") });
    }
  }
  for (const [name, s] of Object.entries(properties))
    validateDefaults(s, below(`${path}.properties`, name), faults);
  if (inner !== undefined) validateDefaults(inner, `${path}.items`, faults);
  if (typeof additionalProperties === "object")
    validateDefaults(additionalProperties, `${path}.additionalProperties`, faults);
}

function validatePath(field: string, path: unknown, faults: Faults): void {
  try {
    parseJsonPath(text(path));
  } catch (error) {
    faults.invalid(field, path, describeError(error));
  }
}

/** The rules of structural schemas: every node has one type, and nothing is said by reference. */
function validateStructure(schema: Mapping, path: string, faults: Faults): void {
  const free =
    schema["x-kubernetes-int-or-string"] === true || schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (text(schema["type"]) === "" && !free)
    faults.required(`${path}.type`, "must not be empty for specified object fields");
  else if (schema["type"] !== undefined) {
    const types = ["array", "boolean", "integer", "number", "object", "string"];
    faults.oneOf(`${path}.type`, schema["type"], types);
  }
  validateListType(schema, path, faults);
  for (const keyword of ["$ref", "$schema", "definitions", "dependencies", "patternProperties"]) {
    if (schema[keyword] !== undefined) faults.forbidden(`${path}.${keyword}`, `${keyword} is not supported`);
  }
  if (typeof schema["pattern"] === "string") {
    try {
      compilePattern(schema["pattern"]);
    } catch (error) {
      const detail = `must be a valid regular expression, but isn't: ${describeError(error)}`;
      faults.invalid(`${path}.pattern`, schema["pattern"], detail);
    }
  }
  if (schema["uniqueItems"] === true)
    faults.forbidden(
      `${path}.uniqueItems`,
      "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
    );
  if (isMap(schema["properties"]) && schema["additionalProperties"] !== undefined) {
    faults.forbidden(
      `${path}.additionalProperties`,
      "additionalProperties and properties are mutual exclusive",
    );
  }
  for (const [field, inner] of Object.entries(mapping(schema["properties"]))) {
    const place = below(`${path}.properties`, field);
    if (isMap(inner)) validateStructure(inner, place, faults);
    else faults.invalid(place, inner, "must be a schema");
  }
  for (const keyword of ["items", "additionalProperties"]) {
    const inner = schema[keyword];
    if (isMap(inner)) validateStructure(inner, `${path}.${keyword}`, faults);
  }
  if (schema["type"] === "array" && !isMap(schema["items"]))
    faults.required(`${path}.items`, "must be specified");
}

/** A list that is a map says by which fields of its items; what is in a set must be a whole. */
function validateListType(schema: Mapping, path: string, faults: Faults): void {
  const type = schema["x-kubernetes-list-type"];
  if (type === undefined) return;
  faults.oneOf(`${path}.x-kubernetes-list-type`, type, ["atomic", "map", "set"]);
  if (schema["type"] !== "array") faults.invalid(`${path}.type`, schema["type"], "must be array");
  const inner = mapping(schema["items"]);
  if (type === "set" && inner["type"] === "object" && inner["x-kubernetes-map-type"] !== "atomic") {
    const field = `${path}.items.x-kubernetes-map-type`;
    const detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    faults.invalid(field, inner["x-kubernetes-map-type"] ?? null, detail);
  }
  if (type !== "map") return;
  const field = `${path}.x-kubernetes-list-map-keys`;
  const keys = items(schema["x-kubernetes-list-map-keys"]);
  if (keys.length === 0) faults.required(field, "must not be empty if x-kubernetes-list-type is map");
  if (keys.some((key) => !Object.hasOwn(mapping(inner["properties"]), text(key))))
    faults.invalid(field, keys, "entries must all be names of item properties");
}

/** What of a definition this server takes but does not act on, for a warning. */
export function definitionWarnings(object: Mapping): string[] {
  const rules = JSON.stringify(object).includes('"x-kubernetes-validations"');
  return rules ? ["x-kubernetes-validations are kept, but this server does not evaluate them"] : [];
}
