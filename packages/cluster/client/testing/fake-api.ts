/**
 * An API server for tests: objects in memory with versions, lists in pages, watches with a history that can be
 * compacted, the writes that the client knows; and faults on demand. It takes a Request and gives a Response, so that
 * it serves behind a socket or without one.
 */
import type { KubernetesObject } from "../resource.ts";
import { FakeWatcher, type StreamFault, type WatchEvent } from "./fake-watcher.ts";

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly body: unknown;
}

/** Answers instead of the server; undefined lets the call through. */
export type Interceptor = (call: Call) => Response | Promise<Response> | undefined;

interface Target {
  /** "/api/v1/pods", whatever the namespace. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

export class FakeApi {
  readonly calls: Call[] = [];
  /** The next event of a stream, and what is done to it. */
  streamFault: (event: WatchEvent) => StreamFault | undefined = () => undefined;
  intercept: Interceptor = () => undefined;
  #version = 100;
  #compacted = 0;
  readonly #collections = new Map<string, Map<string, KubernetesObject>>();
  #history: WatchEvent[] = [];
  readonly #watchers = new Set<FakeWatcher>();

  get watchers(): number {
    return this.#watchers.size;
  }

  get version(): number {
    return this.#version;
  }

  /** All objects of a collection, by namespace and name. */
  objects(collection: string): KubernetesObject[] {
    return [...this.#of(collection)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  put(collection: string, object: KubernetesObject): KubernetesObject {
    const held = this.#of(collection).get(keyOf(object.metadata));
    return this.#store(collection, {
      ...object,
      metadata: { uid: held?.metadata.uid ?? crypto.randomUUID(), ...object.metadata },
    });
  }

  delete(collection: string, name: string, namespace?: string): boolean {
    const key = keyOf(namespace === undefined ? { name } : { name, namespace });
    const held = this.#of(collection).get(key);
    if (held === undefined) return false;
    this.#of(collection).delete(key);
    this.#emit("DELETED", collection, this.#versioned(held));
    return true;
  }

  /** Forgets history: watches from before now are told 410, and so are pages of lists begun before. */
  compact(): void {
    this.#compacted = this.#version;
    this.#history = [];
  }

  bookmark(): void {
    for (const watcher of this.#watchers) watcher.bookmark(this.#version);
  }

  /** Cuts all streams. */
  disconnect(): void {
    for (const watcher of this.#watchers) watcher.cut();
  }

  async handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const text = await request.text();
    const call: Call = {
      method: request.method,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
    this.calls.push(call);
    const instead = await this.intercept(call);
    if (instead !== undefined) return instead;
    const target = parsePath(call.path);
    if (target === undefined) return failure(404, "NotFound", `no such path: ${call.path}`);
    if (call.method !== "GET") return this.#write(target, call);
    if (target.name !== undefined) return this.#get(target);
    return call.query.get("watch") === "true" ? this.#watch(target, call) : this.#list(target, call);
  }

  #of(collection: string): Map<string, KubernetesObject> {
    const known = this.#collections.get(collection) ?? new Map<string, KubernetesObject>();
    this.#collections.set(collection, known);
    return known;
  }

  #versioned(object: KubernetesObject): KubernetesObject {
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
  }

  #store(collection: string, object: KubernetesObject): KubernetesObject {
    const kept = this.#versioned(object);
    const key = keyOf(kept.metadata);
    const type = this.#of(collection).has(key) ? "MODIFIED" : "ADDED";
    this.#of(collection).set(key, kept);
    this.#emit(type, collection, kept);
    return kept;
  }

  #emit(type: WatchEvent["type"], collection: string, object: KubernetesObject): void {
    const event: WatchEvent = { type, collection, object, version: this.#version };
    this.#history.push(event);
    for (const watcher of this.#watchers) watcher.deliver(event, this.streamFault(event), this.#history);
  }

  #get({ collection, namespace, name = "" }: Target): Response {
    const object = this.#of(collection).get(keyOf(namespace === undefined ? { name } : { name, namespace }));
    return object === undefined ? failure(404, "NotFound", `"${name}" not found`) : Response.json(object);
  }

  #list(target: Target, { query }: Call): Response {
    const token = query.get("continue");
    const [version, after] =
      token === null ? [this.#version, ""] : (JSON.parse(atob(token)) as [number, string]);
    // Pages are of one moment; here, any change or compaction since means that the moment is gone.
    if (version < this.#compacted)
      return failure(410, "Expired", "The provided continue parameter is too old");
    const chosen = this.objects(target.collection).filter((object) => matches(object, target, query));
    const rest = chosen.filter(({ metadata }) => after === "" || keyOf(metadata) > after);
    const limit = Number(query.get("limit") ?? rest.length);
    const items = rest.slice(0, limit);
    const last = items.at(-1);
    const more = rest.length > limit && last !== undefined;
    const metadata = {
      resourceVersion: String(version),
      ...(more ? { continue: btoa(JSON.stringify([version, keyOf(last.metadata)])) } : {}),
    };
    return Response.json({ kind: "List", apiVersion: "v1", metadata, items });
  }

  #watch(target: Target, { query }: Call): Response {
    const from = Number(query.get("resourceVersion"));
    if (from < this.#compacted) return failure(410, "Expired", `too old resource version: ${from}`);
    const watcher = new FakeWatcher(
      ({ collection, object }) => collection === target.collection && matches(object, target, query),
      () => this.#watchers.delete(watcher),
    );
    this.#watchers.add(watcher);
    for (const event of this.#history) {
      if (event.version > from) watcher.deliver(event, this.streamFault(event), this.#history);
    }
    return new Response(watcher.stream, { headers: { "Content-Type": "application/json" } });
  }

  #write(target: Target, { method, headers, body, query }: Call): Response {
    const { collection, namespace, name } = target;
    const sent = (body ?? {}) as KubernetesObject;
    const place = {
      name: name ?? sent.metadata?.name ?? "",
      ...(namespace === undefined ? {} : { namespace }),
    };
    const held = this.#of(collection).get(keyOf(place));
    if (method === "POST") {
      if (held !== undefined) return failure(409, "AlreadyExists", `"${place.name}" already exists`);
      return Response.json(this.put(collection, sent), { status: 201 });
    }
    const type = headers.get("content-type");
    if (held === undefined && type !== "application/apply-patch+yaml") {
      return failure(404, "NotFound", `"${place.name}" not found`);
    }
    if (method === "DELETE") return this.#remove(target, held as KubernetesObject, sent);
    const asked = sent.metadata?.resourceVersion;
    if (asked !== undefined && asked !== held?.metadata.resourceVersion) {
      return failure(
        409,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version",
      );
    }
    if (query.get("dryRun") === "All") return Response.json(held ?? sent);
    const base = held ?? { metadata: place };
    const next = method === "PUT" ? replaced(base, sent, target) : patched(base, body, type);
    return Response.json(this.put(collection, next as KubernetesObject));
  }

  #remove({ collection, namespace, name = "" }: Target, held: KubernetesObject, sent: unknown): Response {
    const { preconditions } = sent as { preconditions?: { uid?: string; resourceVersion?: string } };
    for (const field of ["uid", "resourceVersion"] as const) {
      const wanted = preconditions?.[field];
      if (wanted !== undefined && wanted !== held.metadata[field]) {
        return failure(409, "Conflict", `Precondition failed: ${field}`);
      }
    }
    this.delete(collection, name, namespace);
    return Response.json({ kind: "Status", status: "Success" });
  }
}

export function failure(
  code: number,
  reason: string,
  message: string,
  details: object = {},
  headers: Record<string, string> = {},
): Response {
  const status = { kind: "Status", apiVersion: "v1", status: "Failure", message, reason, code, details };
  return Response.json(status, { status: code, headers });
}

const keyOf = ({ namespace, name }: { namespace?: string; name: string }): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

const PATH =
  /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/;

function parsePath(path: string): Target | undefined {
  const found = PATH.exec(path);
  if (found === null) return undefined;
  const [, group, namespace, plural, name, subresource] = found;
  return { collection: `${group}/${plural}`, namespace, name, subresource };
}

function matches(object: KubernetesObject, target: Target, query: URLSearchParams): boolean {
  if (target.namespace !== undefined && object.metadata.namespace !== target.namespace) return false;
  const terms = (query.get("fieldSelector") ?? "").split(",").filter((term) => term !== "");
  const labels = (query.get("labelSelector") ?? "").split(",").filter((term) => term !== "");
  const holds = (from: unknown, path: readonly string[], wanted: string | undefined): boolean =>
    path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], from) === wanted;
  return (
    terms.every((term) => holds(object, (term.split("=")[0] ?? "").split("."), term.split("=")[1])) &&
    labels.every((term) => holds(object.metadata["labels"], [term.split("=")[0] ?? ""], term.split("=")[1]))
  );
}

const replaced = (held: KubernetesObject, sent: KubernetesObject, { subresource }: Target): unknown =>
  subresource === "status"
    ? { ...held, status: sent["status"] }
    : { ...sent, metadata: { ...sent.metadata, uid: held.metadata.uid } };

function patched(held: unknown, patch: unknown, type: string | null): unknown {
  if (type !== "application/json-patch+json") return merged(held, patch);
  const result = structuredClone(held) as Record<string, unknown>;
  for (const { path, value } of patch as { path: string; value: unknown }[]) {
    const steps = path.split("/").slice(1);
    const last = steps.pop() ?? "";
    const parent = steps.reduce((at, step) => at[step] as Record<string, unknown>, result);
    parent[last] = value;
  }
  return result;
}

function merged(held: unknown, patch: unknown): unknown {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(held) ? { ...held } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}
