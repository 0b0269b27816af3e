/**
 * Who controls whom: an object that a selector selects and that nobody controls is adopted, one that is controlled and
 * not selected any more is released (Kubernetes documentation, "ReplicaSet", "Non-Template Pod acquisitions"). Pure.
 */
import type { Resource } from "@weft/cluster/client";
import { type ApiObject, controllerOf, type LabelSelector, ownedBy } from "./objects.ts";
import { selects } from "./selector.ts";
import type { Write } from "./write.ts";

export interface Claim<T> {
  /** Objects that `owner` controls, or will once `writes` are done. */
  readonly owned: readonly T[];
  readonly writes: readonly Write[];
}

/** Of all objects of one kind in the owner's namespace. An owner that is being deleted adopts nothing. */
export function claim<T extends ApiObject>(
  ownerKind: Resource,
  owner: ApiObject,
  selector: LabelSelector,
  kind: Resource,
  objects: readonly T[],
): Claim<T> {
  const owned: T[] = [];
  const writes: Write[] = [];
  for (const object of objects) {
    const { metadata } = object;
    if (metadata.namespace !== owner.metadata.namespace) continue;
    const controller = controllerOf(metadata);
    const selected = selects(selector, metadata.labels);
    if (controller?.uid === owner.metadata.uid) {
      if (selected) owned.push(object);
      else if (metadata.deletionTimestamp === undefined) writes.push(released(kind, object, owner));
    } else if (controller === undefined && selected) {
      if (metadata.deletionTimestamp !== undefined || owner.metadata.deletionTimestamp !== undefined)
        continue;
      const references = [...(metadata.ownerReferences ?? []), ownedBy(ownerKind, owner)];
      const adopted = { ...object, metadata: { ...metadata, ownerReferences: references } };
      writes.push({ verb: "update", kind, object: adopted });
      owned.push(object);
    }
  }
  return { owned, writes };
}

function released(kind: Resource, object: ApiObject, owner: ApiObject): Write {
  const ownerReferences = (object.metadata.ownerReferences ?? []).filter((o) => o.uid !== owner.metadata.uid);
  return { verb: "update", kind, object: { ...object, metadata: { ...object.metadata, ownerReferences } } };
}
