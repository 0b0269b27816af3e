/** meta.k8s.io/v1 Table: what kubectl prints (Kubernetes API concepts, "Receiving resources as Tables"). */
import type { Resource } from "../resource.ts";
import type { ApiObject, Mapping } from "../values.ts";

export type IncludeObject = "Metadata" | "Object" | "None";

export interface TableOptions {
  readonly include: IncludeObject;
  readonly now: number;
}

export function tableOf(
  resource: Resource,
  objects: readonly ApiObject[],
  metadata: Mapping,
  options: TableOptions,
): Mapping {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: resource.columns.map(({ name, type, format = "", description, priority }) => ({
      name,
      type,
      format,
      description,
      priority,
    })),
    rows: objects.map((object) => ({
      cells: resource.columns.map((column) => column.value(object, options.now) ?? null),
      ...(options.include === "None"
        ? {}
        : { object: options.include === "Object" ? object : partial(object) }),
    })),
  };
}

/** meta.k8s.io/v1 PartialObjectMetadata. */
export const partial = ({ metadata }: ApiObject): Mapping => ({
  kind: "PartialObjectMetadata",
  apiVersion: "meta.k8s.io/v1",
  metadata,
});
