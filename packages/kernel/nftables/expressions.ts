/**
 * Expressions of nftables' rules, as the kernel has them (include/uapi/linux/netfilter/nf_tables.h): each reads
 * registers, writes registers, or ends the rule. A rule is a list of expressions; one that does not match ends it.
 *
 *     payload ip daddr -> r0 | meta l4proto -> r1 | payload th dport -> r2 | lookup r0..r2 in a map -> verdict
 *
 * There are 16 registers of four bytes; a field shorter than that is padded with zeros, as in a set's key, so that
 * fields in adjacent registers are a concatenation. IPv6 addresses take four of them. `Register` is 0 to 15.
 *
 * nft's own language cannot say all of this: version 1.0.6 refuses a random number, or the original destination port
 * of connection tracking, as a part of a key. The kernel takes both. Expressions here are plain data; batch.ts writes them.
 */
import type { Family } from "@weft/base";
import { NF_ACCEPT, NF_DROP, NFT_GOTO, NFT_JUMP } from "./constants.ts";
import type { Verdict } from "./decode.ts";

/** A netlink attribute as data. Numbers are written in network order, as all of nf_tables' are. */
export type Attribute =
  | readonly [type: number, as: "u8" | "u32", value: number]
  | readonly [type: number, as: "u64", value: bigint]
  | readonly [type: number, as: "string", value: string]
  | readonly [type: number, as: "bytes", value: Uint8Array]
  | readonly [type: number, as: "nest", value: readonly Attribute[]];

export interface Expression {
  readonly name: string;
  readonly data: readonly Attribute[];
}

export type Register = number;

/** NFT_REG32_00; register 0 is the verdict. */
const FIRST_REGISTER = 8;
const reg = (register: Register): number => FIRST_REGISTER + register;

const NETWORK_HEADER = 1;
const TRANSPORT_HEADER = 2;

function payload(base: number, offset: number, length: number, to: Register): Expression {
  return {
    name: "payload",
    data: [
      [1, "u32", reg(to)],
      [2, "u32", base],
      [3, "u32", offset],
      [4, "u32", length],
    ],
  };
}

/** Source or destination address of the packet. IPv6: four registers. */
export const address = (family: Family, end: "source" | "destination", to: Register): Expression =>
  family === 4
    ? payload(NETWORK_HEADER, end === "source" ? 12 : 16, 4, to)
    : payload(NETWORK_HEADER, end === "source" ? 8 : 24, 16, to);

/** Source or destination port: the same place in TCP, UDP, SCTP. */
export const port = (end: "source" | "destination", to: Register): Expression =>
  payload(TRANSPORT_HEADER, end === "source" ? 0 : 2, 2, to);

const META_KEYS = { iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;

export const meta = (key: keyof typeof META_KEYS, to: Register): Expression => ({
  name: "meta",
  data: [
    [1, "u32", reg(to)],
    [2, "u32", META_KEYS[key]],
  ],
});

/** Those of connection tracking's keys that have a direction, and `state` and `status`, which have none. */
const CT_KEYS = { state: 0, status: 2, "proto-dst": 12, "daddr-4": 20, "daddr-6": 22 } as const;
const CT_ORIGINAL = 0;

function ct(key: keyof typeof CT_KEYS, to: Register, original: boolean): Expression {
  const data: Attribute[] = [
    [1, "u32", reg(to)],
    [2, "u32", CT_KEYS[key]],
  ];
  if (original) data.push([3, "u8", CT_ORIGINAL]);
  return { name: "ct", data };
}

/** What the first packet of the connection was sent to, before any translation. */
export const originalDestination = (family: Family, to: Register): Expression =>
  ct(family === 4 ? "daddr-4" : "daddr-6", to, true);
export const originalPort = (to: Register): Expression => ct("proto-dst", to, true);

/** Bits of `ct state` and of `ct status`, in the machine's order. */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8 } as const;
export const CT_STATUS = { sourceTranslated: 1 << 4, destinationTranslated: 1 << 5 } as const;

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

/** Ends the rule unless one of the bits is set (or unless none is). */
function anyBit(load: Expression, bits: number, wanted: boolean): Expression[] {
  const mask: Attribute[] = [
    [1, "u32", reg(0)],
    [2, "u32", reg(0)],
    [3, "u32", 4],
    [4, "nest", [[1, "bytes", u32(bits)]]],
    [5, "nest", [[1, "bytes", u32(0)]]],
  ];
  return [load, { name: "bitwise", data: mask }, compare(0, u32(0), !wanted)];
}
export const ctState = (bits: number, wanted = true): Expression[] =>
  anyBit(ct("state", 0, false), bits, wanted);
export const ctStatus = (bits: number, wanted = true): Expression[] =>
  anyBit(ct("status", 0, false), bits, wanted);

/** Ends the rule unless the register begins with these bytes (or, `equal` false, if it does). */
export const compare = (from: Register, bytes: Uint8Array, equal = true): Expression => ({
  name: "cmp",
  data: [
    [1, "u32", reg(from)],
    [2, "u32", equal ? 0 : 1],
    [3, "nest", [[1, "bytes", bytes]]],
  ],
});

/** Ends the rule unless the packet is of that family; needed in front of any header field in a table of family inet. */
export const isFamily = (family: Family): Expression[] => [
  meta("nfproto", 0),
  compare(0, Uint8Array.of(family === 4 ? 2 : 10)),
];

/** Ends the rule unless the packet leaves by a link whose name begins with that. */
export const leavesBy = (prefix: string): Expression[] => [
  meta("oifname", 0),
  compare(0, new TextEncoder().encode(prefix)),
];

/** Ends the rule unless the packet came in by the link of that name. */
export const entersBy = (link: string): Expression[] => [
  meta("iifname", 0),
  compare(0, Uint8Array.from(Buffer.alloc(16).fill(link, 0, link.length))),
];

/** The packet's source address is one of this node's own. */
export const sourceIsLocal = (): Expression[] => [
  {
    name: "fib",
    data: [
      [1, "u32", reg(0)],
      [2, "u32", 3],
      [3, "u32", 1],
    ],
  },
  compare(0, u32(2)),
];

const lookupOf = (set: string, from: Register, more: readonly Attribute[]): Expression => ({
  name: "lookup",
  data: [[1, "string", set], [2, "u32", reg(from)], ...more],
});
/** Ends the rule unless the set has the key in these registers (or, `has` false, if it does). */
export const lookup = (set: string, from: Register, has = true): Expression =>
  lookupOf(set, from, has ? [] : [[5, "u32", 1]]);
/** Puts the map's value for the key into registers; ends the rule when it has none. */
export const lookupValue = (map: string, from: Register, to: Register): Expression =>
  lookupOf(map, from, [[3, "u32", reg(to)]]);
/** Does what the verdict map says of the key; ends the rule when it says nothing. */
export const lookupVerdict = (map: string, from: Register): Expression =>
  lookupOf(map, from, [[3, "u32", 0]]);

/** Sets `length` bytes of registers to zero, in place. */
export const clear = (at: Register, length: number): Expression => ({
  name: "bitwise",
  data: [
    [1, "u32", reg(at)],
    [2, "u32", reg(at)],
    [3, "u32", length],
    [4, "nest", [[1, "bytes", new Uint8Array(length)]]],
    [5, "nest", [[1, "bytes", new Uint8Array(length)]]],
  ],
});

export const ACCEPT: Verdict = { code: NF_ACCEPT, chain: undefined };
export const DROP: Verdict = { code: NF_DROP, chain: undefined };
export const goTo = (chain: string): Verdict => ({ code: NFT_GOTO, chain });
export const jumpTo = (chain: string): Verdict => ({ code: NFT_JUMP, chain });

export function verdictData({ code, chain }: Verdict): Attribute {
  const data: Attribute[] = [[1, "u32", code >>> 0]];
  if (chain !== undefined) data.push([2, "string", chain]);
  return [2, "nest", data];
}

export const verdict = (what: Verdict): Expression => ({
  name: "immediate",
  data: [
    [1, "u32", 0],
    [2, "nest", [verdictData(what)]],
  ],
});

/** offset + a random number below `modulus`, in the machine's order. */
export const randomNumber = (modulus: number, offset: number, to: Register): Expression => ({
  name: "numgen",
  data: [
    [1, "u32", reg(to)],
    [2, "u32", modulus],
    [3, "u32", 1],
    [4, "u32", offset],
  ],
});

/** offset + (Jenkins hash of `length` bytes of registers, scaled to below `modulus`), in the machine's order. */
export const jenkinsHash = (
  from: Register,
  length: number,
  modulus: number,
  seed: number,
  offset: number,
  to: Register,
): Expression => ({
  name: "hash",
  data: [
    [1, "u32", reg(from)],
    [2, "u32", reg(to)],
    [3, "u32", length],
    [4, "u32", modulus],
    [5, "u32", seed],
    [6, "u32", offset],
    [7, "u32", 0],
  ],
});

/** The connection goes to the address, and port, in these registers from now on. */
export const destinationNat = (family: Family, ip: Register, port: Register): Expression => ({
  name: "nat",
  data: [
    [1, "u32", 1],
    [2, "u32", family === 4 ? 2 : 10],
    [3, "u32", reg(ip)],
    [5, "u32", reg(port)],
  ],
});

/** The connection comes from the address in this register; its port is kept unless another connection has it. */
export const sourceNat = (family: Family, ip: Register): Expression => ({
  name: "nat",
  data: [
    [1, "u32", 0],
    [2, "u32", family === 4 ? 2 : 10],
    [3, "u32", reg(ip)],
  ],
});

const PROTO_RANDOM_FULLY = 16;
/** The connection comes from the address of the link that it leaves by, and from a random port. */
export const masquerade = (): Expression => ({ name: "masq", data: [[1, "u32", PROTO_RANDOM_FULLY]] });

/** Adds an element to a map, or has one that is there begin its time anew; `timeout` in milliseconds. */
export const updateElement = (map: string, key: Register, value: Register, timeout: number): Expression => ({
  name: "dynset",
  data: [
    [1, "string", map],
    [3, "u32", 1],
    [4, "u32", reg(key)],
    [5, "u32", reg(value)],
    [6, "u64", BigInt(timeout)],
  ],
});

/** Answers with a TCP reset, or with the ICMP error "port unreachable" of either family. */
export const reject = (how: "tcp-reset" | "port-unreachable"): Expression => ({
  name: "reject",
  data:
    how === "tcp-reset"
      ? [[1, "u32", 1]]
      : [
          [1, "u32", 2],
          [2, "u8", 1],
        ],
});

export const counter = (): Expression => ({ name: "counter", data: [] });
