/** Reads what the kernel holds of services. */
import type { Family } from "@weft/base";
import { hostPrefix, ipFromBytes, type Prefix } from "@weft/base";
import type { RawElement, Verdict } from "@weft/kernel/nftables";
import type { Nftables, TableContents } from "@weft/kernel/port";
import { type FrontendRow, type ServicePlanRow, servicePlanKey } from "@weft/model";
import {
  decodeBackend,
  decodeFrontend,
  hex,
  ipSize,
  prefixOfRange,
  profileKeyBytes,
  readMark,
} from "./bytes.ts";
import { chainsOf } from "./chains.ts";
import {
  emptyHeld,
  familyOfPlain,
  frontendKeyOf,
  type Held,
  type HeldFrontend,
  type HeldPlain,
  plainOf,
  profileKey,
} from "./held.ts";
import { FAMILIES, frontendsOf, permittedOf, SERVICES_TABLE, SETS, STAGES } from "./layout.ts";
import { decodeProfile, type Profile } from "./profile.ts";
import { BASE_CHAINS, SKELETON, SKELETON_COMMENT } from "./skeleton.ts";

/** What the table holds; undefined when it is not there, of another version, or not as it was made. */
export function readHeld(nft: Nftables): Held | undefined {
  const contents = standing(nft);
  if (contents === undefined) return undefined;
  const held = emptyHeld();
  for (const family of FAMILIES) {
    if (!readFrontends(nft, held, family) || !readPlain(nft, held, family, PLAIN_SETS)) return undefined;
  }
  const chains = chainsWanted(held);
  for (const [chain, count] of chains.counts) held.chains.set(chain, count);
  return chainsStand(contents, chains.rules) && verdictsStand(nft, held) ? held : undefined;
}

/** Sets that can be large: a look at them is their size. */
const LARGE_PLAIN_SETS = ["addresses", "hairpins"] as const;
const SMALL_PLAIN_SETS = ["node-addresses", "node-source", "ranges", "local", "cluster"] as const;
const PLAIN_SETS = [...LARGE_PLAIN_SETS, ...SMALL_PLAIN_SETS] as const;

/**
 * A quick look, at the cost of a few dumps that do not grow with the services: "other" when the table is not what is
 * known of it, "same" when all of it agrees that can be had cheaply: chains, rules, small sets, and how many elements the
 * others have. What it cannot see is an element of a large set in the place of another one; "unsure" when the kernel
 * does not count elements, so that one that is missing cannot be seen either.
 */
export function glance(nft: Nftables, held: Held): "same" | "other" | "unsure" {
  const contents = standing(nft);
  if (contents === undefined || !chainsStand(contents, chainsWanted(held).rules)) return "other";
  if (!verdictsStand(nft, held)) return "other";
  const found = emptyHeld();
  for (const family of FAMILIES) if (!readPlain(nft, found, family, SMALL_PLAIN_SETS)) return "other";
  for (const kind of ["node-port-address", "node-source", "pod-range"] as const) {
    if (!sameKeys(found.plain[kind], held.plain[kind])) return "other";
  }
  const ranges = new Map([...held.plain["service-address"]].filter(([, row]) => isRange(row)));
  if (!sameKeys(found.plain["service-address"], ranges)) return "other";
  const wanted = sizesOf(held);
  let unsure = false;
  for (const { set, size } of contents.sets) {
    if (!wanted.has(set)) continue;
    if (size === undefined) unsure = true;
    else if (size !== wanted.get(set)) return "other";
  }
  return unsure ? "unsure" : "same";
}

const sameKeys = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean =>
  a.size === b.size && [...a.keys()].every((key) => b.has(key));

const isRange = (row: HeldPlain): boolean =>
  row.kind === "service-address" && !row.prefix.endsWith(row.prefix.includes(":") ? "/128" : "/32");

/** How many elements the large sets have. */
function sizesOf(held: Held): Map<string, number> {
  const sizes = new Map<string, number>();
  const add = (set: string, n: number): void => void sizes.set(set, (sizes.get(set) ?? 0) + n);
  for (const family of FAMILIES) {
    for (const set of [frontendsOf(family, true), frontendsOf(family, false), `backends${family}`])
      add(set, 0);
    for (const set of [permittedOf(family, true), permittedOf(family, false)]) add(set, 0);
    for (const set of LARGE_PLAIN_SETS) add(`${set}${family}`, 0);
  }
  for (const { scope, match, profile, slots, permitted } of held.frontends.values()) {
    const outside = scope === "outside";
    if (profile !== undefined) add(frontendsOf(match.family, outside), 1);
    add(permittedOf(match.family, outside), permitted.length);
    add(`backends${match.family}`, slots.length);
  }
  for (const row of held.plain.hairpin.values()) add(`hairpins${familyOfPlain(row)}`, 1);
  for (const row of held.plain["service-address"].values())
    if (!isRange(row)) add(`addresses${familyOfPlain(row)}`, 1);
  return sizes;
}

/** The table's contents, if it is there, of this version, and has all of its sets. */
function standing(nft: Nftables): TableContents | undefined {
  const contents = nft.contents("inet", SERVICES_TABLE);
  if (contents === undefined || contents.dormant || contents.comment !== SKELETON_COMMENT) return undefined;
  const sets = new Set(contents.sets.map(({ set }) => set));
  return SETS.every(({ set }) => sets.has(set)) ? contents : undefined;
}

const elementsOf = (nft: Nftables, set: string): RawElement[] => nft.rawElements("inet", SERVICES_TABLE, set);

interface Parts {
  readonly key: string;
  readonly scope: FrontendRow["scope"];
  readonly match: HeldFrontend["match"];
  profile: Profile | undefined;
  readonly slots: HeldFrontend["slots"][number][];
  readonly permitted: Prefix[];
}

function readFrontends(nft: Nftables, held: Held, family: Family): boolean {
  const size = ipSize(family) + 8;
  const parts = { any: new Map<string, Parts>(), outside: new Map<string, Parts>() };
  const partsOf = (scope: "any" | "outside", key: Uint8Array): Parts | undefined => {
    const bytes = key.subarray(0, size);
    const text = hex(bytes);
    let found = parts[scope].get(text);
    if (found === undefined) {
      const match = decodeFrontend(bytes, family);
      if (match === undefined) return undefined;
      const name = frontendKeyOf(scope, match);
      found = { key: name, scope, match, profile: undefined, slots: [], permitted: [] };
      parts[scope].set(text, found);
    }
    return found;
  };
  // Every profile is in the map of gates, whether or not a frontend has it.
  for (const { key } of elementsOf(nft, `gates${family}`)) {
    const profile = decodeProfile(readMark(key, 0), readMark(key, 4));
    if (profile === undefined) return false;
    held.profiles.set(profileKey(profile, family), { profile, family, count: 0 });
  }
  for (const scope of ["any", "outside"] as const) {
    const outside = scope === "outside";
    for (const { key, value } of elementsOf(nft, frontendsOf(family, outside))) {
      if (!(value instanceof Uint8Array) || value.length !== 12) return false;
      const profile = decodeProfile(readMark(value, 4), readMark(value, 8));
      const part = partsOf(scope, key);
      if (profile === undefined || part === undefined) return false;
      part.profile = profile;
      const entry = held.profiles.get(profileKey(profile, family));
      if (entry === undefined) return false;
      entry.count++;
    }
    for (const { key, keyEnd } of elementsOf(nft, permittedOf(family, outside))) {
      const prefix = keyEnd && prefixOfRange(key.subarray(size), keyEnd.subarray(size));
      const part = partsOf(scope, key);
      if (prefix === undefined || part === undefined) return false;
      part.permitted.push(prefix);
    }
  }
  for (const { key, value } of elementsOf(nft, `backends${family}`)) {
    const mark = readMark(key, size);
    const part = partsOf(mark >>> 24 === 0 ? "any" : "outside", key);
    if (part === undefined || !(value instanceof Uint8Array)) return false;
    part.slots[mark & 0xffffff] = decodeBackend(value, family);
  }
  for (const scope of ["any", "outside"] as const) {
    for (const part of parts[scope].values()) {
      part.permitted.sort();
      held.frontends.set(part.key, { ...part, row: undefined });
    }
  }
  return true;
}

const ORIGIN: ServicePlanRow["origin"] = { kind: "node", name: "" };

function readPlain(
  nft: Nftables,
  held: Held,
  family: Family,
  sets: readonly (typeof PLAIN_SETS)[number][],
): boolean {
  const put = (row: Exclude<ServicePlanRow, FrontendRow>): void => {
    const key = servicePlanKey(row);
    held.plain[row.kind].set(key, plainOf(row, key));
  };
  for (const set of sets) {
    const elements = elementsOf(nft, `${set}${family}`);
    switch (set) {
      case "addresses":
        for (const { key } of elements)
          put({ kind: "service-address", prefix: hostPrefix(ipFromBytes(key)), origin: ORIGIN });
        break;
      case "node-addresses":
        for (const { key } of elements)
          put({ kind: "node-port-address", ip: ipFromBytes(key), origin: ORIGIN });
        break;
      case "hairpins":
        for (const { key } of elements) {
          const half = ipSize(family);
          if (hex(key.subarray(0, half)) !== hex(key.subarray(half))) return false;
          put({ kind: "hairpin", ip: ipFromBytes(key.subarray(0, half)), origin: ORIGIN });
        }
        break;
      case "node-source":
        for (const { value } of elements) {
          if (!(value instanceof Uint8Array)) return false;
          put({ kind: "node-source", ip: ipFromBytes(value), origin: ORIGIN });
        }
        break;
      default: {
        const prefixes = prefixesOf(elements);
        if (prefixes === undefined) return false;
        for (const prefix of prefixes) {
          if (set === "ranges") put({ kind: "service-address", prefix, origin: ORIGIN });
          else put({ kind: "pod-range", role: set, prefix, origin: ORIGIN });
        }
      }
    }
  }
  return true;
}

/** The ranges of a set of one column as prefixes; undefined when one is none. An end comes before a beginning at its place. */
export function prefixesOf(elements: readonly RawElement[]): Prefix[] | undefined {
  const sorted = elements.toSorted(
    (a, b) => Buffer.compare(a.key, b.key) || Number(b.intervalEnd ?? false) - Number(a.intervalEnd ?? false),
  );
  const found: Prefix[] = [];
  for (let i = 0; i < sorted.length; i++) {
    const { key, intervalEnd } = sorted[i] as RawElement;
    if (intervalEnd === true) continue;
    const next = sorted[i + 1];
    if (next !== undefined && next.intervalEnd !== true) return undefined;
    const last = next === undefined ? key.map(() => 0xff) : preceding(next.key);
    const prefix = prefixOfRange(key, last);
    if (prefix === undefined) return undefined;
    found.push(prefix);
  }
  return found;
}

function preceding(ip: Uint8Array): Uint8Array {
  const before = Uint8Array.from(ip);
  for (let i = before.length - 1; i >= 0; i--) {
    before[i] = ((before[i] as number) - 1) & 0xff;
    if (before[i] !== 0xff) break;
  }
  return before;
}

interface ChainsWanted {
  /** Comments of the rules of every chain. */
  readonly rules: ReadonlyMap<string, readonly (string | undefined)[]>;
  /** How many profiles lead to each chain of a profile. */
  readonly counts: ReadonlyMap<string, number>;
}

const SKELETON_RULES: ReadonlyMap<string, readonly (string | undefined)[]> = (() => {
  const rules = new Map<string, (string | undefined)[]>();
  for (const step of SKELETON) {
    if (step.do === "chain") rules.set(step.chain, []);
    else if (step.do === "rule") rules.get(step.chain)?.push(step.comment);
  }
  return rules;
})();

function chainsWanted(held: Held): ChainsWanted {
  const wanted = new Map(SKELETON_RULES);
  const counts = new Map<string, number>();
  for (const { profile, family } of held.profiles.values()) {
    for (const { chain, rules } of chainsOf(profile, family).chains) {
      const comments = rules.map((r) => r.comment);
      wanted.set(chain, comments);
      counts.set(chain, (counts.get(chain) ?? 0) + 1);
    }
  }
  return { rules: wanted, counts };
}

/** Every chain with exactly its rules, known by their comments, and base chains at their hooks. */
function chainsStand(contents: TableContents, wanted: ChainsWanted["rules"]): boolean {
  const found = new Map<string, (string | undefined)[]>(contents.chains.map(({ chain }) => [chain, []]));
  for (const { chain, comment } of contents.rules) found.get(chain)?.push(comment);
  if (found.size !== wanted.size) return false;
  for (const [chain, comments] of wanted) {
    const rules = found.get(chain);
    if (rules?.length !== comments.length || rules.some((c, i) => c !== comments[i])) return false;
  }
  const bases = new Map(contents.chains.map(({ chain, base }) => [chain, base]));
  return BASE_CHAINS.every(([chain, { type, hook, priority }]) => {
    const base = bases.get(chain);
    return (
      base?.type === type && base.hook === hook && base.priority === priority && base.policy === "accept"
    );
  });
}

/** The maps of profiles lead where they should, and hold nothing else. */
function verdictsStand(nft: Nftables, held: Held): boolean {
  const text = (key: Uint8Array, { code, chain }: Verdict): string => `${hex(key)} ${code} ${chain ?? ""}`;
  for (const family of FAMILIES) {
    for (const stage of STAGES) {
      const wanted = new Set<string>();
      for (const { profile, family: of } of held.profiles.values()) {
        if (of !== family) continue;
        const found = chainsOf(profile, family).verdicts.find(([s]) => s === stage);
        if (found !== undefined) wanted.add(text(profileKeyBytes(profile), found[1]));
      }
      const elements = elementsOf(nft, `${stage}${family}`);
      if (elements.length !== wanted.size) return false;
      for (const { key, value } of elements) {
        if (value === undefined || value instanceof Uint8Array || !wanted.has(text(key, value))) return false;
      }
    }
  }
  return true;
}
