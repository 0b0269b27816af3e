/** Whose a range is: prefixes found by what they overlap, quickly where few lengths are in use. */
import { familyOf, makePrefix, overlaps, type Prefix, prefixIp, prefixLength } from "@weft/base";

export class Ranges<T> {
  readonly #byLength = new Map<string, Map<string, T>>();

  put(prefix: Prefix, value: T): void {
    const group = `${familyOf(prefix)}/${prefixLength(prefix)}`;
    const entries = this.#byLength.get(group) ?? new Map<string, T>();
    this.#byLength.set(group, entries.set(prefix, value));
  }

  /** One of those that overlap the prefix. */
  overlapping(prefix: Prefix): T | undefined {
    for (const [group, entries] of this.#byLength) {
      const length = prefixLength(group);
      if (group[0] !== String(familyOf(prefix))) continue;
      if (length <= prefixLength(prefix)) {
        const found = entries.get(makePrefix(prefixIp(prefix), length));
        if (found !== undefined) return found;
      } else {
        for (const [other, value] of entries) if (overlaps(prefix, other)) return value;
      }
    }
    return undefined;
  }
}
