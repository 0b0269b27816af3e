/** Which resources there are: those that always are, and those of the CustomResourceDefinitions in the store. */
import { apiVersionOf, type Resource } from "./resource.ts";
import { customResources } from "./resources/custom.ts";
import { DEFINITIONS_RESOURCE } from "./resources/definition.ts";
import { BUILT_IN } from "./resources/index.ts";
import type { Store } from "./storage/store.ts";
import type { ApiObject } from "./values.ts";

export interface GroupVersions {
  readonly group: string;
  /** The preferred one first. */
  readonly versions: readonly string[];
}

export class Registry {
  readonly #custom = new Map<string, readonly Resource[]>();
  #all: readonly Resource[] = BUILT_IN;
  /** Counts changes: what is derived from the resources can be kept for as long as it is the same. */
  generation = 0;

  /** Takes the definitions of a store, and follows them. */
  follow(store: Store): void {
    const { storage } = DEFINITIONS_RESOURCE;
    for (const page of store.pages(storage)) {
      for (const { value } of page) this.#take(JSON.parse(value) as ApiObject);
    }
    this.#refresh();
    store.subscribe(storage, ({ object, deleted }) => {
      if (deleted) this.#custom.delete(object.metadata.name);
      else this.#take(object);
      this.#refresh();
    });
  }

  get all(): readonly Resource[] {
    return this.#all;
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#all.find((r) => r.plural === plural && r.group === group && r.version === version);
  }

  ofKind(apiVersion: string, kind: string): Resource | undefined {
    return this.#all.find((r) => r.kind === kind && apiVersionOf(r) === apiVersion);
  }

  /** The resource that has the stored version of these objects. */
  ofStorage(storage: string): Resource | undefined {
    const sharing = this.#all.filter((r) => r.storage === storage);
    return sharing.find((r) => r.fromStored === undefined) ?? sharing[0];
  }

  /** Of each kind of stored object one resource. */
  stored(): Resource[] {
    const storages = new Set(this.#all.map((r) => r.storage));
    return [...storages].flatMap((storage) => this.ofStorage(storage) ?? []);
  }

  groups(): GroupVersions[] {
    const groups = new Map<string, Set<string>>();
    for (const { group, version } of this.#all) {
      groups.set(group, (groups.get(group) ?? new Set()).add(version));
    }
    return [...groups].map(([group, versions]) => ({ group, versions: [...versions].sort(byPreference) }));
  }

  resourcesOf(group: string, version: string): readonly Resource[] {
    return this.#all.filter((r) => r.group === group && r.version === version);
  }

  #take(definition: ApiObject): void {
    this.#custom.set(definition.metadata.name, customResources(definition));
  }

  #refresh(): void {
    this.generation++;
    this.#all = [...BUILT_IN, ...[...this.#custom.values()].flat()];
  }
}

/** v2 before v1 before v1beta2 before v1alpha1; other names last, by the alphabet. */
export function byPreference(a: string, b: string): number {
  const [x, y] = [ranked(a), ranked(b)];
  for (const i of [0, 1, 2] as const) if (x[i] !== y[i]) return y[i] - x[i];
  return a < b ? -1 : 1;
}

function ranked(version: string): readonly [number, number, number] {
  const found = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (found === null) return [0, 0, 0];
  const stage = found[2] === undefined ? 3 : found[2] === "beta" ? 2 : 1;
  return [stage, Number(found[1]), Number(found[3] ?? 0)];
}
