/** Keys and values of the services' sets as bytes, and back. Addresses in rows are canonical text, which is quick to read. */
import {
  type Family,
  type IpAddress,
  ipBytes,
  ipFromBytes,
  type Prefix,
  prefixIp,
  prefixLength,
} from "@weft/base";
import type { Backend, FrontendMatch, Transport } from "@weft/model";
import { encodeProfile, type Profile } from "./profile.ts";

export const PROTOCOLS: Readonly<Record<Transport, number>> = { tcp: 6, udp: 17, sctp: 132 };
const TRANSPORTS = new Map(Object.entries(PROTOCOLS).map(([name, n]) => [n, name as Transport]));

export const ipSize = (family: Family): 4 | 16 => (family === 4 ? 4 : 16);

/** Writes an address. IPv4, of which there are most, without an object in between. */
export function writeIp(ip: IpAddress, family: Family, into: Uint8Array, at: number): void {
  if (family === 6) {
    into.set(ipBytes(ip), at);
    return;
  }
  let value = 0;
  let place = at;
  for (let i = 0; i < ip.length; i++) {
    const digit = ip.charCodeAt(i) - 48;
    if (digit >= 0) value = value * 10 + digit;
    else {
      into[place++] = value;
      value = 0;
    }
  }
  into[place] = value;
}

const writePort = (port: number, into: Uint8Array, at: number): void => {
  into[at] = port >> 8;
  into[at + 1] = port & 0xff;
};

/** Key of a frontend: address (zero for a node port), protocol, port. */
export function frontendKey(match: FrontendMatch): Uint8Array {
  const { family, address, protocol, port } = match;
  const size = ipSize(family);
  const key = new Uint8Array(size + 8);
  if (address !== "node") writeIp(address, family, key, 0);
  key[size] = PROTOCOLS[protocol];
  writePort(port, key, size + 4);
  return key;
}

/** Undefined when the bytes are no frontend's key. */
export function decodeFrontend(key: Uint8Array, family: Family): FrontendMatch | undefined {
  const size = ipSize(family);
  const protocol = TRANSPORTS.get(key[size] as number);
  if (key.length < size + 8 || protocol === undefined) return undefined;
  const ip = key.subarray(0, size);
  const address = ip.some((b) => b !== 0) ? ipFromBytes(ip) : "node";
  return { address, family, protocol, port: ((key[size + 4] as number) << 8) | (key[size + 5] as number) };
}

/** A mark is in the machine's order. */
export function writeMark(mark: number, into: Uint8Array, at: number): void {
  into[at] = mark & 0xff;
  into[at + 1] = (mark >>> 8) & 0xff;
  into[at + 2] = (mark >>> 16) & 0xff;
  into[at + 3] = mark >>> 24;
}

export const readMark = (from: Uint8Array, at: number): number =>
  ((from[at] as number) |
    ((from[at + 1] as number) << 8) |
    ((from[at + 2] as number) << 16) |
    ((from[at + 3] as number) << 24)) >>>
  0;

/** Key of a backend: that of its frontend, and the slot. */
export function slotKey(frontend: Uint8Array, slot: number): Uint8Array {
  const key = new Uint8Array(frontend.length + 4);
  key.set(frontend);
  writeMark(slot, key, frontend.length);
  return key;
}

export function backendValue({ ip, port }: Backend, family: Family): Uint8Array {
  const size = ipSize(family);
  const value = new Uint8Array(size + 4);
  writeIp(ip, family, value, 0);
  writePort(port, value, size);
  return value;
}

export function decodeBackend(value: Uint8Array, family: Family): Backend {
  const size = ipSize(family);
  return {
    ip: ipFromBytes(value.subarray(0, size)),
    port: ((value[size] as number) << 8) | (value[size + 1] as number),
  };
}

/** A profile as the key of a stage's map: its two marks. */
export function profileKeyBytes(profile: Profile): Uint8Array {
  const key = new Uint8Array(8);
  const [first, second] = encodeProfile(profile);
  writeMark(first, key, 0);
  writeMark(second, key, 4);
  return key;
}

/** Value of a frontend: the number of its slots, for whoever reads it, and the profile. */
export function frontendValue(profile: Profile): Uint8Array {
  const value = new Uint8Array(12);
  writeMark(profile.slots, value, 0);
  value.set(profileKeyBytes(profile), 4);
  return value;
}

export const ipKey = (ip: IpAddress): Uint8Array => Uint8Array.from(ipBytes(ip));

/** First and last address of a prefix. */
export function prefixRange(prefix: Prefix): { first: Uint8Array; last: Uint8Array } {
  const first = ipKey(prefixIp(prefix));
  const last = Uint8Array.from(first);
  const length = prefixLength(prefix);
  for (let i = 0; i < last.length; i++) {
    const host = Math.min(8, Math.max(0, (i + 1) * 8 - length));
    last[i] = (last[i] as number) | ((1 << host) - 1);
  }
  return { first, last };
}

/** The address behind, undefined behind the last of all. */
export function following(ip: Uint8Array): Uint8Array | undefined {
  const next = Uint8Array.from(ip);
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = ((next[i] as number) + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}

/** The prefix from `first` to `last`, undefined when they are not the ends of one. */
export function prefixOfRange(first: Uint8Array, last: Uint8Array): Prefix | undefined {
  let length = 0;
  let split = false;
  for (let bit = 0; bit < first.length * 8; bit++) {
    const mask = 0x80 >> (bit & 7);
    const a = ((first[bit >> 3] as number) & mask) !== 0;
    const b = ((last[bit >> 3] as number) & mask) !== 0;
    if (!split && a === b) length++;
    else if (a || !b) return undefined;
    else split = true;
  }
  return `${ipFromBytes(first)}/${length}` as Prefix;
}

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
