/** Which objects depend on which: by the uid of the owner. */
export interface Reference {
  readonly storage: string;
  readonly key: string;
}

const nameOf = ({ storage, key }: Reference): string => `${storage} ${key}`;

export class Dependents {
  readonly #byOwner = new Map<string, Map<string, Reference>>();
  readonly #owners = new Map<string, readonly string[]>();

  /** Sets whom an object depends on. False when that was known. */
  set(reference: Reference, owners: readonly string[]): boolean {
    const name = nameOf(reference);
    const held = this.#owners.get(name) ?? [];
    if (held.join() === owners.join()) return false;
    this.forget(reference);
    if (owners.length === 0) return true;
    this.#owners.set(name, owners);
    for (const owner of owners) {
      const known = this.#byOwner.get(owner) ?? new Map<string, Reference>();
      this.#byOwner.set(owner, known.set(name, reference));
    }
    return true;
  }

  forget(reference: Reference): void {
    const name = nameOf(reference);
    for (const owner of this.#owners.get(name) ?? []) {
      const known = this.#byOwner.get(owner);
      known?.delete(name);
      if (known?.size === 0) this.#byOwner.delete(owner);
    }
    this.#owners.delete(name);
  }

  of(owner: string | undefined): Reference[] {
    return owner === undefined ? [] : [...(this.#byOwner.get(owner)?.values() ?? [])];
  }
}
