/** Sets of prefixes as few prefixes that do not overlap. */
import {
  addressAt,
  bitsOf,
  compareIp,
  contains,
  familyOf,
  ipToBigInt,
  makePrefix,
  type Prefix,
  prefixIp,
  prefixLength,
  prefixSize,
} from "@weft/base";

/** By address, the wider first: what contains a prefix comes before it. */
const inOrder = (a: string, b: string): number =>
  compareIp(prefixIp(a), prefixIp(b)) || prefixLength(a) - prefixLength(b);

/** Those that lie in none of the others. */
export function outermost(prefixes: readonly Prefix[]): Prefix[] {
  const kept: Prefix[] = [];
  for (const prefix of prefixes.toSorted(inOrder)) {
    const last = kept.at(-1);
    if (last === undefined || !contains(last, prefix)) kept.push(prefix);
  }
  return kept;
}

/** The same addresses in as few prefixes as can be: halves of one prefix become that prefix. */
export function merged(prefixes: readonly Prefix[]): Prefix[] {
  const kept: Prefix[] = [];
  for (const prefix of outermost(prefixes)) {
    let next = prefix;
    for (let last = kept.at(-1); last !== undefined && areHalves(last, next); last = kept.at(-1)) {
      kept.pop();
      next = makePrefix(prefixIp(last), prefixLength(last) - 1);
    }
    kept.push(next);
  }
  return kept;
}

/** What is left of a prefix without those that lie in it, in as few prefixes as can be. */
export function without(prefix: Prefix, holes: readonly Prefix[]): Prefix[] {
  const inside = holes.filter((hole) => contains(prefix, hole));
  if (inside.length === 0) return [prefix];
  if (inside.includes(prefix)) return [];
  const length = prefixLength(prefix) + 1;
  const low = makePrefix(prefixIp(prefix), length);
  const high = makePrefix(addressAt(prefix, prefixSize(prefix) / 2n), length);
  return [...without(low, inside), ...without(high, inside)];
}

/** `a` is the lower and `b` the upper half of one prefix. */
function areHalves(a: Prefix, b: Prefix): boolean {
  const length = prefixLength(a);
  if (length === 0 || length !== prefixLength(b) || familyOf(a) !== familyOf(b)) return false;
  const half = 1n << BigInt(bitsOf(familyOf(a)) - length);
  const low = ipToBigInt(prefixIp(a));
  return (low & half) === 0n && ipToBigInt(prefixIp(b)) === low + half;
}
