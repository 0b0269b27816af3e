/**
 * What follows from a deletion, done in the background, one step a transaction, and taken up again after a restart:
 *
 * - dependents of an owner that is gone go too, unless another owner is left (ownerReferences, by uid);
 * - "orphan" and "foregroundDeletion": dependents lose the reference, or go first;
 * - the content of a namespace, then the namespace; the objects of a definition, then the definition.
 *
 * What was found to do is looked at again at every step: objects change in between, and a step may be repeated.
 */
import { describeError, isNotFound, type Logger } from "@weft/base";
import { keyOf } from "../http/path.ts";
import type { Registry } from "../registry.ts";
import type { Resource } from "../resource.ts";
import { CLEANUP, DEFINITIONS_RESOURCE } from "../resources/definition.ts";
import { NAMESPACES } from "../resources/plain.ts";
import type { Change } from "../storage/change.ts";
import type { Store } from "../storage/store.ts";
import { type ApiObject, at, items, mapping, type OwnerReference, text } from "../values.ts";
import { type DeleteOptions, FOREGROUND, isOver, ORPHAN, remove, removeNow } from "../write/deletion.ts";
import { Dependents, type Reference } from "./dependents.ts";

const OPTIONS: DeleteOptions = {
  gracePeriodSeconds: undefined,
  propagation: "Background",
  uid: undefined,
  resourceVersion: undefined,
  dryRun: false,
};

/** Milliseconds until a step that failed is tried again. */
const RETRY = 1000;

export interface CollectorOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly now: () => number;
  readonly logger: Logger;
}

export class Collector {
  readonly #o: CollectorOptions;
  readonly #dependents = new Dependents();
  /** What is to be looked at, each once: "storage key". */
  readonly #queue = new Map<string, () => Promise<void>>();
  readonly #timers = new Set<Timer>();
  #running: Promise<void> | undefined;
  #stopped = false;
  readonly #unsubscribe: () => void;

  constructor(options: CollectorOptions) {
    this.#o = options;
    const { store, registry } = options;
    for (const resource of registry.stored()) {
      for (const page of store.pages(resource.storage)) {
        for (const { key, value } of page) {
          if (!value.includes('"ownerReferences"') && !value.includes('"deletionTimestamp"')) continue;
          this.#look({ storage: resource.storage, key }, JSON.parse(value) as ApiObject);
        }
      }
    }
    this.#unsubscribe = store.subscribe("*", (change) => this.#heard(change));
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#queue.clear();
    await this.idle();
  }

  #heard(change: Change): void {
    if (change.storage.startsWith("internal/")) return;
    const { storage, key, object } = change;
    const reference: Reference = { storage, key };
    if (!change.deleted) {
      this.#look(reference, object);
      this.#lookAtReleased(change);
      return;
    }
    this.#dependents.forget(reference);
    for (const dependent of this.#dependents.of(object.metadata.uid)) this.#add(dependent);
    // Whoever waits for it to go: an owner in the foreground, a namespace, a definition.
    for (const owner of object.metadata.ownerReferences ?? [])
      this.#addOwner(owner, object.metadata.namespace);
    const { namespace } = object.metadata;
    if (namespace !== undefined) this.#addNamespace(namespace);
    const definition = this.#definitionOf(storage);
    if (definition !== undefined) this.#lookAgain({ storage: DEFINITIONS_RESOURCE.storage, key: definition });
  }

  #definitionOf(storage: string): string | undefined {
    const [group, plural] = storage.split("/");
    const name = `${plural}.${group}`;
    const { store } = this.#o;
    return store.get(DEFINITIONS_RESOURCE.storage, name) === undefined ? undefined : name;
  }

  #addOwner({ apiVersion, kind, name }: OwnerReference, namespace: string | undefined): void {
    const resource = this.#o.registry.ofKind(apiVersion, kind);
    if (resource === undefined) return;
    this.#lookAgain({
      storage: resource.storage,
      key: keyOf(resource.namespaced ? namespace : undefined, name),
    });
  }

  #addNamespace(name: string): void {
    this.#lookAgain({ storage: NAMESPACES.storage, key: name });
  }

  /** Of an object that may be waiting to go. */
  #lookAgain(reference: Reference): void {
    const object = this.#read(reference);
    if (object?.metadata.deletionTimestamp !== undefined) this.#add(reference);
  }

  /** An owner may have gone before it became one: whoever wrote the reference did not know yet. */
  #look(reference: Reference, object: ApiObject): void {
    const { ownerReferences = [], deletionTimestamp } = object.metadata;
    const isNews = this.#dependents.set(
      reference,
      ownerReferences.map(({ uid }) => uid),
    );
    if (deletionTimestamp !== undefined || (isNews && ownerReferences.length > 0)) this.#add(reference);
  }

  /** Owners that wait for this one need not wait any more. */
  #lookAtReleased(change: Change): void {
    if (change.before?.includes('"ownerReferences"') !== true) return;
    const { ownerReferences = [], namespace } = change.object.metadata;
    for (const owner of change.previous?.metadata.ownerReferences ?? []) {
      const holds = ownerReferences.some(
        ({ uid, blockOwnerDeletion: blocks }) => uid === owner.uid && blocks === owner.blockOwnerDeletion,
      );
      if (!holds) this.#addOwner(owner, namespace);
    }
  }

  /** What is to be done follows from the object as it is by then: one that was added twice is looked at once. */
  #add(reference: Reference): void {
    if (this.#stopped) return;
    const step = async (): Promise<void> => {
      if (this.#read(reference)?.metadata.deletionTimestamp === undefined) await this.#checkOwners(reference);
      else await this.#finalize(reference);
    };
    this.#queue.set(`${reference.storage} ${reference.key}`, step);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Not within the write that led here: its client is answered first.
    await new Promise((done) => setImmediate(done));
    for (const [name, step] of this.#queue) {
      this.#queue.delete(name);
      try {
        await step();
      } catch (error) {
        if (!isNotFound(error)) this.#later(name, step, error);
      }
    }
    this.#running = undefined;
    if (this.#queue.size > 0) this.#running = this.#run();
  }

  #later(name: string, step: () => Promise<void>, error: unknown): void {
    if (this.#stopped) return;
    this.#o.logger.warn("will be tried again", { object: name, error: describeError(error) });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#queue.set(name, step);
      this.#running ??= this.#run();
    }, RETRY);
    this.#timers.add(timer);
  }

  #read({ storage, key }: Reference): ApiObject | undefined {
    const held = this.#o.store.get(storage, key);
    return held === undefined ? undefined : (JSON.parse(held.value) as ApiObject);
  }

  #delete(reference: Reference, options: Partial<DeleteOptions> = {}): Promise<unknown> {
    const { store, registry, now } = this.#o;
    const resource = registry.ofStorage(reference.storage);
    if (resource === undefined) return Promise.resolve();
    return remove(store, resource, reference.key, reference.key, { ...OPTIONS, ...options }, now());
  }

  /** Changes an object if it is still there; it goes when that was the last it waited for. */
  #change(resource: Resource, key: string, change: (object: ApiObject) => void): Promise<void> {
    return this.#o.store.transact((tx) => {
      const held = tx.get(resource.storage, key);
      if (held === undefined) return;
      const object = JSON.parse(held.value) as ApiObject;
      change(object);
      if (isOver(resource, object)) removeNow(resource, key, object, tx);
      else tx.put(resource.storage, key, object);
    });
  }

  /** A dependent whose owners are all gone goes; of others, the references to what is gone are taken out. */
  async #checkOwners(reference: Reference): Promise<void> {
    const object = this.#read(reference);
    const resource = this.#o.registry.ofStorage(reference.storage);
    if (object === undefined || resource === undefined || object.metadata.deletionTimestamp !== undefined)
      return;
    const owners = object.metadata.ownerReferences ?? [];
    const gone = owners.filter((owner) => this.#isGone(owner, object.metadata.namespace));
    if (gone.length === 0) return;
    if (gone.length === owners.length) {
      await this.#delete(reference, {
        uid: object.metadata.uid,
        resourceVersion: object.metadata.resourceVersion,
      });
      return;
    }
    const uids = new Set(gone.map(({ uid }) => uid));
    await this.#change(resource, reference.key, ({ metadata }) => {
      metadata.ownerReferences = (metadata.ownerReferences ?? []).filter(({ uid }) => !uids.has(uid));
    });
  }

  /** Owners of kinds that this server does not have are none of its business. */
  #isGone({ apiVersion, kind, name, uid }: OwnerReference, namespace: string | undefined): boolean {
    const resource = this.#o.registry.ofKind(apiVersion, kind);
    if (resource === undefined) return false;
    if (resource.namespaced && namespace === undefined) return false;
    const owner = this.#read({
      storage: resource.storage,
      key: keyOf(resource.namespaced ? namespace : undefined, name),
    });
    return owner?.metadata.uid !== uid;
  }

  async #finalize(reference: Reference): Promise<void> {
    const object = this.#read(reference);
    const resource = this.#o.registry.ofStorage(reference.storage);
    if (object?.metadata.deletionTimestamp === undefined || resource === undefined) return;
    const { finalizers = [], uid } = object.metadata;
    if (finalizers.includes(ORPHAN)) await this.#orphan(resource, reference.key, uid);
    if (finalizers.includes(FOREGROUND)) await this.#foreground(resource, reference.key, uid);
    if (resource === NAMESPACES) await this.#emptyNamespace(object);
    if (resource === DEFINITIONS_RESOURCE) await this.#emptyDefinition(object);
  }

  async #orphan(resource: Resource, key: string, uid: string | undefined): Promise<void> {
    for (const dependent of this.#dependents.of(uid)) {
      const of = this.#o.registry.ofStorage(dependent.storage);
      if (of === undefined) continue;
      await this.#change(of, dependent.key, ({ metadata }) => {
        metadata.ownerReferences = (metadata.ownerReferences ?? []).filter((owner) => owner.uid !== uid);
        if (metadata.ownerReferences.length === 0) delete metadata.ownerReferences;
      });
    }
    await this.#change(resource, key, (object) => dropFinalizer(object, ORPHAN));
  }

  /** Dependents that block go first; the last one that went leads here again. */
  async #foreground(resource: Resource, key: string, uid: string | undefined): Promise<void> {
    let blocked = false;
    for (const dependent of this.#dependents.of(uid)) {
      const object = this.#read(dependent);
      const owner = object?.metadata.ownerReferences?.find((o) => o.uid === uid);
      if (object === undefined || owner === undefined) continue;
      blocked ||= owner.blockOwnerDeletion === true;
      if (object.metadata.deletionTimestamp === undefined)
        await this.#delete(dependent, { propagation: "Foreground" });
    }
    const left = this.#dependents.of(uid).length > 0;
    if (!blocked || !left) await this.#change(resource, key, (object) => dropFinalizer(object, FOREGROUND));
  }

  async #emptyNamespace(namespace: ApiObject): Promise<void> {
    const { name } = namespace.metadata;
    let left = false;
    for (const resource of this.#o.registry.stored()) {
      if (resource.namespaced) left = (await this.#deleteAll(resource, `${name}/`)) || left;
    }
    if (left || !items(at(namespace, "spec", "finalizers")).includes("kubernetes")) return;
    await this.#change(NAMESPACES, name, (object) => {
      const spec = mapping(object["spec"]);
      object["spec"] = { ...spec, finalizers: items(spec["finalizers"]).filter((f) => f !== "kubernetes") };
    });
  }

  async #emptyDefinition(definition: ApiObject): Promise<void> {
    if (!definition.metadata.finalizers?.includes(CLEANUP)) return;
    const storage = `${text(at(definition, "spec", "group"))}/${text(at(definition, "spec", "names", "plural"))}`;
    const resource = this.#o.registry.ofStorage(storage);
    if (resource !== undefined && (await this.#deleteAll(resource, ""))) return;
    await this.#change(DEFINITIONS_RESOURCE, definition.metadata.name, (object) =>
      dropFinalizer(object, CLEANUP),
    );
  }

  /** True when something is left: it has finalizers, or a grace period. */
  async #deleteAll(resource: Resource, prefix: string): Promise<boolean> {
    const { store } = this.#o;
    for (const page of store.pages(resource.storage, { prefix })) {
      const steps = page.map(async ({ key, value }) => {
        if (value.includes('"deletionTimestamp"') && at(JSON.parse(value), "metadata", "deletionTimestamp"))
          return;
        try {
          await this.#delete({ storage: resource.storage, key });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      });
      await Promise.all(steps);
    }
    return !store.pages(resource.storage, { prefix }, store.revision, 1).next().done;
  }
}

function dropFinalizer({ metadata }: ApiObject, name: string): void {
  metadata.finalizers = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== name);
}
