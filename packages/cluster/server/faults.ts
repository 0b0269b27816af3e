/**
 * What is wrong with the fields of an object: path, kind of fault, value, detail; in the words of apimachinery's
 * pkg/util/validation/field, which users of kubectl know.
 */
import type { Mapping } from "./values.ts";

export type FaultType =
  | "FieldValueRequired"
  | "FieldValueInvalid"
  | "FieldValueTypeInvalid"
  | "FieldValueNotSupported"
  | "FieldValueDuplicate"
  | "FieldValueForbidden"
  | "FieldValueNotFound"
  | "FieldValueTooLong"
  | "FieldValueTooMany";

export interface FieldFault {
  readonly type: FaultType;
  /** "spec.ports[0].port" */
  readonly field: string;
  readonly value?: unknown;
  readonly detail: string;
}

const TITLES: Readonly<Record<FaultType, string>> = {
  FieldValueRequired: "Required value",
  FieldValueInvalid: "Invalid value",
  FieldValueTypeInvalid: "Invalid value",
  FieldValueNotSupported: "Unsupported value",
  FieldValueDuplicate: "Duplicate value",
  FieldValueForbidden: "Forbidden",
  FieldValueNotFound: "Not found",
  FieldValueTooLong: "Too long",
  FieldValueTooMany: "Too many",
};

/** Faults that show no value: there is none, or it would be too much. */
const WITHOUT_VALUE: readonly FaultType[] = [
  "FieldValueRequired",
  "FieldValueForbidden",
  "FieldValueTooLong",
];

export function faultText({ type, field, value, detail }: FieldFault): string {
  const shown = WITHOUT_VALUE.includes(type) ? "" : `: ${valueText(value)}`;
  return `${field}: ${TITLES[type]}${shown}${detail === "" ? "" : `: ${detail}`}`;
}

function valueText(value: unknown): string {
  const shown = JSON.stringify(value ?? null);
  return shown.length > 200 ? `${shown.slice(0, 200)}...` : shown;
}

/** Collects the faults of one object. */
export class Faults {
  readonly list: FieldFault[] = [];

  required(field: string, detail = ""): void {
    this.list.push({ type: "FieldValueRequired", field, detail });
  }

  invalid(field: string, value: unknown, detail: string): void {
    this.list.push({ type: "FieldValueInvalid", field, value, detail });
  }

  forbidden(field: string, detail: string): void {
    this.list.push({ type: "FieldValueForbidden", field, detail });
  }

  duplicate(field: string, value: unknown): void {
    this.list.push({ type: "FieldValueDuplicate", field, value, detail: "" });
  }

  tooLong(field: string, detail: string): void {
    this.list.push({ type: "FieldValueTooLong", field, detail });
  }

  /** `value` must be one of `supported`; an absent one is a required value. */
  oneOf(field: string, value: unknown, supported: readonly string[]): void {
    if (value === undefined || value === "") this.required(field);
    else if (!supported.includes(value as string)) {
      const detail = `supported values: ${supported.map((s) => JSON.stringify(s)).join(", ")}`;
      this.list.push({ type: "FieldValueNotSupported", field, value, detail });
    }
  }

  /** A field that may not change once it is set. */
  immutable(field: string, value: unknown, same: boolean): void {
    if (!same) this.invalid(field, value, "field is immutable");
  }

  /** `check` says why the text is wrong, or undefined. */
  form(field: string, value: unknown, check: (text: string) => string | undefined): void {
    const why = typeof value === "string" ? check(value) : "must be a string";
    if (why !== undefined) this.invalid(field, value, why);
  }

  range(field: string, value: unknown, least: number, most: number): void {
    if (typeof value !== "number" || value < least || value > most) {
      this.invalid(field, value, `must be between ${least} and ${most}, inclusive`);
    }
  }

  notNegative(field: string, value: unknown): void {
    if (typeof value === "number" && value < 0)
      this.invalid(field, value, "must be greater than or equal to 0");
  }
}

/** "labels[example.com/app]" or "spec.x": a step below a path. */
export const below = (path: string, step: string | number): string => {
  if (typeof step === "number" || !/^[\w$-]+$/.test(step)) return `${path}[${step}]`;
  return path === "" ? step : `${path}.${step}`;
};

export type Validate = (object: Mapping, faults: Faults) => void;
