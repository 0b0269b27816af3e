/**
 * Creating and replacing objects. What can be said without the store (forms, defaults, faults) is said first; what
 * depends on what is there (versions, names, allocations) in the transaction that writes.
 */
import { alreadyExists, forbidden, invalid, notFound } from "../errors.ts";
import { Faults } from "../faults.ts";
import { keyOf } from "../http/path.ts";
import { viewed } from "../http/view.ts";
import type { Context, Resource } from "../resource.ts";
import { NAMESPACES } from "../resources/plain.ts";
import { Rollback, type Store, type Transaction } from "../storage/store.ts";
import { type ApiObject, at, clone, ensure, equal, type Mapping, type Metadata } from "../values.ts";
import { isOver, removeNow } from "./deletion.ts";
import { beginMetadata, continueMetadata, countGeneration, validateMetadata } from "./metadata.ts";

export interface WriteOptions {
  readonly dryRun: boolean;
  readonly context: Context;
}

/** Names that are generated once more when one is taken. */
const MOST_TRIES = 8;

/** The object as it is stored then. Throws 404, 409, 422. */
export async function create(
  store: Store,
  resource: Resource,
  object: ApiObject,
  namespace: string | undefined,
  options: WriteOptions,
): Promise<ApiObject> {
  const generated = object.metadata.name === undefined && object.metadata.generateName !== undefined;
  for (let attempt = 1; ; attempt++) {
    const made = toStored(resource, clone(object));
    beginMetadata(made, namespace, options.context.now);
    if (resource.status === true) delete made["status"];
    prepareAndCheck(resource, made, undefined, options.context);
    const key = keyOf(namespace, made.metadata.name);
    const written = await store.transact((tx) => {
      refuseNamespace(tx, resource, made);
      if (tx.get(resource.storage, key) !== undefined) {
        if (generated && attempt < MOST_TRIES) return undefined;
        throw alreadyExists(resource, made.metadata.name);
      }
      resource.admit?.(made, undefined, tx, options.context);
      tx.put(resource.storage, key, made);
      return finish(made, undefined, options);
    });
    if (written !== undefined) return written;
  }
}

/** How the new object follows from the one that is there, in the version that the client speaks. */
export type Change = (current: ApiObject) => ApiObject;

export interface UpdateOptions extends WriteOptions {
  readonly subresource: "status" | undefined;
  /** Without it, what has no version is refused: custom objects are replaced with their version only. */
  readonly unconditional: boolean;
}

/** The object as it is stored then; written only when it differs. Throws 404, 409, 422. */
export function update(
  store: Store,
  resource: Resource,
  key: string,
  name: string,
  change: Change,
  options: UpdateOptions,
): Promise<ApiObject> {
  return store.transact((tx) => {
    const held = tx.get(resource.storage, key);
    if (held === undefined) throw notFound(resource, name);
    const old = JSON.parse(held.value) as ApiObject;
    const sent = toStored(resource, change(viewed(resource, clone(old))));
    if (!options.unconditional && sent.metadata.resourceVersion === undefined) {
      const faults = new Faults();
      faults.invalid("metadata.resourceVersion", 0, "must be specified for an update");
      throw invalid(resource, name, faults.list);
    }
    continueMetadata(resource, sent, old);
    const object = merged(resource, sent, old, options.subresource);
    prepareAndCheck(resource, object, old, options.context);
    countGeneration(object, old);
    if (equal(object, old)) return old;
    resource.admit?.(object, old, tx, options.context);
    if (isOver(resource, object)) removeNow(resource, key, object, tx);
    else tx.put(resource.storage, key, object);
    return finish(object, old, options);
  });
}

/**
 * Of a write to the status that counts, of one to the object all but that. With the status of Kubernetes' own objects come
 * labels, annotations and finalizers, as kube-apiserver has it (node agents annotate their Node so); custom ones keep theirs.
 */
function merged(
  resource: Resource,
  sent: ApiObject,
  old: ApiObject,
  subresource: "status" | undefined,
): ApiObject {
  if (subresource === "status") {
    const { labels, annotations, finalizers } = sent.metadata;
    const marks = resource.model === undefined ? {} : { labels, annotations, finalizers };
    const object = clone(old);
    return { ...object, metadata: { ...object.metadata, ...marks } as Metadata, status: sent["status"] };
  }
  if (resource.status === false) return sent;
  const { status: _, ...rest } = sent;
  const kept = old["status"] === undefined ? {} : { status: clone(old["status"]) };
  return { ...(rest as ApiObject), ...kept };
}

function prepareAndCheck(
  resource: Resource,
  object: ApiObject,
  old: ApiObject | undefined,
  context: Context,
): void {
  resource.prepare?.(object, old, context);
  // Kubernetes' own types always have it, empty or not: a client that writes back what it read changes nothing.
  if (resource.model !== undefined && resource.status !== false) ensure(object, "status");
  const faults = new Faults();
  validateMetadata(resource, object, old, faults);
  const { status: _, ...asked } = viewed(resource, object);
  const custom = resource.model === undefined;
  const checked: Mapping = custom ? viewed(resource, object) : { ...asked, metadata: {} };
  faults.list.push(...resource.check(checked));
  resource.validate?.(object, old, faults);
  const said = distinct(faults);
  if (said.length > 0) throw invalid(resource, object.metadata.name ?? "", said);
}

/** Of one field, "required" once. */
function distinct({ list }: Faults): typeof list {
  const seen = new Set<string>();
  return list.filter(({ type, field, detail }) => {
    const key = type === "FieldValueRequired" ? `${field} required` : `${field} ${type} ${detail}`;
    const first = !seen.has(key);
    seen.add(key);
    return first;
  });
}

/** Objects are made only in namespaces that are there, and stay. */
function refuseNamespace(tx: Transaction, resource: Resource, { metadata }: ApiObject): void {
  const { namespace } = metadata;
  if (namespace === undefined) return;
  const held = tx.get(NAMESPACES.storage, namespace);
  if (held === undefined) throw notFound(NAMESPACES, namespace);
  if (at(JSON.parse(held.value), "metadata", "deletionTimestamp") === undefined) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const message = `namespace ${namespace} is being terminated`;
  throw forbidden(resource, metadata.name, why, [
    { reason: "NamespaceTerminating", message, field: "metadata.namespace" },
  ]);
}

/** What a dry run shows has the version of what is there: nothing else was written. */
function finish(object: ApiObject, old: ApiObject | undefined, { dryRun }: WriteOptions): ApiObject {
  if (!dryRun) return object;
  const { resourceVersion: _, ...metadata } = object.metadata;
  const version = old?.metadata.resourceVersion;
  throw new Rollback({
    ...object,
    metadata: { ...metadata, ...(version === undefined ? {} : { resourceVersion: version }) },
  });
}

const toStored = (resource: Resource, object: ApiObject): ApiObject =>
  resource.toStored === undefined ? object : resource.toStored(object);
