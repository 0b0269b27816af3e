/**
 * IP addresses. In every row and message an address is its canonical text: dotted quad for IPv4, RFC 5952
 * for IPv6 (lower case, longest run of zeros compressed, never an embedded dotted quad except for
 * ::ffff:0:0/96, which is refused: an IPv4-mapped address is not an address of a pod or node).
 * Canonical text compares with ===, keys a Map, and crosses a worker boundary or JSON as it is.
 */
import { WeftError } from "./errors.ts";

export type Family = 4 | 6;
export type IpAddress = string & { readonly __brand: "IpAddress" };

const invalid = (text: string, why: string): WeftError =>
  new WeftError("invalid", `"${text.slice(0, 64)}" is not an IP address: ${why}`, {
    hint: "Write it like 10.0.0.1 or fd00::1.",
  });

/** The family of an address or prefix in canonical text. */
export function familyOf(ip: string): Family {
  return ip.includes(":") ? 6 : 4;
}

/** Length in bits of the addresses of a family. */
export const bitsOf = (family: Family): 32 | 128 => (family === 4 ? 32 : 128);

/** Parses an address. Throws WeftError "invalid". */
export function parseIp(text: string): IpAddress {
  if (isCanonical4(text)) return text;
  return ipFromBytes(text.includes(":") ? parse6(text) : parse4(text, text));
}

export function isIp(text: string): boolean {
  if (isCanonical4(text)) return true;
  try {
    parseIp(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * IPv4 has one text an address, which is canonical. Without an object in between: a cluster has hundreds of thousands of
 * addresses, and each is looked at when it is read.
 */
function isCanonical4(text: string): text is IpAddress {
  if (text.length > 15) return false;
  let numbers = 1;
  let digits = 0;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (digits === 0) return false;
      numbers++;
      digits = 0;
      value = 0;
      continue;
    }
    const digit = code - ZERO;
    // A zero in front of other digits is refused, see parse4.
    if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return false;
    value = value * 10 + digit;
    digits++;
    if (value > 255) return false;
  }
  return numbers === 4 && digits > 0;
}

const DOT = 0x2e;
const ZERO = 0x30;

/** The address in network byte order: 4 or 16 bytes. `ip` must be valid. */
export function ipBytes(ip: string): Uint8Array {
  return ip.includes(":") ? parse6(ip) : parse4(ip, ip);
}

/** Canonical text of 4 or 16 bytes in network byte order. */
export function ipFromBytes(b: Uint8Array): IpAddress {
  if (b.length === 4) return `${b[0]}.${b[1]}.${b[2]}.${b[3]}` as IpAddress;
  if (b.length !== 16) throw new WeftError("invalid", `an IP address has 4 or 16 bytes, not ${b.length}`);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((b[i] as number) << 8) | (b[i + 1] as number));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    if (n > 0) i += n - 1;
  }
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(":");
  if (best < 0) return hex(0, 8) as IpAddress;
  return `${hex(0, best)}::${hex(best + bestLength, 8)}` as IpAddress;
}

export function ipToBigInt(ip: string): bigint {
  let v = 0n;
  for (const b of ipBytes(ip)) v = (v << 8n) | BigInt(b);
  return v;
}

export function ipFromBigInt(value: bigint, family: Family): IpAddress {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  let v = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(v & 255n);
    v >>= 8n;
  }
  if (v !== 0n) throw new WeftError("invalid", `${value} is no IPv${family} address`);
  return ipFromBytes(bytes);
}

/** Orders IPv4 before IPv6, then by value. */
export function compareIp(a: string, b: string): number {
  const fa = familyOf(a);
  const fb = familyOf(b);
  if (fa !== fb) return fa - fb;
  const x = ipBytes(a);
  const y = ipBytes(b);
  for (let i = 0; i < x.length; i++) {
    const d = (x[i] as number) - (y[i] as number);
    if (d !== 0) return d;
  }
  return 0;
}

function bytes4(canonical: string): Uint8Array {
  const out = new Uint8Array(4);
  let at = 0;
  let value = 0;
  for (let i = 0; i < canonical.length; i++) {
    const code = canonical.charCodeAt(i);
    if (code === DOT) {
      out[at++] = value;
      value = 0;
    } else value = value * 10 + code - ZERO;
  }
  out[at] = value;
  return out;
}

function parse4(text: string, whole: string): Uint8Array {
  if (isCanonical4(text)) return bytes4(text);
  const parts = text.split(".");
  if (parts.length !== 4) throw invalid(whole, "an IPv4 address has four numbers");
  const out = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const p = parts[i] as string;
    // A leading zero is octal to some parsers and decimal to others: refused.
    if (!/^(0|[1-9][0-9]{0,2})$/.test(p) || Number(p) > 255)
      throw invalid(whole, `"${p.slice(0, 16)}" is not 0..255`);
    out[i] = Number(p);
  }
  return out;
}

function parse6(text: string): Uint8Array {
  if (text.length > 45) throw invalid(text, "too long");
  if (text.includes("%")) throw invalid(text, "a zone is not part of an address");
  const halves = text.split("::");
  if (halves.length > 2) throw invalid(text, "more than one ::");
  const head = groupsOf(halves[0] as string, text, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] as string, text, true) : [];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1)
    throw invalid(text, "an IPv6 address has eight groups");
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) {
    throw invalid(text, "IPv4-mapped addresses are not accepted");
  }
  const out = new Uint8Array(16);
  groups.forEach((g, i) => {
    out[2 * i] = g >> 8;
    out[2 * i + 1] = g & 255;
  });
  return out;
}

function groupsOf(text: string, whole: string, mayEndDotted: boolean): number[] {
  if (text === "") return [];
  const parts = text.split(":");
  const out: number[] = [];
  parts.forEach((p, i) => {
    if (p.includes(".") && mayEndDotted && i === parts.length - 1) {
      const b = parse4(p, whole);
      out.push(((b[0] as number) << 8) | (b[1] as number), ((b[2] as number) << 8) | (b[3] as number));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(p)) {
      out.push(Number.parseInt(p, 16));
    } else {
      throw invalid(whole, `"${p.slice(0, 16)}" is not a group of one to four hexadecimal digits`);
    }
  });
  return out;
}
