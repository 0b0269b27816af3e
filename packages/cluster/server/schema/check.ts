/**
 * Checks of an object against the schema of a custom resource, by Ajv, with its findings in Kubernetes' words.
 *
 * OpenAPI v3 is not JSON Schema: what differs (nullable, exclusive limits as booleans, int-or-string) is translated.
 */
import { Ajv, type ErrorObject } from "ajv";
import { below, type FieldFault } from "../faults.ts";
import { isMap, type Mapping } from "../values.ts";
import { formatFault, shortened, typeFault } from "./findings.ts";
import { FORMATS } from "./formats.ts";
import type { Check } from "./known.ts";
import { compilePattern } from "./pattern.ts";
import type { Schema } from "./schema.ts";

/** Keywords that are checked. What else a schema says (titles, defaults, extensions) is for others. */
const TAKEN = new Set(
  "type format nullable properties additionalProperties items required enum pattern minimum maximum minLength maxLength minItems maxItems minProperties maxProperties uniqueItems multipleOf allOf anyOf oneOf not $ref".split(
    " ",
  ),
);

/** `code` is what a validator would be written to a file with: none is. */
const regExp = Object.assign((pattern: string) => compilePattern(pattern), { code: "compilePattern" });

/** A check of a schema that somebody brought. Throws what Ajv says of one that it cannot use. */
export function customCheck(schema: Schema): Check {
  const ajv = new Ajv({
    allErrors: true,
    strict: false,
    verbose: true,
    formats: FORMATS,
    code: { regExp, optimize: false },
  });
  const validate = ajv.compile(translate(schema));
  return (object) => (validate(object) ? [] : faultsOf(validate.errors ?? []));
}

/** OpenAPI v3 to JSON Schema (draft 7). */
export function translate(schema: Schema): Mapping {
  const result: Mapping = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (TAKEN.has(keyword)) result[keyword] = translated(keyword, value);
  }
  for (const [limit, exclusive] of [
    ["minimum", "exclusiveMinimum"],
    ["maximum", "exclusiveMaximum"],
  ] as const) {
    if (schema[exclusive] !== true) continue;
    result[exclusive] = schema[limit];
    delete result[limit];
  }
  if (schema["x-kubernetes-int-or-string"] === true) result["type"] = ["integer", "string"];
  if (schema.nullable === true && result["type"] === undefined) delete result["nullable"];
  // An enumeration does not name null; nullable allows it all the same.
  if (schema.nullable === true && Array.isArray(result["enum"])) result["enum"] = [...result["enum"], null];
  return result;
}

function translated(keyword: string, value: unknown): unknown {
  if (keyword === "properties" && isMap(value)) {
    return Object.fromEntries(Object.entries(value).map(([field, s]) => [field, translate(s as Schema)]));
  }
  if (Array.isArray(value) && /^(allOf|anyOf|oneOf)$/.test(keyword)) {
    return value.map((s) => translate(s as Schema));
  }
  if (/^(items|not|additionalProperties)$/.test(keyword) && isMap(value)) return translate(value as Schema);
  return value;
}

/** All faults; of one field, what a combination ("anyOf") adds to its own is left out, and of a wrong type its form. */
function faultsOf(errors: readonly ErrorObject[]): FieldFault[] {
  const mistyped = new Set(errors.filter((e) => e.keyword === "type").map((e) => e.instancePath));
  const told = errors.filter((e) => e.keyword !== "format" || !mistyped.has(e.instancePath));
  const faults = told.flatMap((error) => faultOf(error) ?? []);
  const seen = new Set<string>();
  return faults.filter(({ field, detail }) => {
    const known = seen.has(`${field} ${detail}`);
    seen.add(`${field} ${detail}`);
    return !known;
  });
}

function faultOf(error: ErrorObject): FieldFault | undefined {
  const field = fieldOf(error);
  const value = error.data;
  const params = error.params as Mapping;
  const invalid = (detail: string): FieldFault => ({ type: "FieldValueInvalid", field, value, detail });
  const limit = params["limit"];
  switch (error.keyword) {
    case "required":
      return {
        type: "FieldValueRequired",
        field: below(field, String(params["missingProperty"])),
        detail: "",
      };
    case "type": {
      const wanted = [params["type"]].flat().filter((type) => type !== "null") as string[];
      return typeFault(field, value, wanted);
    }
    case "enum": {
      const allowed = (params["allowedValues"] as unknown[]).filter((v) => v !== null);
      const detail = `supported values: ${allowed.map((v) => JSON.stringify(v)).join(", ")}`;
      return { type: "FieldValueNotSupported", field, value, detail };
    }
    case "pattern":
      return invalid(`${field} in body should match '${String(params["pattern"])}'`);
    case "format":
      return formatFault(field, value, String(params["format"]));
    case "minimum":
      return invalid(`${field} in body should be greater than or equal to ${String(limit)}`);
    case "maximum":
      return invalid(`${field} in body should be less than or equal to ${String(limit)}`);
    case "exclusiveMinimum":
      return invalid(`${field} in body should be greater than ${String(limit)}`);
    case "exclusiveMaximum":
      return invalid(`${field} in body should be less than ${String(limit)}`);
    case "minLength":
      return invalid(`${field} in body should be at least ${String(limit)} chars long`);
    case "maxLength":
      return { type: "FieldValueTooLong", field, detail: `may not be more than ${String(limit)} bytes` };
    case "maxItems": {
      const detail = `must have at most ${String(limit)} items`;
      return { type: "FieldValueTooMany", field, value: (value as unknown[]).length, detail };
    }
    // A branch of a combination is said by the combination.
    case "if":
      return undefined;
    default:
      return { ...invalid(`${field} in body ${error.message ?? "is not valid"}`), value: shortened(value) };
  }
}

/** "/spec/ports/0/port" to "spec.ports[0].port"; `data` tells a list's index from a field of digits. */
function fieldOf({ instancePath }: ErrorObject): string {
  return instancePath
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((path, step) => below(path, /^\d+$/.test(step) ? Number(step) : step), "");
}
