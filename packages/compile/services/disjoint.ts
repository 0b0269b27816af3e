/** Sets of prefixes as few prefixes that do not overlap. */
import {
  bitsOf,
  compareIp,
  contains,
  familyOf,
  ipToBigInt,
  makePrefix,
  type Prefix,
  prefixIp,
  prefixLength,
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

/** `a` is the lower and `b` the upper half of one prefix. */
function areHalves(a: Prefix, b: Prefix): boolean {
  const length = prefixLength(a);
  if (length === 0 || length !== prefixLength(b) || familyOf(a) !== familyOf(b)) return false;
  const half = 1n << BigInt(bitsOf(familyOf(a)) - length);
  const low = ipToBigInt(prefixIp(a));
  return (low & half) === 0n && ipToBigInt(prefixIp(b)) === low + half;
}
