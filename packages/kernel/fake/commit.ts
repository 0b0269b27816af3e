/** Transactions of the in-memory nftables: the same steps as nftables/batch.ts sends to the kernel, all or none. */

import type { NftStep, RawElement, SetDeclaration } from "../nftables/batch.ts";
import {
  NFT_DATA_VERDICT_TYPE,
  NFT_SET_CONCAT,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
} from "../nftables/constants.ts";
import type { Verdict } from "../nftables/decode.ts";
import type { Attribute, Expression } from "../nftables/expressions.ts";
import { columnsLength } from "../nftables/layout.ts";
import type { NftFamily } from "../port.ts";
import {
  draftOf,
  type FakeSet,
  type FakeTable,
  outcomeOf,
  setsOf,
  type Tables,
  tableKey,
} from "./ruleset.ts";
import { fail } from "./state.ts";

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));

/** The tables after these steps. Throws what the real `commit` throws; then nothing has changed. */
export function applySteps(
  tables: Tables,
  family: NftFamily,
  name: string,
  steps: readonly NftStep[],
): Tables {
  const draft = draftOf(tables);
  const copied = new Set<FakeSet>();
  const key = tableKey(family, name);
  const object = (what: string): string => `table ${family} ${name} ${what}`;
  const table = (): FakeTable => {
    const found = draft.get(key);
    if (found === undefined) throw fail("ENOENT", "nftables", `table ${family} ${name}`);
    return found;
  };
  const setOf = (set: string): FakeSet => {
    const found = table().sets.get(set);
    if (found === undefined) throw fail("ENOENT", "nftables", object(`set ${set}`));
    if (!copied.has(found)) {
      found.elements = new Map(found.elements);
      found.raw = new Map(found.raw);
      copied.add(found);
    }
    return found;
  };
  for (const step of steps) {
    switch (step.do) {
      case "table":
        if (!draft.has(key)) {
          const made = { family, name, dormant: false, sets: new Map(), chains: new Map() };
          draft.set(key, step.comment === undefined ? made : { ...made, comment: step.comment });
        }
        break;
      case "delete-table":
        table();
        draft.delete(key);
        break;
      case "set":
        if (!table().sets.has(step.set)) table().sets.set(step.set, declared(step));
        break;
      case "chain": {
        const { base, chain } = step;
        if (table().chains.has(chain)) break;
        table().chains.set(chain, {
          base: base && { family, table: name, name: chain, ...base, policy: "accept" },
          rules: [],
        });
        break;
      }
      case "delete-chain": {
        const { chains } = table();
        if (!chains.has(step.chain)) throw fail("ENOENT", "nftables", object(`chain ${step.chain}`));
        if (isUsed(table(), step.chain)) throw fail("EBUSY", "nftables", object(`chain ${step.chain}`));
        chains.delete(step.chain);
        break;
      }
      case "rule": {
        const chain = table().chains.get(step.chain);
        const text = step.expressions.map(textOf).join(" ");
        const absent =
          chain === undefined ||
          setsOf(text).some((set) => !table().sets.has(set)) ||
          outcomeOf(step.chain, text).jumps.some((to) => !table().chains.has(to));
        if (absent) throw fail("ENOENT", "nftables", object(`rule of ${step.chain}`));
        chain.rules.push(step.comment === undefined ? text : `${text} comment "${step.comment}"`);
        break;
      }
      case "add":
        for (const element of step.elements)
          addElement(table(), setOf(step.set), element, object(`set ${step.set}`));
        break;
      case "delete":
        for (const { key: bytes, intervalEnd } of step.elements) {
          const set = setOf(step.set);
          const id = identity(bytes, intervalEnd);
          if (!set.elements.delete(id) && set.raw?.delete(id) !== true)
            throw fail("ENOENT", "nftables", object(`set ${step.set}`));
        }
        break;
    }
  }
  return draft;
}

const identity = (key: Uint8Array, intervalEnd = false): string =>
  `${latin1(key)}${intervalEnd ? "end" : ""}`;

function addElement(table: FakeTable, set: FakeSet, element: RawElement, object: string): void {
  const { key, keyEnd, value, intervalEnd } = element;
  if (key.length !== set.info.keyLength) throw fail("EINVAL", "nftables", object);
  const id = identity(key, intervalEnd);
  const isPlain =
    keyEnd === undefined && intervalEnd === undefined && (set.info.flags & NFT_SET_INTERVAL) === 0;
  if (isPlain && (value === undefined || value instanceof Uint8Array)) {
    if (value?.length !== set.info.dataLength) throw fail("EINVAL", "nftables", object);
    const text = value && latin1(value);
    if (set.elements.has(id) && set.elements.get(id) !== text) throw fail("EEXIST", "nftables", object);
    set.elements.set(id, text);
  } else {
    const chain = value instanceof Uint8Array ? undefined : value?.chain;
    if (chain !== undefined && !table.chains.has(chain)) throw fail("ENOENT", "nftables", object);
    const before = set.raw?.get(id);
    if (before !== undefined && !sameElement(before, element)) throw fail("EEXIST", "nftables", object);
    set.raw?.set(id, element);
  }
  if (set.elements.size + (set.raw?.size ?? 0) > set.size) throw fail("ENFILE", "nftables", object);
}

const sameElement = (a: RawElement, b: RawElement): boolean => {
  const text = (v: RawElement["value"]): string =>
    v === undefined ? "" : v instanceof Uint8Array ? latin1(v) : `${v.code} ${v.chain ?? ""}`;
  return text(a.value) === text(b.value) && latin1(a.keyEnd ?? a.key) === latin1(b.keyEnd ?? b.key);
};

function declared({ key, value, interval = false, size }: SetDeclaration): FakeSet {
  const verdicts = value === "verdict";
  return {
    info: {
      flags:
        (value === undefined ? 0 : NFT_SET_MAP) |
        (interval ? NFT_SET_INTERVAL : 0) |
        (interval && key.length > 1 ? NFT_SET_CONCAT : 0),
      keyLength: columnsLength(key),
      dataType: verdicts ? NFT_DATA_VERDICT_TYPE : undefined,
      dataLength: value === undefined || verdicts ? undefined : columnsLength(value),
    },
    key: undefined,
    value: undefined,
    size: size ?? Number.POSITIVE_INFINITY,
    elements: new Map(),
    ranges: undefined,
    raw: new Map(),
    texts: new Set(),
  };
}

/** All elements of a set, as the real `rawElements` gives them. */
export function rawElementsOf(set: FakeSet): RawElement[] {
  const plain = [...set.elements].map(([key, value]): RawElement => {
    const bytes = bytesOf(key);
    return value === undefined ? { key: bytes } : { key: bytes, value: bytesOf(value) };
  });
  return [...plain, ...(set.raw?.values() ?? [])];
}

const isVerdict = (value: RawElement["value"]): value is Verdict =>
  value !== undefined && !(value instanceof Uint8Array);

/** Verdicts of a map that was made by a transaction. */
export const verdictsOf = (set: FakeSet): Verdict[] =>
  [...(set.raw?.values() ?? [])].map((e) => e.value).filter(isVerdict);

const isUsed = (table: FakeTable, chain: string): boolean =>
  [...table.chains].some(([name, c]) =>
    c.rules.some((rule) => outcomeOf(name, rule).jumps.includes(chain)),
  ) || [...table.sets.values()].some((set) => verdictsOf(set).some((v) => v.chain === chain));

/** As much of an expression in nft's language as tells which sets and chains it names, and whether it drops. */
function textOf({ name, data }: Expression): string {
  const attribute = (type: number): Attribute | undefined => data.find(([t]) => t === type);
  if (name === "lookup") return `${attribute(3)?.[2] === 0 ? "vmap " : ""}@${String(attribute(1)?.[2])}`;
  if (name === "dynset") return `update @${String(attribute(1)?.[2])}`;
  if (name !== "immediate") return name;
  const [, , value] = attribute(2) ?? [];
  const [, , verdict] = (value as readonly Attribute[])[0] ?? [];
  const [code, chain] = verdict as readonly Attribute[];
  if (chain !== undefined) return `goto ${String(chain[2])}`;
  return code?.[2] === 0 ? "drop" : "accept";
}
