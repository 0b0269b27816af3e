/** Addresses and prefixes as fields of objects, and the ranges that nothing of a cluster can be in. */
import {
  describeError,
  hintOf,
  type IpAddress,
  overlaps,
  type Prefix,
  parseIp,
  parsePrefix,
} from "@weft/base";
import type { Field } from "./field.ts";

/** Ranges that have a meaning of their own and can hold neither a node, nor pods, nor services (RFC 6890). */
const SPECIAL: readonly [range: string, what: string][] = [
  ["0.0.0.0/8", '"this network"'],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["::/127", "unspecified and loopback"],
  ["fe80::/10", "link-local"],
  ["ff00::/8", "multicast"],
];

/**
 * False for a prefix in canonical text that certainly touches no special range, by its first byte: comparing it with all
 * of them is for the few. A prefix of fewer than 8 bits has no first byte of its own.
 */
export const isMaybeSpecial = (prefix: string): boolean =>
  /^(0|127|169|22[4-9]|2[345]\d)\.|^::|^f[ef]|\/[0-7]$/.test(prefix);

/** The address that stands there, or undefined with a fault. */
export function ipOf(field: Field): IpAddress | undefined {
  const text = field.requiredString();
  return text === undefined ? undefined : parsed(field, text, parseIp);
}

/** The prefix that stands there, or undefined with a fault. */
export function prefixOf(field: Field): Prefix | undefined {
  const text = field.requiredString();
  return text === undefined ? undefined : parsed(field, text, parsePrefix);
}

/** True, with a fault, when the prefix touches a special range. */
export function refuseSpecial(field: Field, prefix: string): boolean {
  if (!isMaybeSpecial(prefix)) return false;
  const special = SPECIAL.find(([range]) => overlaps(range, prefix));
  if (special !== undefined) field.invalid(`must not touch ${special[0]} (${special[1]})`);
  return special !== undefined;
}

/** Like `ipOf`, and of no special range. */
export function unicastOf(field: Field): IpAddress | undefined {
  const ip = ipOf(field);
  return ip === undefined || refuseSpecial(field, `${ip}/${ip.includes(":") ? 128 : 32}`) ? undefined : ip;
}

function parsed<T>(field: Field, text: string, parse: (text: string) => T): T | undefined {
  try {
    return parse(text);
  } catch (error) {
    const hint = hintOf(error);
    field.invalid(hint === undefined ? describeError(error) : `${describeError(error)}. ${hint}`);
    return undefined;
  }
}
