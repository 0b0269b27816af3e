/** The fixed headers that stand before the attributes; numbers in the machine's order. */
import { bitsOf, type Family, type IpAddress, ipFromBytes, WeftError } from "@weft/base";
import type { Scope } from "../port.ts";
import { AF } from "../sys/socket.ts";
import { RT_SCOPE } from "./constants.ts";

function header(size: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  fill(new DataView(bytes.buffer));
  return bytes;
}

/** A view of at least `size` bytes, or "invalid". */
export function headerView(payload: Uint8Array, size: number, what: string): DataView {
  if (payload.length < size) {
    throw new WeftError("invalid", `malformed netlink message: ${what} of ${payload.length} bytes`);
  }
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
}

/** struct ifinfomsg. `change` is the mask of the flags that are meant. */
export const linkHeader = (index = 0, flags = 0, change = 0): Uint8Array =>
  header(16, (v) => {
    v.setInt32(4, index, true);
    v.setUint32(8, flags, true);
    v.setUint32(12, change, true);
  });

/** struct ifaddrmsg. */
export const addressHeader = (family: number, length: number, scope: number, index: number): Uint8Array =>
  header(8, (v) => {
    v.setUint8(0, family);
    v.setUint8(1, length);
    v.setUint8(3, scope);
    v.setUint32(4, index, true);
  });

export interface RouteHeader {
  readonly family: number;
  readonly length?: number;
  /** Number above 255 goes into an attribute: give RT_TABLE_COMPAT here. */
  readonly table?: number;
  readonly protocol?: number;
  readonly scope?: number;
  readonly type?: number;
  readonly flags?: number;
}

/** struct rtmsg. */
export const routeHeader = (h: RouteHeader): Uint8Array =>
  header(12, (v) => {
    v.setUint8(0, h.family);
    v.setUint8(1, h.length ?? 0);
    v.setUint8(4, h.table ?? 0);
    v.setUint8(5, h.protocol ?? 0);
    v.setUint8(6, h.scope ?? 0);
    v.setUint8(7, h.type ?? 0);
    v.setUint32(8, h.flags ?? 0, true);
  });

/** struct ndmsg. */
export const neighbourHeader = (family: number, index = 0, state = 0, flags = 0): Uint8Array =>
  header(12, (v) => {
    v.setUint8(0, family);
    v.setInt32(4, index, true);
    v.setUint16(8, state, true);
    v.setUint8(10, flags);
  });

export const familyNumber = (family: Family): number => (family === 4 ? AF.inet : AF.inet6);

export const scopeNumber = (scope: Scope): number => RT_SCOPE[scope];

/** Site scope and the numbers that only administrators use count as global. */
export const scopeName = (scope: number): Scope =>
  scope === RT_SCOPE.link ? "link" : scope === RT_SCOPE.host ? "host" : "global";

/** The address of an attribute; "invalid" unless it has the length of that AF_ number. */
export function decodeIp(bytes: Uint8Array, family: number): IpAddress {
  if (bytes.length !== (family === AF.inet ? 4 : 16)) {
    throw new WeftError("invalid", `malformed netlink message: an address of ${bytes.length} bytes`);
  }
  return ipFromBytes(bytes);
}

/** A prefix length; "invalid" when an address of that AF_ number has not so many bits. */
export function decodeLength(length: number, family: number): number {
  if (length > bitsOf(family === AF.inet ? 4 : 6)) {
    throw new WeftError("invalid", `malformed netlink message: a prefix of ${length} bits`);
  }
  return length;
}
