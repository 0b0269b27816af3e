/**
 * Random numbers that follow from a seed and a name alone: the third watch of pods has the same ones in every run,
 * whatever else was asked for before it.
 */
import { seededRandom } from "@weft/base";

/** Numbers from 0 to 1, 1 excluded. */
export const dice = (seed: number, name: string): (() => number) =>
  seededRandom(Number(BigInt(Bun.hash(`${seed} ${name}`)) & 0xffffffffn));

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
