/**
 * A place in an object, and what is wrong with it. Reading never throws: a fault is reported with its path
 * and the caller gets undefined, so that all faults of an object come to light at once. As in Kubernetes, null
 * and absent are the same.
 */
import { shownValue } from "@weft/base";
import type { Path } from "./documents.ts";

export interface Fault {
  readonly path: Path;
  readonly message: string;
}

export class Field {
  readonly value: unknown;
  readonly path: Path;
  readonly #faults: Fault[];

  constructor(value: unknown, path: Path, faults: Fault[]) {
    this.value = value ?? undefined;
    this.path = path;
    this.#faults = faults;
  }

  get present(): boolean {
    return this.value !== undefined;
  }

  /** The path as Kubernetes writes it: "spec.containers[0].image". */
  get text(): string {
    return pathText(this.path);
  }

  /** The field of that name; absent when this is no mapping, which `keys` or `required` reports. */
  at(key: string): Field {
    const inside = isMapping(this.value) && Object.hasOwn(this.value, key) ? this.value[key] : undefined;
    return new Field(inside, [...this.path, key], this.#faults);
  }

  /** The same place; what is wrong inside of it goes to `faults`, and is no fault of the whole object. */
  reportingTo(faults: Fault[]): Field {
    return new Field(this.value, this.path, faults);
  }

  /** The item of a list, faults of which go to `faults`, if given. */
  child(index: number, faults: Fault[] = this.#faults): Field {
    const item: unknown = Array.isArray(this.value) ? this.value[index] : undefined;
    return new Field(item, [...this.path, index], faults);
  }

  /** The same place with another value in it. */
  withValue(value: unknown): Field {
    return new Field(value, this.path, this.#faults);
  }

  fault(message: string): void {
    this.#faults.push({ path: this.path, message });
  }

  /** "Invalid value" of what is there, shortened. */
  invalid(why: string): void {
    this.fault(`Invalid value: ${quoted(this.value)}: ${why}`);
  }

  required(detail?: string): void {
    this.fault(detail === undefined ? "Required value" : `Required value: ${detail}`);
  }

  string(): string | undefined {
    if (typeof this.value === "string") return this.value;
    if (this.present) {
      this.invalid(
        isScalar(this.value) ? `must be a string; write ${stringForm(this.value)}` : "must be a string",
      );
    }
    return undefined;
  }

  /** A string that must be there and not be empty, and for which `check`, if given, must find no fault. */
  requiredString(check?: (text: string) => string | undefined): string | undefined {
    if (!this.present || this.value === "") {
      this.required();
      return undefined;
    }
    return this.optionalString(check);
  }

  optionalString(check?: (text: string) => string | undefined): string | undefined {
    const text = this.string();
    const why = text === undefined ? undefined : check?.(text);
    if (why === undefined) return text;
    this.invalid(why);
    return undefined;
  }

  boolean(): boolean | undefined {
    if (typeof this.value === "boolean") return this.value;
    if (this.present) this.invalid("must be a boolean");
    return undefined;
  }

  integer(least: number, most: number): number | undefined {
    const v = this.value;
    if (typeof v === "number" && Number.isInteger(v) && v >= least && v <= most) return v;
    if (this.present) this.invalid(`must be a whole number between ${least} and ${most}, inclusive`);
    return undefined;
  }

  /** The items of a list; none when it is absent. */
  items(): readonly Field[] {
    if (Array.isArray(this.value)) {
      return this.value.map((item: unknown, i) => new Field(item, [...this.path, i], this.#faults));
    }
    if (this.present) this.invalid("must be a list");
    return [];
  }

  /** The names of a mapping's fields; none when it is absent. */
  keys(): readonly string[] {
    if (isMapping(this.value)) return Object.keys(this.value);
    if (this.present) this.invalid("must be a mapping");
    return [];
  }
}

/** "spec.ports[1].port: Invalid value: 0: ..." */
export const faultText = ({ path, message }: Fault): string =>
  path.length === 0 ? message : `${pathText(path)}: ${message}`;

/** "spec.containers[0].image"; what is no plain word stands in brackets: "metadata.labels[example.com/app]". */
export function pathText(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number" || !/^\w+$/.test(step)) return `${text}[${step}]`;
    return text === "" ? step : `${text}.${step}`;
  }, "");
}

export const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isScalar = (value: unknown): boolean => typeof value === "number" || typeof value === "boolean";

const stringForm = (value: unknown): string => JSON.stringify(shownValue(value));

function quoted(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  const text = JSON.stringify(value ?? null);
  return text.length <= 80 ? text : `${text.slice(0, 76)}..."`;
}
