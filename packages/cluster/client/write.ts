/** Reading and writing single objects. All reject with WeftError. */
import { hasCode, WeftError } from "@weft/base";
import type { ApiClient, ApiRequest, Query } from "./http.ts";
import { type KubernetesObject, type Place, pathOf, type Resource } from "./resource.ts";

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds. */
  readonly timeout?: number;
  /** How often it may be tried again when that is safe; as the client's own when undefined. */
  readonly retries?: number;
  /** "status", "eviction", ... */
  readonly subresource?: string;
}

export interface WriteOptions extends CallOptions {
  /** Whom managedFields name; at most 128 characters. */
  readonly fieldManager?: string;
  /** The server does everything but keep it. */
  readonly dryRun?: boolean;
}

export interface PatchOptions extends WriteOptions {
  /** Of "apply": take over fields that others manage. */
  readonly force?: boolean;
}

export interface DeleteOptions extends CallOptions {
  /** Only if it is that very object: otherwise "conflict". */
  readonly uid?: string;
  /** Only if nobody changed it since: otherwise "conflict". */
  readonly resourceVersion?: string;
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
}

/** Patch types, and the media types that name them (Kubernetes API reference, "Update API objects in place"). */
const PATCH_TYPES = {
  /** JSON merge patch, RFC 7386. */
  merge: "application/merge-patch+json",
  /** Lists are merged by their keys; not for custom resources. */
  strategic: "application/strategic-merge-patch+json",
  /** JSON patch, RFC 6902: a list of operations. */
  json: "application/json-patch+json",
  /** Server-side apply: the object as it should be, as far as `fieldManager` cares. */
  apply: "application/apply-patch+yaml",
} as const;
export type PatchType = keyof typeof PATCH_TYPES;

type ObjectPlace = Required<Pick<Place, "name">> & Pick<Place, "namespace">;

export function getObject<T = KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  place: ObjectPlace,
  options: CallOptions = {},
): Promise<T> {
  return client.request<T>({ path: pathOf(resource, placed(place, options)), ...common(options) });
}

/** The object is given kind and apiVersion. A name that is taken: "exists". */
export function createObject<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  object: T,
  options: WriteOptions = {},
): Promise<T> {
  const { namespace, name } = object.metadata;
  // A subresource, such as an eviction, is created below an object; anything else in a collection.
  const place = options.subresource === undefined ? { namespace } : { namespace, name };
  return client.request<T>({
    method: "POST",
    path: pathOf(resource, placed(place, options)),
    query: writeQuery(options),
    body: typed(resource, object),
    ...common(options),
  });
}

/** Replaces the object. With metadata.resourceVersion it fails with "conflict" when somebody changed it since. */
export function updateObject<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  object: T,
  options: WriteOptions = {},
): Promise<T> {
  const { namespace, name } = object.metadata;
  return client.request<T>({
    method: "PUT",
    path: pathOf(resource, placed({ namespace, name }, options)),
    query: writeQuery(options),
    body: typed(resource, object),
    ...common(options),
  });
}

/** Replaces the status and nothing else. */
export function updateStatus<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  object: T,
  options: WriteOptions = {},
): Promise<T> {
  return updateObject(client, resource, object, { ...options, subresource: "status" });
}

export function patchObject<T = KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  place: ObjectPlace,
  type: PatchType,
  patch: unknown,
  options: PatchOptions = {},
): Promise<T> {
  if (type === "apply" && !options.fieldManager) {
    throw new WeftError("invalid", `${resource.kind} ${place.name}: apply without a fieldManager`, {
      hint: "Say who manages these fields.",
    });
  }
  return client.request<T>({
    method: "PATCH",
    path: pathOf(resource, placed(place, options)),
    query: { ...writeQuery(options), force: type === "apply" ? options.force : undefined },
    body: patch,
    contentType: PATCH_TYPES[type],
    // The same apply or merge twice leaves the same object; a JSON patch may add to a list again.
    idempotent: type === "apply" || type === "merge",
    ...common(options),
  });
}

/** Server-side apply of an object, whose metadata must have no resourceVersion unless that is a condition. */
export function applyObject<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  object: T,
  options: PatchOptions & { readonly fieldManager: string },
): Promise<T> {
  const { namespace, name } = object.metadata;
  const place = namespace === undefined ? { name } : { namespace, name };
  return patchObject<T>(client, resource, place, "apply", typed(resource, object), options);
}

/** Resolves also when the object was not there. */
export async function deleteObject(
  client: ApiClient,
  resource: Resource,
  place: ObjectPlace,
  options: DeleteOptions = {},
): Promise<void> {
  const { uid, resourceVersion, gracePeriodSeconds, propagationPolicy } = options;
  const conditional = uid !== undefined || resourceVersion !== undefined;
  try {
    await client.request({
      method: "DELETE",
      path: pathOf(resource, placed(place, options)),
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        ...(conditional ? { preconditions: { uid, resourceVersion } } : {}),
        gracePeriodSeconds,
        propagationPolicy,
      },
      idempotent: true,
      ...common(options),
    });
  } catch (error) {
    if (!hasCode(error, "not-found")) throw error;
  }
}

/**
 * Reads, changes and writes until nobody else did so in between, five times at most. `change` gives the object as it
 * should be, or undefined to leave it; it may be called several times. Resolves to the object as it is then.
 */
export async function updateWithRetry<T extends KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  place: ObjectPlace,
  change: (object: T) => T | undefined,
  options: WriteOptions = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const current = await getObject<T>(client, resource, place, options);
    const wanted = change(current);
    if (wanted === undefined) return current;
    try {
      return await updateObject(client, resource, wanted, options);
    } catch (error) {
      if (attempt === 5 || !hasCode(error, "conflict")) throw error;
    }
  }
}

function placed(
  place: { namespace?: string | undefined; name?: string },
  { subresource }: CallOptions,
): Place {
  const { namespace, name } = place;
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

const typed = <T extends KubernetesObject>({ apiVersion, kind }: Resource, object: T): T => {
  return { ...object, apiVersion, kind };
};

const writeQuery = ({ fieldManager, dryRun }: WriteOptions): Query => {
  return { fieldManager, dryRun: dryRun === true ? "All" : undefined };
};

function common({
  signal,
  timeout,
  retries,
}: CallOptions): Pick<ApiRequest, "signal" | "timeout" | "retries"> {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(retries === undefined ? {} : { retries }),
  };
}
