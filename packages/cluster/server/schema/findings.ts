/** Findings of a schema's check in Kubernetes' words (apiextensions-apiserver takes those of go-openapi). */
import type { FieldFault } from "../faults.ts";

/** `names` are the types that are wanted. */
export function typeFault(field: string, value: unknown, names: readonly string[]): FieldFault {
  const detail = `${field} in body must be of type ${names.join(" or ")}: "${typeOf(value)}"`;
  return { type: "FieldValueTypeInvalid", field, value: shortened(value), detail };
}

export function formatFault(field: string, value: unknown, format: string): FieldFault {
  const detail = `${field} in body must be of type ${format}: ${JSON.stringify(value)}`;
  return { type: "FieldValueInvalid", field, value, detail };
}

const typeOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "array"
      : Number.isInteger(value)
        ? "integer"
        : typeof value;

/** Of a list or mapping its type alone: a message has no room for more. */
export const shortened = (value: unknown): unknown =>
  typeof value === "object" && value !== null ? typeOf(value) : value;
