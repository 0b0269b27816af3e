/**
 * Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4):
 * each backend has a permutation of the slots that follows from its address and port alone; backends take turns, each
 * taking the next slot of its permutation that is free. Shares differ by a slot at most, whoever computes the table gets
 * the same, and a backend that comes or goes moves few slots of the others.
 */
import type { Backend } from "@weft/model";

/** Slots, prime; the larger ones are for backends so many that shares would differ by more than some percent. */
const SIZES = [1021, 16_381, 262_139] as const;
/** Slots for each backend at least. */
const SHARE = 32;

/** Number of slots for so many backends. A table of another size has nothing in common with it: steps are coarse. */
export const maglevSize = (backends: number): number =>
  SIZES.find((size) => backends * SHARE <= size) ?? (SIZES.at(-1) as number);

/** The backend of each slot. `backends`: distinct, at least one; their order decides nothing but ties. */
export function maglevTable(backends: readonly Backend[]): Backend[] {
  const size = maglevSize(backends.length);
  const turns = backends.map((backend) => {
    const name = `${backend.ip} ${backend.port}`;
    return { backend, at: hash(name, 0x811c9dc5) % size, skip: 1 + (hash(name, 0x01000193) % (size - 1)) };
  });
  const table = new Array<Backend | undefined>(size).fill(undefined);
  for (let filled = 0; ; ) {
    for (const turn of turns) {
      while (table[turn.at] !== undefined) turn.at = (turn.at + turn.skip) % size;
      table[turn.at] = turn.backend;
      if (++filled === size) return table as Backend[];
    }
  }
}

/** FNV-1a of 32 bits with the finish of MurmurHash3, which spreads what FNV leaves in the low bits. */
function hash(text: string, basis: number): number {
  let h = basis;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
