/**
 * Manifests into the API server: what `kubectl apply --prune` would do for a directory, each time that it changes.
 *
 *   manifests/ --watchObjects--> wanted --> queue: create | patch | delete and create anew | delete
 *                                             ^
 *   imported.json: what was applied, by whom it is known what to take away, and what others have done since
 *
 * What is in force is left alone: an object that somebody has changed or deleted in the API is applied again only when
 * its manifest changes. An object is removed with its manifest if it is still the one that was made of it.
 */
import { type Clock, describeError, hasCode, type Logger } from "@weft/base";
import { type DirectoryWatch, type SourceObject, type SourceObjects, watchObjects } from "@weft/cluster";
import { type ApiClient, KeyQueue } from "@weft/cluster/client";
import { honoured } from "./honoured.ts";
import { bare, ImportApi, type ImportPlace } from "./import-api.ts";
import { type Applied, ImportRecord } from "./import-record.ts";
import { includes, threeWay } from "./three-way.ts";

export interface ManifestsOptions {
  readonly directory: string;
  /** File of the record. */
  readonly record: string;
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly changed: () => void;
}

const GONE_EVERY_MS = 30;
/** What the server does not take may be taken later: a definition that is still missing. */
const REFUSED_MS = 5000;

interface Wanted extends SourceObject {
  readonly place: string;
}

export class Manifests {
  readonly #o: ManifestsOptions;
  readonly #api: ImportApi;
  readonly #record: ImportRecord;
  readonly #queue: KeyQueue;
  readonly #errors = new Map<string, string>();
  /** Not looked at since they were read. */
  readonly #fresh = new Set<string>();
  #wanted: ReadonlyMap<string, Wanted> = new Map();
  #source: SourceObjects = { objects: [], warnings: [], errors: [] };
  #watch: DirectoryWatch | undefined;

  constructor(options: ManifestsOptions) {
    this.#o = options;
    this.#api = new ImportApi(options.client);
    this.#record = new ImportRecord(options.record, options.logger);
    this.#queue = new KeyQueue({
      name: "manifests",
      clock: options.clock,
      logger: options.logger,
      isExpected: () => true,
      look: (key) => this.#look(key),
    });
  }

  start(): void {
    this.#watch = watchObjects(this.#o.directory, { honoured }, (source) => this.#take(source));
    this.#queue.start();
  }

  async stop(): Promise<void> {
    this.#watch?.stop();
    await this.#queue.stop();
  }

  get errors(): readonly string[] {
    return [...this.#source.errors, ...[...this.#errors.values()].sort()];
  }
  get warnings(): readonly string[] {
    return this.#source.warnings;
  }
  /** True once every manifest was given to the server, or refused by it. */
  get settled(): boolean {
    return this.#watch !== undefined && this.#fresh.size === 0;
  }

  #take(source: SourceObjects): void {
    const { logger, changed } = this.#o;
    for (const error of source.errors) logger.error("manifest", { error });
    for (const warning of source.warnings) logger.warn("manifest", { warning });
    const before = this.#wanted;
    this.#source = source;
    this.#wanted = new Map(source.objects.map((object) => [identityOf(object.value), object]));
    for (const key of new Set([...before.keys(), ...this.#wanted.keys(), ...this.#record.keys()])) {
      const now = this.#wanted.get(key);
      if (now === undefined) this.#errors.delete(key);
      if (now !== undefined && Bun.deepEquals(now.value, before.get(key)?.value)) continue;
      this.#fresh.add(key);
    }
    for (const key of inOrder([...this.#fresh])) this.#queue.add(key);
    changed();
  }

  async #look(key: string): Promise<number | undefined> {
    try {
      const again = await this.#bring(key);
      this.#errors.delete(key);
      if (again === undefined) this.#settle(key);
      return again;
    } catch (error) {
      if (hasCode(error, "unavailable") || hasCode(error, "timeout") || hasCode(error, "conflict"))
        throw error;
      const wanted = this.#wanted.get(key);
      const text = `${wanted?.place ?? "manifests"}: ${wanted?.key ?? key}: ${describeError(error)}`;
      if (this.#errors.get(key) !== text) this.#o.logger.error("manifest", { error: text });
      this.#errors.set(key, text);
      this.#settle(key);
      return REFUSED_MS;
    }
  }

  #settle(key: string): void {
    this.#fresh.delete(key);
    this.#o.changed();
  }

  /** Milliseconds until it is to be looked at again; undefined when it is as its manifest says. */
  async #bring(key: string): Promise<number | undefined> {
    const wanted = this.#wanted.get(key)?.value;
    const applied = this.#record.get(key);
    if (wanted === undefined) {
      if (applied !== undefined) await this.#remove(applied);
      this.#record.delete(key);
      return undefined;
    }
    if (applied !== undefined && !applied.replacing && Bun.deepEquals(applied.value, wanted))
      return undefined;
    const place = await this.#api.placeOf(wanted);
    // Mostly it is new, and the server says when it is not.
    if (applied === undefined && (await this.#make(key, place, wanted))) return undefined;
    const current = await this.#api.get(place);
    if (current === undefined) {
      return (await this.#make(key, place, wanted)) ? undefined : GONE_EVERY_MS;
    }
    // One that is on its way out, ours or not, is waited for.
    if (current.metadata["deletionTimestamp"] !== undefined) return GONE_EVERY_MS;
    const patch = threeWay(applied === undefined ? {} : bare(applied.value), bare(wanted), current);
    if (patch === undefined || (await this.#patched(place, patch, wanted, current))) {
      this.#record.set(key, { value: wanted, uid: current.metadata.uid ?? "" });
      return undefined;
    }
    this.#record.set(key, { value: wanted, uid: current.metadata.uid ?? "", replacing: true });
    await this.#api.remove(place, current.metadata.uid ?? "");
    return GONE_EVERY_MS;
  }

  /** False when there is one of that name. */
  async #make(key: string, place: ImportPlace, value: SourceObject["value"]): Promise<boolean> {
    try {
      const uid = await this.#api.create(place, value);
      this.#record.set(key, { value, uid });
      return true;
    } catch (error) {
      if (hasCode(error, "exists")) return false;
      throw error;
    }
  }

  async #remove({ value, uid }: Applied): Promise<void> {
    try {
      await this.#api.remove(await this.#api.placeOf(value), uid);
    } catch (error) {
      // Its definition has gone, and it with that.
      if (!hasCode(error, "unsupported")) throw error;
    }
  }

  /** False when only a new object can be so: a pod, or an address that may not change. Throws what the server refuses. */
  async #patched(place: ImportPlace, patch: object, wanted: object, current: object): Promise<boolean> {
    if (needsNew(place.kind, patch, wanted, current)) {
      await this.#api.check(place, wanted);
      return false;
    }
    try {
      await this.#api.patch(place, patch);
      return true;
    } catch (error) {
      if (!hasCode(error, "invalid")) throw error;
      // Is it the manifest that is wrong, or only the change?
      await this.#api.check(place, wanted);
      return false;
    }
  }
}

/** Fields of a Service that the server keeps when they are not said any more. */
const KEPT: readonly string[] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

function needsNew(kind: string, patch: object, wanted: object, current: object): boolean {
  const specOf = (object: object): Readonly<Record<string, unknown>> =>
    (object as { spec?: Readonly<Record<string, unknown>> }).spec ?? {};
  if (kind === "Pod") return !includes(specOf(current), specOf(wanted));
  return kind === "Service" && KEPT.some((field) => specOf(patch)[field] === null);
}

/** "apps/v1 Deployment default/web" */
function identityOf(value: Readonly<Record<string, unknown>>): string {
  const { name, namespace = "" } = value["metadata"] as { name: string; namespace?: string };
  return `${value["apiVersion"]} ${value["kind"]} ${namespace}/${name}`;
}

/** What others need comes first. */
const inOrder = (keys: readonly string[]): string[] => {
  const rank = (key: string): number => (/ (Namespace|CustomResourceDefinition) /.test(key) ? 0 : 1);
  return keys.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
};
