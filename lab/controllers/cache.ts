/**
 * All objects of one kind, as a watch has them, and as our own writes have just made them: a controller that wrote
 * something must not look at the state of before, or it would do it twice.
 *
 * An answer of the server is as good as an event: of two versions the newer one counts. What is gone stays away: a uid
 * is never used again.
 */
import type { Clock, Logger } from "@weft/base";
import {
  type ApiClient,
  type KubernetesObject,
  pathOf,
  type Resource,
  type ResourceWatch,
  watchResource,
} from "@weft/cluster/client";
import { type ApiObject, keyOf } from "./objects.ts";

export interface CacheOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The object before and after; the first time after a start all objects come, without `before`. */
export type Listener<T> = (before: T | undefined, after: T | undefined) => void;

/** Events and answers are late by moments: more does not go meanwhile. */
const MOST_GONE = 4096;
const NOTHING = new Map<string, never>();
export class Cache<T extends ApiObject> {
  readonly #kind: Resource;
  readonly #options: CacheOptions;
  #watch: ResourceWatch | undefined;
  readonly #objects = new Map<string, T>();
  readonly #byNamespace = new Map<string, Map<string, T>>();
  /** All up to this version has been told. */
  #version = 0;
  /** Uids of what has gone last, in order: neither a late event nor a late answer brings it back. */
  readonly #gone = new Set<string>();
  readonly #listeners: Listener<T>[] = [];

  constructor(kind: Resource, options: CacheOptions) {
    this.#kind = kind;
    this.#options = options;
  }

  /** Resolves when all is listed. To be called once there is a server: a failed try would be made again later. */
  start(): Promise<void> {
    const { client, clock, logger } = this.#options;
    this.#watch = watchResource<T>({
      client,
      path: pathOf(this.#kind),
      decode: (object: KubernetesObject) => object as T,
      clock,
      logger,
      onChange: ({ reset, changes, version }) => {
        this.#version = Number(version);
        if (reset) this.#replace(changes.flatMap(({ after }) => after ?? []));
        else for (const { before, after } of changes) this.#told(before, after);
      },
    });
    return this.#watch.ready;
  }

  /** Why the server cannot be asked, while it cannot. */
  get fault(): string | undefined {
    const { awaySince, lastError } = this.#watch?.status() ?? {};
    return awaySince === undefined ? undefined : (lastError ?? "it does not answer");
  }
  get kind(): Resource {
    return this.#kind;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }
  all(): readonly T[] {
    return [...this.#objects.values()];
  }
  inNamespace(namespace: string | undefined): readonly T[] {
    return [...(this.#byNamespace.get(namespace ?? "") ?? NOTHING).values()];
  }

  listen(listener: Listener<T>): void {
    this.#listeners.push(listener);
  }

  /** What the server has answered to a write. One that is late may be of what has gone since: a list does not tell of that. */
  put(object: ApiObject): void {
    if (versionOf(object) > this.#version) this.#set(object as T);
  }

  /** What an object will be once the watch tells: a pod that was bound to a node. Unless it has told already. */
  assume(object: T): void {
    const held = this.#objects.get(keyOf(object.metadata));
    if (held !== undefined && versionOf(held) === versionOf(object)) this.#set(object, true);
  }

  /** The server has removed it. */
  remove(object: ApiObject): void {
    const { uid } = object.metadata;
    const held = this.#objects.get(keyOf(object.metadata));
    if (held === undefined || held.metadata.uid !== uid) return;
    this.#unset(held);
  }

  async stop(): Promise<void> {
    await this.#watch?.stop();
  }

  /** What was written while the list was on its way is not in it, and not gone either. */
  #replace(objects: readonly T[]): void {
    const keys = new Set(objects.map(({ metadata }) => keyOf(metadata)));
    for (const held of this.all()) {
      if (!keys.has(keyOf(held.metadata)) && versionOf(held) <= this.#version) this.#unset(held);
    }
    for (const object of objects) this.#set(object);
  }

  #told(before: T | undefined, after: T | undefined): void {
    if (after !== undefined) {
      this.#set(after);
      return;
    }
    const uid = before?.metadata.uid ?? "";
    this.#bury(uid);
    const held = before === undefined ? undefined : this.#objects.get(keyOf(before.metadata));
    if (held !== undefined && held.metadata.uid === uid) this.#unset(held);
  }

  #set(object: T, assumed = false): void {
    const { uid = "", namespace = "" } = object.metadata;
    if (this.#gone.has(uid)) return;
    const key = keyOf(object.metadata);
    const held = this.#objects.get(key);
    if (held !== undefined && !assumed && versionOf(held) >= versionOf(object)) return;
    this.#objects.set(key, object);
    const peers = this.#byNamespace.get(namespace) ?? new Map<string, T>();
    peers.set(key, object);
    this.#byNamespace.set(namespace, peers);
    for (const listener of this.#listeners) listener(held, object);
  }

  #bury(uid: string): void {
    this.#gone.add(uid);
    if (this.#gone.size <= MOST_GONE) return;
    for (const oldest of this.#gone) {
      this.#gone.delete(oldest);
      return;
    }
  }

  #unset(held: T): void {
    const key = keyOf(held.metadata);
    this.#bury(held.metadata.uid ?? "");
    this.#objects.delete(key);
    this.#byNamespace.get(held.metadata.namespace ?? "")?.delete(key);
    for (const listener of this.#listeners) listener(held, undefined);
  }
}

/** Versions of this server are numbers that grow. */
const versionOf = ({ metadata }: ApiObject): number => Number(metadata.resourceVersion ?? 0);
