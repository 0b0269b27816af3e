/** Patches by their media type (Kubernetes API reference, "Update API objects in place"). */
import { badRequest, unsupportedMedia } from "../errors.ts";
import { isMap, type Mapping } from "../values.ts";
import { jsonPatch } from "./json-patch.ts";
import { strategicMerge } from "./strategic.ts";

export type Patch = (object: Mapping) => Mapping;

const TYPES =
  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

/** What the patch does. `model` is the type of Kubernetes' own objects, undefined for custom ones. Throws 400, 415. */
export function readPatch(mediaType: string, body: unknown, model: string | undefined): Patch {
  switch (mediaType) {
    case "application/json-patch+json":
      return jsonPatch(body);
    case "application/merge-patch+json":
      return (object) => mergePatch(object, asMapping(body)) as Mapping;
    case "application/strategic-merge-patch+json":
      if (model === undefined) {
        throw unsupportedMedia(
          "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json",
        );
      }
      return (object) => strategicMerge(object, asMapping(body), model);
    case "application/apply-patch+yaml":
    case "application/apply-patch+cbor":
      throw unsupportedMedia(
        `this server has no server-side apply; use kubectl apply without --server-side, or one of: ${TYPES}`,
      );
    default:
      throw unsupportedMedia(
        `the body of the request was in an unknown format - accepted media types include: ${TYPES}`,
      );
  }
}

function asMapping(body: unknown): Mapping {
  if (!isMap(body)) throw badRequest("the patch must be a JSON object");
  return body;
}

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isMap(patch)) return patch;
  const result: Mapping = isMap(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field];
    else {
      const held = Object.hasOwn(result, field) ? result[field] : undefined;
      // Defined, not assigned: "__proto__" is a name like any other.
      const merged = mergePatch(held, value);
      Object.defineProperty(result, field, {
        value: merged,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
  return result;
}
