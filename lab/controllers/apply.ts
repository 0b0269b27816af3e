/** What controllers want done, done: each write by the API, its answer into the cache, its event told. */
import { hasCode } from "@weft/base";
import {
  type ApiClient,
  createObject,
  type EventRecorder,
  PODS,
  pathOf,
  type Resource,
  updateObject,
  updateStatus,
} from "@weft/cluster/client";
import type { Cache } from "./cache.ts";
import { type ApiObject, keyOf, type PodObject } from "./objects.ts";
import type { Write } from "./write.ts";

export interface Applier {
  readonly client: ApiClient;
  readonly recorder: EventRecorder;
  /** The cache of a kind, where there is one. */
  cacheOf(kind: Resource): Cache<ApiObject> | undefined;
}

/** Somebody else was first, or the object is gone: what the watch tells leads on. */
export const isOutrun = (error: unknown): boolean =>
  hasCode(error, "conflict") || hasCode(error, "not-found") || hasCode(error, "exists");

/** In their order; throws with the first that fails. A second write of an object follows on the first. */
export async function apply(writes: readonly Write[], to: Applier): Promise<void> {
  const versions = new Map<string, string | undefined>();
  for (const write of writes) {
    if (write.verb === "event") {
      to.recorder.record(write.event);
      continue;
    }
    const answer = await applyOne(write, versions, to);
    if (write.event === undefined) continue;
    const { event } = write;
    // The name of what is created is the server's choice, and the last word of what is said of it.
    const note =
      write.verb === "create" && event.note.endsWith(": ")
        ? event.note + (answer?.metadata.name ?? "")
        : event.note;
    to.recorder.record({ ...event, note });
  }
}

async function applyOne(
  write: Exclude<Write, { verb: "event" }>,
  versions: Map<string, string | undefined>,
  to: Applier,
): Promise<ApiObject | undefined> {
  const { client } = to;
  if (write.verb === "bind") {
    const { pod, node } = write;
    await bind(client, pod, node);
    to.cacheOf(PODS)?.assume({ ...pod, spec: { ...pod.spec, nodeName: node } } as PodObject);
    return undefined;
  }
  const { kind, object } = write;
  const cache = to.cacheOf(kind);
  const key = `${kind.kind} ${keyOf(object.metadata)}`;
  if (write.verb === "delete") {
    const answer = await remove(client, kind, object, write.graceSeconds);
    if (answer === undefined) cache?.remove(object);
    else cache?.put(answer);
    return undefined;
  }
  const answer = await put(
    write.verb,
    client,
    kind,
    following(object, write.verb === "create" ? undefined : versions.get(key)),
  );
  versions.set(key, answer.metadata.resourceVersion);
  cache?.put(answer);
  return answer;
}

const following = (object: ApiObject, version: string | undefined): ApiObject =>
  version === undefined ? object : { ...object, metadata: { ...object.metadata, resourceVersion: version } };

function put(
  verb: "create" | "update" | "status",
  client: ApiClient,
  kind: Resource,
  object: ApiObject,
): Promise<ApiObject> {
  if (verb === "create") return createObject(client, kind, object);
  return verb === "update" ? updateObject(client, kind, object) : updateStatus(client, kind, object);
}

/** The object as it is while it is being deleted; undefined when it is gone. */
async function remove(
  client: ApiClient,
  kind: Resource,
  { metadata }: ApiObject,
  gracePeriodSeconds: number | undefined,
): Promise<ApiObject | undefined> {
  const { name, namespace, uid } = metadata;
  const answer = await client.request<ApiObject>({
    method: "DELETE",
    path: pathOf(kind, namespace === undefined ? { name } : { namespace, name }),
    body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid }, gracePeriodSeconds },
  });
  return answer.kind === kind.kind ? answer : undefined;
}

async function bind(client: ApiClient, { metadata }: ApiObject, node: string): Promise<void> {
  const { name, namespace = "default", uid } = metadata;
  await client.request({
    method: "POST",
    path: pathOf(PODS, { namespace, name, subresource: "binding" }),
    body: {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name, namespace, uid },
      target: { apiVersion: "v1", kind: "Node", name: node },
    },
  });
}
