/**
 * Deletion. An object goes at once when nobody has to do something first: no finalizer, no grace period, and of a
 * namespace no content. Otherwise it is marked with a time, and goes with the write that takes the last reason away.
 *
 * How its dependents fare ("propagationPolicy") is two finalizers that the collector acts on: background needs none.
 */
import { badRequest, conflict, forbidden, notFound } from "../errors.ts";
import type { Resource } from "../resource.ts";
import { NAMESPACES } from "../resources/plain.ts";
import { Rollback, type Store, type Transaction } from "../storage/store.ts";
import {
  type ApiObject,
  at,
  ensure,
  isMap,
  items,
  type Mapping,
  mapping,
  text,
  timestamp,
} from "../values.ts";

export const ORPHAN = "orphan";
export const FOREGROUND = "foregroundDeletion";

export interface DeleteOptions {
  readonly gracePeriodSeconds: number | undefined;
  readonly propagation: "Background" | "Foreground" | "Orphan";
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly dryRun: boolean;
}

/** Of a body and a query. Throws 400. */
export function deleteOptionsOf(body: unknown, query: URLSearchParams): DeleteOptions {
  if (body !== undefined && body !== null && !isMap(body))
    throw badRequest("DeleteOptions must be an object");
  const given = mapping(body);
  const { kind } = given;
  if (kind !== undefined && kind !== "" && kind !== "DeleteOptions") {
    throw badRequest(`the body must be DeleteOptions, not ${String(kind)}`);
  }
  const grace = given["gracePeriodSeconds"] ?? query.get("gracePeriodSeconds") ?? undefined;
  const seconds = grace === undefined ? undefined : Number(grace);
  if (seconds !== undefined && !Number.isSafeInteger(seconds))
    throw badRequest("gracePeriodSeconds must be a number");
  const policy = text(given["propagationPolicy"]) || query.get("propagationPolicy") || "";
  const orphan = given["orphanDependents"];
  const propagation = policy || (orphan === true ? "Orphan" : "Background");
  if (propagation !== "Background" && propagation !== "Foreground" && propagation !== "Orphan") {
    throw badRequest(
      `propagationPolicy must be Background, Foreground or Orphan, not ${JSON.stringify(policy)}`,
    );
  }
  const dryRun = items(given["dryRun"]).includes("All") || query.get("dryRun") === "All";
  const { uid, resourceVersion } = mapping(given["preconditions"]);
  return {
    // As Kubernetes has it: a negative one is the shortest that is none at all.
    gracePeriodSeconds: seconds !== undefined && seconds < 0 ? 1 : seconds,
    propagation,
    uid: text(uid) || undefined,
    resourceVersion: text(resourceVersion) || undefined,
    dryRun,
  };
}

export interface Deleted {
  readonly object: ApiObject;
  /** False when it is only marked. */
  readonly removed: boolean;
}

/** Throws 403, 404, 409. */
export function remove(
  store: Store,
  resource: Resource,
  key: string,
  name: string,
  options: DeleteOptions,
  now: number,
): Promise<Deleted> {
  return store.transact((tx) => {
    const held = tx.get(resource.storage, key);
    if (held === undefined) throw notFound(resource, name);
    const object = JSON.parse(held.value) as ApiObject;
    refuseOther(resource, object, options);
    if (resource.permanent.includes(name)) {
      throw forbidden(resource, name, `this ${resource.singular} may not be deleted`);
    }
    const changed = mark(resource, object, options, now);
    const removed = isOver(resource, object);
    if (removed) removeNow(resource, key, object, tx);
    else if (changed) tx.put(resource.storage, key, object);
    const result: Deleted = { object, removed };
    if (options.dryRun) throw new Rollback(result);
    return result;
  });
}

/** Preconditions: it must be that very object. Throws 409. */
export function refuseOther(
  resource: Resource,
  { metadata }: ApiObject,
  wanted: { readonly uid: string | undefined; readonly resourceVersion: string | undefined },
): void {
  for (const [field, title] of [
    ["uid", "UID"],
    ["resourceVersion", "ResourceVersion"],
  ] as const) {
    const value = wanted[field];
    if (value === undefined || value === metadata[field]) continue;
    const why = `Precondition failed: ${title} in precondition: ${value}, ${title} in object meta: ${String(metadata[field])}`;
    throw conflict(resource, metadata.name, why);
  }
}

/** Sets the marks of deletion; whether that changed anything. */
function mark(resource: Resource, object: ApiObject, options: DeleteOptions, now: number): boolean {
  const { metadata } = object;
  const usual = resource.gracePeriod?.(object) ?? 0;
  const asked = usual === 0 ? 0 : (options.gracePeriodSeconds ?? usual);
  const first = metadata.deletionTimestamp === undefined;
  const shorter = !first && asked < (metadata.deletionGracePeriodSeconds ?? 0);
  if (first || shorter) {
    metadata.deletionGracePeriodSeconds = asked;
    metadata.deletionTimestamp = timestamp(now + asked * 1000);
    if (metadata.generation !== undefined && first) metadata.generation += 1;
  }
  const finalizers = (metadata.finalizers ?? []).filter((name) => name !== ORPHAN && name !== FOREGROUND);
  if (options.propagation === "Orphan") finalizers.push(ORPHAN);
  if (options.propagation === "Foreground") finalizers.push(FOREGROUND);
  const policy = first && finalizers.join() !== (metadata.finalizers ?? []).join();
  if (policy) metadata.finalizers = finalizers;
  if (first && resource === NAMESPACES) ensure(object, "status")["phase"] = "Terminating";
  return first || shorter || policy;
}

/** Whether an object that is to be deleted has nothing more to wait for. */
export function isOver(resource: Resource, { metadata, ...object }: ApiObject): boolean {
  return (
    metadata.deletionTimestamp !== undefined &&
    (metadata.deletionGracePeriodSeconds ?? 0) === 0 &&
    (metadata.finalizers ?? []).length === 0 &&
    (resource !== NAMESPACES || items(at(object, "spec", "finalizers")).length === 0)
  );
}

export function removeNow(resource: Resource, key: string, object: ApiObject, tx: Transaction): void {
  resource.release?.(object, tx);
  tx.delete(resource.storage, key, object);
}

/** What a client hears of an object that is gone. */
export const deletedStatus = (resource: Resource, { metadata }: ApiObject): Mapping => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Success",
  details: {
    name: metadata.name,
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.plural,
    uid: metadata.uid,
  },
});
