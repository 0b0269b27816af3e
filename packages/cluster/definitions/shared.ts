/** What the definitions of our own kinds have in common. Schemas are structural: every field has a type. */
import { API_GROUP } from "@weft/model";

export type Schema = Readonly<Record<string, unknown>>;

/** Short of the whole grammar of prefixes, for the API server's message to be a clear one; readers check all of it. */
export const CIDR: Schema = {
  type: "string",
  pattern: "^[0-9a-fA-F:.]{2,45}/[0-9]{1,3}$",
  maxLength: 49,
};
export const ADDRESS: Schema = { type: "string", pattern: "^[0-9a-fA-F:.]{2,45}$", maxLength: 45 };
/** A DNS subdomain: name of a node, of a pool. */
export const NAME: Schema = {
  type: "string",
  pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
  maxLength: 253,
};
export const text = (maxLength: number, description: string): Schema => ({
  type: "string",
  minLength: 1,
  maxLength,
  description,
});
export const count = (description: string): Schema => ({
  type: "integer",
  format: "int64",
  minimum: 0,
  description,
});
export const TIME: Schema = { type: "string", format: "date-time" };
export const AGE = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

export const described = (schema: Schema, description: string): Schema => ({ ...schema, description });

export function object(
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
  description?: string,
): Schema {
  return {
    type: "object",
    ...(description === undefined ? {} : { description }),
    properties,
    ...(required.length === 0 ? {} : { required: [...required] }),
  };
}

interface Names {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
}

export interface Definition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: Schema;
}

/** A CustomResourceDefinition of a kind without namespace, with status as a subresource. */
export function definition(
  { kind, plural, shortName }: Names,
  schema: Schema,
  columns: readonly Schema[],
): Definition {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${API_GROUP}`, labels: { "app.kubernetes.io/name": "weft" } },
    spec: {
      group: API_GROUP,
      scope: "Cluster",
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        categories: ["weft"],
      },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: schema },
          subresources: { status: {} },
          additionalPrinterColumns: [...columns, AGE],
        },
      ],
    },
  };
}
