/**
 * What the server knows of a resource. Everything else is the same for all: one small description in resources/ and a
 * line in resources/index.ts make a new one.
 */
import { subdomainFault } from "../names.ts";
import type { ResourceName } from "./errors.ts";
import type { Faults } from "./faults.ts";
import { builtInCheck, type Check } from "./schema/known.ts";
import { refTo, type Schema } from "./schema/schema.ts";
import type { SelectableFields } from "./select/fields.ts";
import type { Transaction } from "./storage/store.ts";
import type { ApiObject } from "./values.ts";

export interface Column {
  readonly name: string;
  /** OpenAPI's: "string", "integer", "date", ... */
  readonly type: string;
  readonly format?: string;
  readonly description: string;
  /** 0 always, above only in wide output. */
  readonly priority: number;
  value(object: ApiObject, now: number): unknown;
}

/** Where autoscaling/v1 Scale is in an object: paths of fields. */
export interface ScalePaths {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  /** A label selector, as an object or a text. */
  readonly selector: readonly string[] | undefined;
}

/** What hooks may need of the server's settings. */
export interface Context {
  readonly now: number;
  readonly services: ServiceSettings;
}

export interface ServiceSettings {
  /** Prefixes that cluster addresses are taken from; the first one's family is the default. */
  readonly ranges: readonly string[];
  readonly nodePorts: readonly [number, number];
}

export interface Hooks {
  /** Fills in defaults and what the server decides itself; `old` is undefined on creation. */
  prepare?(object: ApiObject, old: ApiObject | undefined, context: Context): void;
  validate?(object: ApiObject, old: ApiObject | undefined, faults: Faults): void;
  /** Inside of the transaction that writes it: what must be unique among objects. May throw a Failure. */
  admit?(object: ApiObject, old: ApiObject | undefined, tx: Transaction, context: Context): void;
  /** Inside of the transaction that removes it: gives back what `admit` took. */
  release?(object: ApiObject, tx: Transaction): void;
}

export interface Resource extends ResourceName, Hooks {
  /** "" is the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** Resources that share it are views of the same objects. */
  readonly storage: string;
  readonly schema: Schema;
  readonly check: Check;
  /** Type of Kubernetes' own objects; undefined for custom resources. */
  readonly model: string | undefined;
  /** Whether status is a subresource; "on-create" takes it from a new object too. */
  readonly status: boolean | "on-create";
  readonly scale: ScalePaths | undefined;
  readonly columns: readonly Column[];
  readonly fields: SelectableFields;
  /** Names of objects that nobody may delete; where there are some, there is no deletion of many at once. */
  readonly permanent: readonly string[];
  /** Seconds that a deletion leaves to whoever runs the object; 0 is at once. */
  gracePeriod?(object: ApiObject): number;
  nameFault(name: string): string | undefined;
  /** Between this version and what is stored; absent when they are the same. */
  toStored?(object: ApiObject): ApiObject;
  fromStored?(object: ApiObject): ApiObject;
}

export const apiVersionOf = ({ group, version }: { group: string; version: string }): string =>
  group === "" ? version : `${group}/${version}`;

/** A description: what cannot be derived. */
export type Description = Hooks &
  Pick<Resource, "kind" | "plural" | "namespaced" | "columns"> &
  Partial<
    Pick<
      Resource,
      | "group"
      | "shortNames"
      | "categories"
      | "storage"
      | "status"
      | "scale"
      | "fields"
      | "gracePeriod"
      | "permanent"
      | "nameFault"
      | "toStored"
      | "fromStored"
    >
  > & { readonly model?: string };

/** One of Kubernetes' own resources, all of which are of version v1. */
export function builtIn(description: Description): Resource {
  const { group = "", kind, plural, model = `V1${kind}` } = description;
  const schema = refTo(model);
  return {
    group,
    version: "v1",
    singular: kind.toLowerCase(),
    shortNames: [],
    categories: [],
    storage: group === "" ? plural : `${group}/${plural}`,
    schema,
    check: builtInCheck(schema),
    status: false,
    scale: undefined,
    fields: {},
    permanent: [],
    nameFault: subdomainFault,
    ...description,
    model,
  };
}

const of = (name: string, type: string, value: Column["value"], priority = 0, format?: string): Column => ({
  name,
  type,
  description: name,
  priority,
  value,
  ...(format === undefined ? {} : { format }),
});

/** Short ways to write columns. */
export const column = {
  text: (name: string, value: Column["value"], priority = 0) => of(name, "string", value, priority),
  number: (name: string, value: Column["value"], priority = 0) => of(name, "integer", value, priority),
  name: of("Name", "string", ({ metadata }) => metadata.name, 0, "name"),
};
