/** The scale subresource: autoscaling/v1 Scale as a view of an object's replicas. */
import { badRequest, invalid } from "../errors.ts";
import { Faults } from "../faults.ts";
import type { Resource, ScalePaths } from "../resource.ts";
import { builtInCheck } from "../schema/known.ts";
import { refTo } from "../schema/schema.ts";
import { selectorText } from "../table/cells.ts";
import { type ApiObject, at, ensure, isMap, type Mapping, number, text } from "../values.ts";

const check = builtInCheck(refTo("V1Scale"));

export function scaleOf({ metadata, ...object }: ApiObject, paths: ScalePaths): ApiObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  const selector = paths.selector === undefined ? undefined : at(object, ...paths.selector);
  const shown = typeof selector === "string" ? selector : selectorText(selector);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: JSON.parse(JSON.stringify({ name, namespace, uid, resourceVersion, creationTimestamp })),
    spec: { replicas: number(at(object, ...paths.specReplicas)) ?? 0 },
    status: {
      replicas: number(at(object, ...paths.statusReplicas)) ?? 0,
      ...(selector === undefined ? {} : { selector: shown }),
    },
  };
}

/** The object with the replicas of a Scale that a client sent. Throws 400, 422. */
export function withScale(
  object: ApiObject,
  sent: Mapping,
  resource: Resource,
  paths: ScalePaths,
): ApiObject {
  if (sent["kind"] !== "Scale" || text(sent["apiVersion"]) !== "autoscaling/v1") {
    throw badRequest("the body of the request must be a Scale of autoscaling/v1");
  }
  const faults = new Faults();
  faults.list.push(...check(sent));
  const replicas = at(sent, "spec", "replicas") ?? 0;
  faults.notNegative("spec.replicas", replicas);
  const { name } = object.metadata;
  if (faults.list.length > 0)
    throw invalid({ ...resource, group: "autoscaling", kind: "Scale" }, name, faults.list);
  const result = structuredClone(object);
  const version = at(sent, "metadata", "resourceVersion");
  if (typeof version === "string") result.metadata.resourceVersion = version;
  let parent: Mapping = result;
  for (const field of paths.specReplicas.slice(0, -1)) {
    const inner = parent[field];
    parent = isMap(inner) ? inner : ensure(parent, field);
  }
  parent[paths.specReplicas.at(-1) ?? "replicas"] = replicas;
  return result;
}
