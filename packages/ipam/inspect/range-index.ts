/** Which of many ranges an address lies in: one look-up for each prefix length that occurs. */
import {
  bitsOf,
  type Family,
  familyOf,
  type IpAddress,
  makePrefix,
  type Prefix,
  prefixLength,
} from "@weft/base";

export class RangeIndex<T> {
  readonly #byPrefix = new Map<Prefix, T>();
  /** The longest first. */
  readonly #lengths: Readonly<Record<Family, number[]>> = { 4: [], 6: [] };

  /** Of several items with one prefix the first counts. */
  constructor(items: readonly T[], prefixOf: (item: T) => Prefix) {
    for (const item of items) {
      const prefix = prefixOf(item);
      if (!this.#byPrefix.has(prefix)) this.#byPrefix.set(prefix, item);
      const lengths = this.#lengths[familyOf(prefix)];
      if (!lengths.includes(prefixLength(prefix))) lengths.push(prefixLength(prefix));
    }
    for (const lengths of Object.values(this.#lengths)) lengths.sort((a, b) => b - a);
  }

  /** The longest that the address lies in. */
  of(address: IpAddress): T | undefined {
    const family = familyOf(address);
    for (const length of this.#lengths[family]) {
      const item = this.#byPrefix.get(
        length === bitsOf(family) ? (`${address}/${length}` as Prefix) : makePrefix(address, length),
      );
      if (item !== undefined) return item;
    }
    return undefined;
  }
}
