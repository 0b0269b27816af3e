/** Tables, sets and chains of the in-memory nftables. Sets hold bytes, as the kernel's do. */
import { addressAt, parseIp, parseMac, parsePrefix, prefixIp, prefixSize, WeftError } from "@weft/base";
import type { RawElement } from "../nftables/batch.ts";
import {
  NFT_DATA_VERDICT_TYPE,
  NFT_SET_CONCAT,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
  NFT_SET_OBJECT,
} from "../nftables/constants.ts";
import type { RuleOutcome, SetInfo } from "../nftables/decode.ts";
import { encodeFields, type FieldType, type Layout, layoutOf } from "../nftables/layout.ts";
import { effectOf, rangeText } from "../nftables/ranges.ts";
import type { SetName } from "../nftables/transaction.ts";
import type { BaseChain, IpRange, NftFamily, SetField } from "../port.ts";

export interface FakeTable {
  readonly family: NftFamily;
  readonly name: string;
  dormant: boolean;
  readonly comment?: string;
  readonly sets: Map<string, FakeSet>;
  readonly chains: Map<string, FakeChain>;
}

export interface FakeSet {
  readonly info: SetInfo;
  /** Undefined for what Weft cannot say by fields: its elements are then kept as text. */
  readonly key: Layout | undefined;
  readonly value: Layout | undefined;
  readonly size: number;
  /** Bytes of the value by bytes of the key, as latin1 text. */
  elements: Map<string, string | undefined>;
  /** Of a set of ranges of one address. */
  ranges: readonly IpRange[] | undefined;
  /** Other elements with intervals, and those with verdicts, as written. */
  texts: Set<string>;
  /** The same of sets that a transaction of steps made, by key. */
  raw?: Map<string, RawElement>;
}

export interface FakeChain {
  readonly base: BaseChain | undefined;
  rules: string[];
}

export type Tables = Map<string, FakeTable>;

export const tableKey = (family: NftFamily, table: string): string => `${family} ${table}`;

/** A copy to change: elements are shared until changed, then copied by whom changes them. */
export function draftOf(tables: Tables): Tables {
  const draft: Tables = new Map();
  for (const [key, table] of tables) {
    draft.set(key, {
      ...table,
      sets: new Map([...table.sets].map(([name, set]) => [name, { ...set }])),
      chains: new Map(
        [...table.chains].map(([name, chain]) => [name, { ...chain, rules: [...chain.rules] }]),
      ),
    });
  }
  return draft;
}

/** nft's datatypes, and the expressions that `typeof` is mostly used with. */
const TYPES: readonly (readonly [RegExp, FieldType, 4 | 6])[] = [
  [/^ipv4_addr$|^(ip|arp) ([sd]addr|[sd]addr ip)$/, "ip", 4],
  [/^ipv6_addr$|^ip6 [sd]addr$/, "ip", 6],
  [/^ifname$|^(meta )?[io]ifname$/, "ifname", 4],
  [/^ether_addr$|^ether [sd]addr$/, "mac", 4],
  [/^mark$|^(meta|ct) mark$/, "mark", 4],
  [/^inet_service$|^(th|tcp|udp|sctp) [sd]port$/, "port", 4],
  [/^inet_proto$|^meta l4proto$|^ip protocol$|^ip6 nexthdr$/, "protocol", 4],
];

function layoutOfText(text: string): Layout | undefined {
  let family: 4 | 6 = 4;
  const types: FieldType[] = [];
  for (const part of text.split(/\s+\.\s+/)) {
    const known = TYPES.find(([pattern]) => pattern.test(part.trim()));
    if (known === undefined) return undefined;
    types.push(known[1]);
    if (known[2] === 6) family = 6;
  }
  return layoutOf(types, family);
}

/** A set or map as the body of its declaration describes it. */
export function declareSet(body: string): FakeSet {
  const type = /(?:^|[;\n{])\s*type(?:of)?\s+([^;\n]+)/.exec(body)?.[1];
  if (type === undefined) throw new WeftError("invalid", "a set needs a type");
  const [keyText = "", valueText] = type.trim().split(/\s+:\s+/);
  const verdicts = valueText === "verdict";
  const objects = /^(counter|quota|limit|synproxy|ct helper)$/.test(valueText ?? "");
  const key = layoutOfText(keyText);
  const value = valueText === undefined ? undefined : layoutOfText(valueText);
  const concatenated = (key?.fields.length ?? 0) > 1;
  const interval = /\bflags\s[^;\n]*\binterval\b/.test(body);
  return {
    info: {
      flags:
        (valueText === undefined ? 0 : NFT_SET_MAP) |
        (interval ? NFT_SET_INTERVAL : 0) |
        (interval && concatenated ? NFT_SET_CONCAT : 0) |
        (objects ? NFT_SET_OBJECT : 0),
      keyLength: key?.length ?? 0,
      dataType: verdicts ? NFT_DATA_VERDICT_TYPE : undefined,
      dataLength: value?.length,
    },
    key: interval || (valueText !== undefined && value === undefined) ? undefined : key,
    value,
    size: Number(/\bsize\s+(\d+)/.exec(body)?.[1] ?? Number.POSITIVE_INFINITY),
    elements: new Map(),
    ranges:
      interval && valueText === undefined && key?.fields[0]?.type === "ip" && !concatenated ? [] : undefined,
    texts: new Set(),
  };
}

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, "ipv6-icmp": 58, sctp: 132 };
const PORTS: Readonly<Record<string, number>> = { ssh: 22, domain: 53, http: 80, https: 443 };

function parseField(type: FieldType, text: string): SetField {
  switch (type) {
    case "ip":
      return { type, value: parseIp(text) };
    case "mac":
      return { type, value: parseMac(text) };
    case "ifname":
      return { type, value: text.replace(/^"(.*)"$/, "$1") };
    case "protocol":
      return { type, value: PROTOCOLS[text] ?? Number(text) };
    case "port":
      return { type, value: PORTS[text] ?? Number(text) };
    case "mark":
      return { type, value: Number(text) };
  }
}

export function encodeText(layout: Layout, fields: readonly SetField[]): string {
  const buffer = Buffer.alloc(layout.length);
  encodeFields(layout, fields, buffer, 0);
  return buffer.toString("latin1");
}

const encodeWritten = (layout: Layout, text: string): string =>
  encodeText(
    layout,
    text.split(/\s+\.\s+/).map((part, i) => {
      const field = layout.fields[i];
      if (field === undefined) throw new WeftError("invalid", `"${text.slice(0, 64)}" has too many fields`);
      return parseField(field.type, part.trim());
    }),
  );

/** "10.0.0.0/8", "10.0.0.1-10.0.0.9" or one address. */
function writtenRange(text: string): IpRange {
  if (text.includes("/")) {
    const prefix = parsePrefix(text);
    return { first: prefixIp(prefix), last: addressAt(prefix, prefixSize(prefix) - 1n) };
  }
  const [first = "", last = first] = text.split("-");
  return { first: parseIp(first.trim()), last: parseIp(last.trim()) };
}

const RANGES: SetName = { family: "inet", table: "of a script", set: "ranges" };

function changeRange(
  held: readonly IpRange[],
  range: IpRange,
  change: "add" | "delete" | "destroy",
): readonly IpRange[] {
  if (change === "add") {
    try {
      return [...held, ...effectOf(RANGES, held, [], [range]).add];
    } catch {
      throw new WeftError("invalid", "interval overlaps with an existing one");
    }
  }
  const left = held.filter((r) => rangeText(r) !== rangeText(range));
  if (left.length === held.length && change === "delete")
    throw new WeftError("not-found", "No such file or directory");
  return left;
}

/** Adds or deletes the elements of `{ a . b : c, ... }`, the text between the braces. */
export function changeElements(set: FakeSet, list: string, change: "add" | "delete" | "destroy"): void {
  for (const written of list.split(",")) {
    const text = written.replace(/\s+(comment\s+"[^"]*"|counter\b.*|timeout\s+\S+)/g, "").trim();
    if (text === "") continue;
    if (set.ranges !== undefined) {
      set.ranges = changeRange(set.ranges, writtenRange(text), change);
      continue;
    }
    if (set.key === undefined) {
      if (change === "add") set.texts.add(text);
      else set.texts.delete(text);
      continue;
    }
    const [keyText = "", valueText] = text.split(/\s+:\s+/);
    const key = encodeWritten(set.key, keyText);
    if (change === "add") {
      const value = set.value === undefined ? undefined : encodeWritten(set.value, valueText ?? "");
      if (set.elements.has(key) && set.elements.get(key) !== value) {
        throw new WeftError("exists", "File exists");
      }
      set.elements.set(key, value);
    } else if (!set.elements.delete(key) && change === "delete") {
      throw new WeftError("not-found", "No such file or directory");
    }
  }
  if (set.elements.size > set.size) throw new WeftError("exhausted", "Too many open files in system");
}

/** Names that a rule, or an element of a verdict map, refers to. */
export function outcomeOf(chain: string, rule: string): RuleOutcome {
  const text = rule.replace(/"[^"]*"/g, "");
  const names = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map((m) => m[1] as string);
  return {
    chain,
    drops: /(^|[\s:,{])(drop|reject)\b/.test(text),
    jumps: names(/\b(?:jump|goto)\s+([\w.-]+)/g),
    verdictMaps: names(/\bvmap\s+@([\w.-]+)/g),
  };
}

export const setsOf = (rule: string): string[] =>
  [...rule.replace(/"[^"]*"/g, "").matchAll(/@([A-Za-z_][\w.-]*)/g)].map((m) => m[1] as string);
