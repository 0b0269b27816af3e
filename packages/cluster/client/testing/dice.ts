/**
 * Random numbers that follow from a seed and a name alone: the third watch of pods has the same ones in every run,
 * whatever else was asked for before it.
 */

/** Numbers from 0 to 1, 1 excluded (mulberry32: 32 bits of state, for tests only). */
export function dice(seed: number, name: string): () => number {
  let state = Number(BigInt(Bun.hash(`${seed} ${name}`)) & 0xffffffffn);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** How often each happens, from 0 to 1; together at most 1. */
export type Rates<Name extends string> = Readonly<Partial<Record<Name, number>>>;

/** What falls to a roll, of those that are `possible`. */
export function pick<Name extends string>(
  rates: Rates<Name>,
  roll: number,
  possible: (name: Name) => boolean,
): Name | undefined {
  let left = roll;
  for (const [name, rate] of Object.entries(rates) as [Name, number][]) {
    if (!possible(name)) continue;
    left -= rate;
    if (left < 0) return name;
  }
  return undefined;
}
