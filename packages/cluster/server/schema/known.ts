/**
 * Checks of Kubernetes' own types: kinds of values, formats, fields that must be there; the same findings as check.ts
 * has for schemas that somebody brought. Their schemas say nothing else, so that a few functions that call each other
 * do: they cost nothing to make, where Ajv writes and compiles half a megabyte of program before the first object is
 * checked, in every server that starts.
 */
import type { FieldFault } from "../faults.ts";
import { below } from "../faults.ts";
import { isMap, type Mapping } from "../values.ts";
import { formatFault, typeFault } from "./findings.ts";
import { FORMATS } from "./formats.ts";
import { resolve, type Schema } from "./schema.ts";

export type Check = (object: Mapping) => FieldFault[];

/** Where a mapping or list stands. Few are wrong: a path is put together only for those that are. */
interface Place {
  readonly above: Place | undefined;
  readonly step: string | number;
}

const pathOf = (above: Place | undefined, step: string | number): string =>
  above === undefined ? String(step) : below(pathOf(above.above, above.step), step);

type Walk = (value: unknown, above: Place | undefined, step: string | number, faults: FieldFault[]) => void;

const anything: Walk = () => {};

/** By a type's name: types refer to each other, and to themselves. */
const walks = new Map<string, Walk>();

/** A check of one of Kubernetes' own types. Made when first needed, and kept. */
export function builtInCheck(schema: Schema): Check {
  let walk: Walk | undefined;
  return (object) => {
    walk ??= walkOf(schema);
    const faults: FieldFault[] = [];
    walk(object, undefined, "", faults);
    return faults;
  };
}

function walkOf(schema: Schema): Walk {
  const name = schema.$ref;
  if (name === undefined) return inlineWalk(schema);
  const known = walks.get(name);
  if (known !== undefined) return known;
  // Stands for the type from now on, also in the fields of its own that are of the same type.
  const later: Walk = (value, above, step, faults) => made(value, above, step, faults);
  walks.set(name, later);
  const made = inlineWalk(resolve(schema));
  walks.set(name, made);
  return made;
}

function inlineWalk(schema: Schema): Walk {
  if (schema["x-kubernetes-int-or-string"] === true) {
    return kind(["integer", "string"], (v) => Number.isInteger(v) || typeof v === "string");
  }
  switch (schema.type) {
    case "object":
      return mappingWalk(schema);
    case "array":
      return listWalk(schema.items);
    case "string":
      return scalar(schema, (v) => typeof v === "string");
    case "boolean":
      return scalar(schema, (v) => typeof v === "boolean");
    case "integer":
      return scalar(schema, Number.isInteger);
    case "number":
      return scalar(schema, Number.isFinite);
    default:
      return anything;
  }
}

function kind(names: readonly string[], fits: (value: unknown) => boolean): Walk {
  return (value, above, step, faults) => {
    if (!fits(value)) faults.push(typeFault(pathOf(above, step), value, names));
  };
}

function scalar({ type, format }: Schema, fits: (value: unknown) => boolean): Walk {
  const names = [type as string];
  const known = format === undefined ? undefined : FORMATS[format as keyof typeof FORMATS];
  if (format === undefined || known === undefined) return kind(names, fits);
  const formed = (typeof known === "function" ? known : known.validate) as (value: unknown) => boolean;
  return (value, above, step, faults) => {
    if (!fits(value)) faults.push(typeFault(pathOf(above, step), value, names));
    else if (!formed(value)) faults.push(formatFault(pathOf(above, step), value, format));
  };
}

function listWalk(items: Schema | undefined): Walk {
  const walk = items === undefined ? anything : walkOf(items);
  return (value, above, step, faults) => {
    if (!Array.isArray(value)) faults.push(typeFault(pathOf(above, step), value, ["array"]));
    else if (walk !== anything) {
      const place = { above, step };
      for (let i = 0; i < value.length; i++) walk(value[i], place, i, faults);
    }
  };
}

function mappingWalk({ properties = {}, required = [], additionalProperties }: Schema): Walk {
  const fields = new Map(Object.entries(properties).map(([field, schema]) => [field, walkOf(schema)]));
  const other = typeof additionalProperties === "object" ? walkOf(additionalProperties) : anything;
  return (value, above, step, faults) => {
    if (!isMap(value)) {
      faults.push(typeFault(pathOf(above, step), value, ["object"]));
      return;
    }
    const place = { above, step };
    for (const field of required) {
      if (value[field] === undefined)
        faults.push({ type: "FieldValueRequired", field: pathOf(place, field), detail: "" });
    }
    for (const field in value) {
      const inner = value[field];
      if (inner !== undefined) (fields.get(field) ?? other)(inner, place, field, faults);
    }
  };
}
