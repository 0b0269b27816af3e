/**
 * The one form of an object of Kubernetes' own. Clients written in Go read an object into their types and write those
 * back: zeros, empty lists and mappings that a manifest spells out are gone then, and quantities look as Go writes them.
 * That must change nothing, least of all where nothing may change: so all of it is brought into that form when it comes.
 */
import type { FieldFault } from "../faults.ts";
import { below } from "../faults.ts";
import { ROOTS, typeOf, type WireField, type WireType } from "../protobuf/types.ts";
import { isMap, type Mapping } from "../values.ts";
import { canonicalQuantity, MILLI } from "./quantity.ts";

/** Changes the object in place; what is no quantity is told. A kind that is not known stays as it is. */
export function canonicalize(object: Mapping, apiVersion: string, kind: string): FieldFault[] {
  const faults: FieldFault[] = [];
  const root = ROOTS[`${apiVersion} ${kind}`];
  if (root !== undefined) structure(object, fieldsOf(root), "", faults);
  return faults;
}

type Fields = ReadonlyMap<string, WireField>;
const made = new Map<string, Fields>();

/** By the names in JSON; those of an inlined type are the outer one's. */
function fieldsOf(type: string): Fields {
  let fields = made.get(type);
  if (fields === undefined) {
    fields = new Map(named(typeOf(type)));
    made.set(type, fields);
  }
  return fields;
}

function* named(type: WireType): Generator<[string, WireField]> {
  for (const field of type.values()) {
    if (field.name === "") yield* named(typeOf(field.form));
    else yield [field.name, field];
  }
}

function structure(object: Mapping, fields: Fields, path: string, faults: FieldFault[]): void {
  for (const name of Object.keys(object)) {
    const field = fields.get(name);
    if (field === undefined) continue;
    object[name] = formed(object[name], field.form, below(path, name), faults);
    if (field.hidden && isEmpty(object[name])) delete object[name];
  }
}

const isEmpty = (value: unknown): boolean =>
  value === "" ||
  value === 0 ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isMap(value) && Object.keys(value).length === 0);

function formed(value: unknown, form: string, path: string, faults: FieldFault[]): unknown {
  if (form.startsWith("[]")) {
    if (!Array.isArray(value)) return value;
    return value.map((item, i) => formed(item, form.slice(2), below(path, i), faults));
  }
  if (form.startsWith("{}")) {
    if (isMap(value) && form !== "{}string") {
      for (const [key, item] of Object.entries(value))
        value[key] =
          form === "{}quantity"
            ? quantity(item, below(path, key), faults, MILLI)
            : formed(item, form.slice(2), below(path, key), faults);
    }
    return value;
  }
  if (form === "quantity") return quantity(value, path, faults);
  if (isMap(value) && form.includes(".")) structure(value, fieldsOf(form), path, faults);
  return value;
}

/** A number is one too: `cpu: 2`. */
function quantity(value: unknown, path: string, faults: FieldFault[], finest?: bigint): unknown {
  if (typeof value !== "string" && typeof value !== "number") return value;
  const form = canonicalQuantity(String(value), finest);
  if (form !== undefined) return form;
  const detail =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  faults.push({ type: "FieldValueTypeInvalid", field: path, value, detail });
  return value;
}
