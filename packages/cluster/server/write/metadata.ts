/** Metadata: what the server sets itself, what may change, and what its forms are (API conventions, "Metadata"). */
import { labelFault, labelKeyFault, labelValueFault } from "../../names.ts";
import { badRequest, conflict, MODIFIED } from "../errors.ts";
import type { Faults } from "../faults.ts";
import type { Resource } from "../resource.ts";
import { type ApiObject, equal, isMap, type Metadata, mapping, text, timestamp } from "../values.ts";

/** Characters of a generated name: none that could make a word. */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX = 5;
const MOST_GENERATED = 63 - SUFFIX;
const STANDARD_FINALIZERS = ["kubernetes", "orphan", "foregroundDeletion"];
const MOST_ANNOTATIONS = 256 * 1024;

/** Of a new object. Names must fit the request's path. Throws 400. */
export function beginMetadata(object: ApiObject, namespace: string | undefined, now: number): void {
  const { metadata } = object;
  placeIn(metadata, namespace);
  dropEmpty(metadata);
  if (text(metadata.name) === "" && text(metadata.generateName) !== "") {
    metadata.name = `${text(metadata.generateName).slice(0, MOST_GENERATED)}${suffix()}`;
  }
  for (const field of [
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "resourceVersion",
  ]) {
    if (field === "resourceVersion" && text(metadata[field]) !== "" && metadata[field] !== "0") {
      throw badRequest("resourceVersion should not be set on objects to be created");
    }
    delete metadata[field];
  }
  metadata.uid = crypto.randomUUID();
  metadata.creationTimestamp = timestamp(now);
  if (isMap(object["spec"])) metadata.generation = 1;
  else delete metadata.generation;
}

function suffix(): string {
  const random = crypto.getRandomValues(new Uint32Array(SUFFIX));
  return [...random].map((n) => ALPHABET[n % ALPHABET.length]).join("");
}

/** No labels and an empty mapping of them are the same: whoever writes the one for the other changes nothing. */
function dropEmpty(metadata: Metadata): void {
  for (const field of ["labels", "annotations", "finalizers", "ownerReferences"] as const) {
    if (Object.keys(metadata[field] ?? {}).length === 0) delete metadata[field];
  }
}

function placeIn(metadata: Metadata, namespace: string | undefined): void {
  if (namespace === undefined) {
    delete metadata.namespace;
    return;
  }
  const given = text(metadata.namespace);
  if (given !== "" && given !== namespace) {
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request: ${given} is not ${namespace}`,
    );
  }
  metadata.namespace = namespace;
}

/** Of an object that replaces `old`: what clients cannot change is as it was. Throws 400, 409. */
export function continueMetadata(resource: Resource, object: ApiObject, old: ApiObject): void {
  const { metadata } = object;
  const before = old.metadata;
  if (text(metadata.name) !== "" && metadata.name !== before.name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${before.name})`,
    );
  }
  placeIn(metadata, before.namespace);
  const version = text(metadata.resourceVersion);
  if (version !== "" && version !== "0" && version !== before.resourceVersion) {
    throw conflict(resource, before.name, MODIFIED);
  }
  if (text(metadata.uid) !== "" && metadata.uid !== before.uid) {
    throw conflict(
      resource,
      before.name,
      `Precondition failed: UID in precondition: ${String(metadata.uid)}, UID in object meta: ${String(before.uid)}`,
    );
  }
  delete metadata["managedFields"];
  delete metadata["selfLink"];
  dropEmpty(metadata);
  metadata.name = before.name;
  for (const field of [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
  ] as const) {
    if (before[field] === undefined) delete metadata[field];
    else Object.assign(metadata, { [field]: before[field] });
  }
}

/** Counts changes of what an object asks for: all that is neither metadata nor status. */
export function countGeneration(object: ApiObject, old: ApiObject): void {
  const asked = ({ metadata: _, status: __, ...rest }: ApiObject): object => rest;
  if (old.metadata.generation !== undefined && !equal(asked(object), asked(old))) {
    object.metadata.generation = old.metadata.generation + 1;
  }
}

export function validateMetadata(
  resource: Resource,
  { metadata }: ApiObject,
  old: ApiObject | undefined,
  faults: Faults,
): void {
  if (text(metadata.name) === "") faults.required("metadata.name", "name or generateName is required");
  else if (old === undefined) faults.form("metadata.name", metadata.name, (name) => resource.nameFault(name));
  if (metadata.namespace !== undefined) faults.form("metadata.namespace", metadata.namespace, labelFault);
  for (const [key, value] of Object.entries(mapping(metadata.labels))) {
    const why = labelKeyFault(key);
    if (why !== undefined) faults.invalid("metadata.labels", key, why);
    faults.form("metadata.labels", value, labelValueFault);
  }
  let size = 0;
  for (const [key, value] of Object.entries(mapping(metadata.annotations))) {
    size += key.length + text(value).length;
    const why = labelKeyFault(key.toLowerCase());
    if (why !== undefined) faults.invalid("metadata.annotations", key, why);
  }
  if (size > MOST_ANNOTATIONS)
    faults.tooLong("metadata.annotations", `may not be more than ${MOST_ANNOTATIONS} bytes`);
  validateOwners(metadata, faults);
  const ofCore = resource.group === "" && resource.model !== undefined;
  for (const [i, name] of (metadata.finalizers ?? []).entries()) {
    const why = labelKeyFault(name);
    const field = `metadata.finalizers[${i}]`;
    if (why !== undefined) faults.invalid(field, name, why);
    else if (!name.includes("/") && !STANDARD_FINALIZERS.includes(name) && ofCore) {
      const detail = "name is neither a standard finalizer name nor is it fully qualified";
      faults.invalid(field, name, detail);
    }
  }
  const held = old?.metadata.finalizers ?? [];
  const added = (metadata.finalizers ?? []).filter((name) => !held.includes(name));
  if (old?.metadata.deletionTimestamp !== undefined && added.length > 0) {
    faults.forbidden(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    );
  }
}

function validateOwners({ ownerReferences = [] }: Metadata, faults: Faults): void {
  for (const [i, owner] of ownerReferences.entries()) {
    for (const field of ["apiVersion", "kind", "name", "uid"] as const) {
      if (owner[field] === "")
        faults.invalid(`metadata.ownerReferences[${i}].${field}`, "", "must not be empty");
    }
  }
  if (ownerReferences.filter((owner) => owner.controller === true).length > 1) {
    faults.invalid(
      "metadata.ownerReferences",
      ownerReferences.length,
      "Only one reference can have Controller set to true",
    );
  }
}
