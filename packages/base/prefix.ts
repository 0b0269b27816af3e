/** Prefixes (CIDR). Canonical text, host bits zero: "10.244.1.0/24", "fd00:1::/64". */
import { WeftError } from "./errors.ts";
import {
  bitsOf,
  familyOf,
  type IpAddress,
  ipBytes,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  parseIp,
} from "./ip.ts";

export type Prefix = string & { readonly __brand: "Prefix" };
/** An address with the length of its on-link prefix, host bits kept: "10.0.0.5/24". */
export type IpWithLength = string & { readonly __brand: "IpWithLength" };

function split(text: string): { ip: IpAddress; length: number } {
  const slash = text.indexOf("/");
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  const bits = bitsOf(familyOf(ip));
  if (slash < 0) {
    throw new WeftError("invalid", `"${text.slice(0, 64)}" has no prefix length`, {
      hint: `Write ${ip}/${bits}.`,
    });
  }
  const tail = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(tail) || Number(tail) > bits) {
    throw new WeftError("invalid", `"${text.slice(0, 64)}": a prefix length is 0 to ${bits}`);
  }
  return { ip, length: Number(tail) };
}

/** Parses a prefix; host bits must be zero. Throws WeftError "invalid". */
export function parsePrefix(text: string): Prefix {
  const { ip, length } = split(text);
  const p = makePrefix(ip, length);
  if (!p.startsWith(`${ip}/`)) {
    throw new WeftError("invalid", `"${text.slice(0, 64)}" has bits set behind its length`, {
      hint: `Write ${p}.`,
    });
  }
  return p;
}

/** Parses an interface address such as "10.0.0.5/24"; host bits are kept. */
export function parseIpWithLength(text: string): IpWithLength {
  const { ip, length } = split(text);
  return `${ip}/${length}` as IpWithLength;
}

/** The prefix of that length which contains `ip`: host bits are cleared. Throws "invalid" for a length that is none. */
export function makePrefix(ip: string, length: number): Prefix {
  const bits = bitsOf(familyOf(ip));
  if (!Number.isInteger(length) || length < 0 || length > bits) {
    throw new WeftError("invalid", `${ip}/${length}: a prefix length is 0 to ${bits}`);
  }
  const bytes = Uint8Array.from(ipBytes(ip));
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, length - i * 8));
    bytes[i] = (bytes[i] as number) & ((0xff00 >> keep) & 0xff);
  }
  return `${ipFromBytes(bytes)}/${length}` as Prefix;
}

/** The address part of a prefix or interface address. */
export const prefixIp = (p: string): IpAddress => p.slice(0, p.indexOf("/")) as IpAddress;
export const prefixLength = (p: string): number => Number(p.slice(p.indexOf("/") + 1));
/** The single-address prefix: /32 or /128. */
export const hostPrefix = (ip: string): Prefix => `${ip}/${bitsOf(familyOf(ip))}` as Prefix;
export const withLength = (ip: string, length: number): IpWithLength => `${ip}/${length}` as IpWithLength;
/** The on-link prefix of an interface address. */
export const networkOf = (a: string): Prefix => makePrefix(prefixIp(a), prefixLength(a));

/** Number of addresses in a prefix. */
export const prefixSize = (p: string): bigint => 1n << BigInt(bitsOf(familyOf(p)) - prefixLength(p));

/** True if the prefix contains the address or the other prefix (or equals it). */
export function contains(outer: string, inner: string): boolean {
  if (familyOf(outer) !== familyOf(inner)) return false;
  const slash = inner.indexOf("/");
  const innerLength = slash < 0 ? bitsOf(familyOf(inner)) : Number(inner.slice(slash + 1));
  const length = prefixLength(outer);
  return innerLength >= length && makePrefix(slash < 0 ? inner : inner.slice(0, slash), length) === outer;
}

export const overlaps = (a: string, b: string): boolean => contains(a, b) || contains(b, a);

/** The address at that offset from the start of the prefix. Throws "invalid" when it is outside. */
export function addressAt(p: string, offset: bigint): IpAddress {
  if (offset < 0n || offset >= prefixSize(p))
    throw new WeftError("invalid", `${p} has no address number ${offset}`);
  return ipFromBigInt(ipToBigInt(prefixIp(p)) + offset, familyOf(p));
}

/** The sub-prefix number `index` of the given length: subnetAt("10.0.0.0/16", 24, 2) is 10.0.2.0/24. */
export function subnetAt(p: string, length: number, index: bigint): Prefix {
  const bits = bitsOf(familyOf(p));
  if (
    length > bits ||
    length < prefixLength(p) ||
    index < 0n ||
    index >= 1n << BigInt(length - prefixLength(p))
  ) {
    throw new WeftError("exhausted", `${p} has no /${length} number ${index}`);
  }
  return `${ipFromBigInt(ipToBigInt(prefixIp(p)) + (index << BigInt(bits - length)), familyOf(p))}/${length}` as Prefix;
}
