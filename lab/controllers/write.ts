/** What a controller wants done: plain values, so that controllers are functions from state to these. */
import type { EventInput, Resource } from "@weft/cluster/client";
import type { ApiObject, PodObject } from "./objects.ts";

/** Of one object's writes those after a failed one are not done: the object is looked at again. */
export type Write =
  | {
      readonly verb: "create";
      readonly kind: Resource;
      readonly object: ApiObject;
      readonly event?: EventInput;
    }
  /** Replaces the object, or its status, if nobody changed it since. */
  | {
      readonly verb: "update" | "status";
      readonly kind: Resource;
      readonly object: ApiObject;
      readonly event?: EventInput;
    }
  /** Only that very object, by its uid. */
  | {
      readonly verb: "delete";
      readonly kind: Resource;
      readonly object: ApiObject;
      /** 0: at once. Default: the object's own. */
      readonly graceSeconds?: number;
      readonly event?: EventInput;
    }
  | { readonly verb: "bind"; readonly pod: PodObject; readonly node: string; readonly event?: EventInput }
  | { readonly verb: "event"; readonly event: EventInput };

export interface Outcome {
  readonly writes: readonly Write[];
  /** Milliseconds after which to look again, though nothing may have changed by then. */
  readonly again?: number;
}

/** An event about an object. */
export function eventOf(
  { apiVersion, kind }: Pick<Resource, "apiVersion" | "kind">,
  { metadata }: ApiObject,
  type: "Normal" | "Warning",
  reason: string,
  action: string,
  note: string,
): EventInput {
  const { name, namespace, uid } = metadata;
  return {
    regarding: {
      apiVersion,
      kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
    },
    type,
    reason,
    action,
    note,
  };
}
