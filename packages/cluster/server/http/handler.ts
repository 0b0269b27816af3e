/** One request of a resource: which operation it is, and its answer. */
import { isNotFound } from "@weft/base";
import { badRequest, methodNotAllowed, noRuntime, noSuchPath, notFound } from "../errors.ts";
import { readPatch } from "../patch/patch.ts";
import type { Registry } from "../registry.ts";
import type { Context } from "../resource.ts";
import { DEFINITIONS_RESOURCE, definitionWarnings } from "../resources/definition.ts";
import { NAMESPACES } from "../resources/plain.ts";
import { PODS } from "../resources/pod.ts";
import type { Store, Stored } from "../storage/store.ts";
import { type ApiObject, clone, items, mapping, text } from "../values.ts";
import { decode, fieldValidationOf } from "../write/decode.ts";
import { deletedStatus, deleteOptionsOf, isOver, remove, removeNow } from "../write/deletion.ts";
import { bind, bindingOf, DONE, evict } from "../write/pod-actions.ts";
import { scaleOf, withScale } from "../write/scale.ts";
import { type Change, create, update } from "../write/writer.ts";
import { encodeList, listPage, refuseFuture, revisionOf } from "./list.ts";
import { mediaType, parseBody, readBytes, yamlOf } from "./media.ts";
import { keyOf, type Target } from "./path.ts";
import { encodeObject, selectionOf, shapeObject, type View, viewOf } from "./view.ts";
import { Watcher } from "./watch.ts";

export interface Server {
  readonly store: Store;
  readonly registry: Registry;
  readonly watchers: Set<Watcher>;
  readonly now: () => number;
  context(): Context;
}

interface Call {
  readonly server: Server;
  readonly target: Target;
  readonly request: Request;
  readonly query: URLSearchParams;
  readonly view: View;
  readonly warnings: string[];
}

export async function handleResource(
  server: Server,
  target: Target,
  request: Request,
  query: URLSearchParams,
): Promise<Response> {
  const { resource, name, subresource } = target;
  const view = viewOf(resource, request.headers.get("accept"), query);
  const call: Call = { server, target, request, query, view, warnings: [] };
  checkDryRun(query);
  const { method } = request;
  if (resource === PODS && subresource === "binding") {
    if (method !== "POST") throw methodNotAllowed(method);
    return binding(call);
  }
  if (name === undefined) {
    if (method === "GET")
      return query.get("watch") === "true" || query.get("watch") === "1" ? watch(call) : list(call);
    if (method === "POST") return post(call);
    if (method === "DELETE" && resource.permanent.length === 0) return deleteCollection(call);
    throw methodNotAllowed(method);
  }
  if (subresource === "scale" && resource.scale !== undefined) return scale(call, name);
  if (subresource === "finalize" && resource === NAMESPACES && method === "PUT") return finalize(call, name);
  if (subresource === "eviction" && resource === PODS) {
    if (method !== "POST") throw methodNotAllowed(method);
    return eviction(call, name);
  }
  if (resource === PODS && /^(log|exec|attach|portforward)$/.test(subresource ?? "")) {
    throw noRuntime(subresource ?? "");
  }
  if (subresource !== undefined && (subresource !== "status" || resource.status === false))
    throw noSuchPath();
  if (method === "GET") return get(call, name);
  if (method === "PUT") return put(call, name);
  if (method === "PATCH") return patch(call, name);
  if (method === "DELETE" && subresource === undefined) return deleteOne(call, name);
  throw methodNotAllowed(method);
}

function checkDryRun(query: URLSearchParams): void {
  const given = query.getAll("dryRun").filter((value) => value !== "");
  if (given.some((value) => value !== "All"))
    throw badRequest(`dryRun must be All, not ${JSON.stringify(given)}`);
}

const isDry = (query: URLSearchParams): boolean => query.get("dryRun") === "All";

function answer({ view, warnings }: Call, body: string, status = 200): Response {
  const headers = new Headers({
    "Content-Type": view.form === "yaml" ? "application/yaml" : "application/json",
  });
  for (const warning of warnings.slice(0, 100))
    headers.append("Warning", `299 - ${JSON.stringify(printable(warning))}`);
  return new Response(view.form === "yaml" ? yamlOf(body) : body, { status, headers });
}

/** What a header may hold. */
const printable = (warning: string): string => warning.replace(/[^\x20-\x7e]/g, "?").slice(0, 500);

const answerObject = (call: Call, object: ApiObject, status = 200): Response => {
  const { target, view, server } = call;
  return answer(call, JSON.stringify(shapeObject(target.resource, object, view, server.now())), status);
};

async function list(call: Call): Promise<Response> {
  const { server, target, query, view } = call;
  const page = await listPage(server.store, target, selectionOf(target.resource, query), query);
  return answer(call, encodeList(target.resource, page, view, server.now()));
}

function watch({ server, target, query, view, request }: Call): Response {
  const selection = selectionOf(target.resource, query);
  const options = { target, selection, view, query, now: server.now };
  const watcher = new Watcher(server.store, options, (ended) => server.watchers.delete(ended));
  server.watchers.add(watcher);
  request.signal.addEventListener("abort", () => watcher.end(), { once: true });
  if (request.signal.aborted) watcher.end();
  return new Response(watcher.stream, { headers: { "Content-Type": "application/json" } });
}

function get(call: Call, name: string): Response {
  const { server, target, query, view } = call;
  refuseFuture(revisionOf(query), server.store.revision);
  const held = server.store.get(target.resource.storage, keyOf(target.namespace, name));
  if (held === undefined) throw notFound(target.resource, name);
  return answer(call, encodeObject(target.resource, held.value, view, server.now()));
}

async function readBody({ request }: Call): Promise<unknown> {
  return parseBody(await readBytes(request), mediaType(request.headers.get("content-type")));
}

async function post(call: Call): Promise<Response> {
  const { server, target, query, warnings } = call;
  const { resource, namespace } = target;
  if (resource.namespaced && namespace === undefined) throw methodNotAllowed("POST");
  const object = decode(resource, await readBody(call), fieldValidationOf(query), warnings);
  if (resource === DEFINITIONS_RESOURCE) warnings.push(...definitionWarnings(object));
  const options = { dryRun: isDry(query), context: server.context() };
  return answerObject(call, await create(server.store, resource, object, namespace, options), 201);
}

async function put(call: Call, name: string): Promise<Response> {
  const { target, query, warnings } = call;
  const { resource } = target;
  const body = await readBody(call);
  const object = decode(resource, body, fieldValidationOf(query), warnings);
  if (text(object.metadata.name) === "") {
    throw badRequest("the name of the object must be set, and be the one of the URL");
  }
  if (object.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  if (resource === DEFINITIONS_RESOURCE) warnings.push(...definitionWarnings(object));
  return answerObject(call, await write(call, name, () => object, resource.model !== undefined));
}

async function patch(call: Call, name: string): Promise<Response> {
  const { target, request, query, warnings } = call;
  const { resource } = target;
  const type = mediaType(request.headers.get("content-type"));
  // What is no JSON is no patch either, and readPatch says so.
  const body = /json$/.test(type) ? parseBody(await readBytes(request), type) : undefined;
  const apply = readPatch(type, body, resource.model);
  const validation = fieldValidationOf(query);
  const change: Change = (current) => decode(resource, apply(clone(current)), validation, warnings);
  return answerObject(call, await write(call, name, change, true));
}

function write(call: Call, name: string, change: Change, unconditional: boolean): Promise<ApiObject> {
  const { server, target, query } = call;
  return update(server.store, target.resource, keyOf(target.namespace, name), name, change, {
    dryRun: isDry(query),
    context: server.context(),
    subresource: target.subresource === "status" ? "status" : undefined,
    unconditional,
  });
}

async function scale(call: Call, name: string): Promise<Response> {
  const { server, target, request, query } = call;
  const { resource, namespace } = target;
  const paths = resource.scale;
  if (paths === undefined) throw noSuchPath();
  const key = keyOf(namespace, name);
  if (request.method === "GET") {
    const held = server.store.get(resource.storage, key);
    if (held === undefined) throw notFound(resource, name);
    return answer(call, JSON.stringify(scaleOf(JSON.parse(held.value) as ApiObject, paths)));
  }
  const type = mediaType(request.headers.get("content-type"));
  let change: Change;
  if (request.method === "PUT") {
    const sent = mapping(await readBody(call));
    change = (current) => withScale(current, sent, resource, paths);
  } else if (request.method === "PATCH") {
    const apply = readPatch(type, parseBody(await readBytes(request), type), "V1Scale");
    change = (current) => withScale(current, apply(scaleOf(current, paths)), resource, paths);
  } else throw methodNotAllowed(request.method);
  const options = {
    dryRun: isDry(query),
    context: server.context(),
    subresource: undefined,
    unconditional: true,
  };
  const object = await update(server.store, resource, key, name, change, options);
  return answer(call, JSON.stringify(scaleOf(object, paths)));
}

/** Sets the finalizers of a namespace's spec, which nothing else does. */
async function finalize(call: Call, name: string): Promise<Response> {
  const { server, query, warnings } = call;
  const sent = decode(NAMESPACES, await readBody(call), fieldValidationOf(query), warnings);
  const object = await server.store.transact((tx) => {
    const held = tx.get(NAMESPACES.storage, name);
    if (held === undefined) throw notFound(NAMESPACES, name);
    const current = JSON.parse(held.value) as ApiObject;
    current["spec"] = { finalizers: items(mapping(sent["spec"])["finalizers"]) };
    if (isOver(NAMESPACES, current)) removeNow(NAMESPACES, name, current, tx);
    else tx.put(NAMESPACES.storage, name, current);
    return current;
  });
  return answerObject(call, object);
}

async function binding(call: Call): Promise<Response> {
  const { server, target, query } = call;
  if (target.namespace === undefined) throw noSuchPath();
  const wanted = bindingOf(await readBody(call), target.name);
  const key = keyOf(target.namespace, wanted.name);
  await bind(server.store, key, wanted, { now: server.now(), dryRun: isDry(query) });
  return answer(call, JSON.stringify(DONE), 201);
}

async function eviction(call: Call, name: string): Promise<Response> {
  const { server, target, query } = call;
  const key = keyOf(target.namespace, name);
  await evict(server.store, key, name, await readBody(call), query, server.now());
  return answer(call, JSON.stringify(DONE), 201);
}

async function deleteOne(call: Call, name: string): Promise<Response> {
  const { server, target, query } = call;
  const { resource, namespace } = target;
  const options = deleteOptionsOf(await readBody(call), query);
  const { object, removed } = await remove(
    server.store,
    resource,
    keyOf(namespace, name),
    name,
    options,
    server.now(),
  );
  if (removed) return answer(call, JSON.stringify(deletedStatus(resource, object)));
  return answerObject(call, object);
}

/** Objects that are deleted at once: fewer than writes may wait, and not all there are in memory. */
const DELETED_AT_ONCE = 500;

/** Page by page until none is left: what one moment's list has is gone, or marked, when this resolves. */
async function deleteCollection(call: Call): Promise<Response> {
  const { server, target, query } = call;
  const { resource } = target;
  const options = deleteOptionsOf(await readBody(call), query);
  const page = await listPage(server.store, target, selectionOf(resource, query), query);
  const one = async (held: Stored): Promise<Stored> => {
    const { key } = held;
    try {
      const { object } = await remove(server.store, resource, key, key, options, server.now());
      return { ...held, value: JSON.stringify(object) };
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return held;
    }
  };
  const stored: Stored[] = [];
  for (let done = 0; done < page.stored.length; done += DELETED_AT_ONCE) {
    stored.push(...(await Promise.all(page.stored.slice(done, done + DELETED_AT_ONCE).map(one))));
  }
  return answer(call, encodeList(resource, { ...page, stored }, call.view, server.now()));
}
