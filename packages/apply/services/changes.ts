/**
 * From rows to steps of one transaction: what differs between the rows and what the kernel holds, and nothing else. A profile's
 * chains come with the first frontend that has it, and go, some time after the last, with those of other unused profiles: the
 * kernel waits for a grace period when chains come and go, and services that scale up and down would have it wait each time.
 */
import { type Family, overlaps, type Prefix, prefixSize } from "@weft/base";
import type { NftStep, RawElement } from "@weft/kernel/nftables";
import { type FrontendRow, type ServicePlanRow, servicePlanKey } from "@weft/model";
import {
  backendValue,
  following,
  frontendKey,
  frontendValue,
  hex,
  ipKey,
  prefixRange,
  profileKeyBytes,
  slotKey,
} from "./bytes.ts";
import { type Chain, chainsOf } from "./chains.ts";
import {
  familyOfPlain,
  frontendMatches,
  type Held,
  type HeldFrontend,
  type HeldPlain,
  permittedBy,
  plainOf,
  profileKey,
  sameProfile,
} from "./held.ts";
import { frontendsOf, permittedOf } from "./layout.ts";
import { type Profile, profileOf, slotOffset } from "./profile.ts";
import { eachChange, gone, slotsOf } from "./slots.ts";

/** A backend that a frontend with affinity no longer has: clients must not be led to it. */
export interface Forgotten {
  readonly match: FrontendRow["match"];
  readonly backends: readonly { readonly ip: string; readonly port: number }[];
}

/** Profiles that may stand although no frontend has them. */
const UNUSED_PROFILES = 32;

type Delta = { readonly profile: Profile; readonly family: Family; by: number };

export class Changes {
  readonly #held: Held;
  readonly #deletes = new Map<string, RawElement[]>();
  readonly #adds = new Map<string, RawElement[]>();
  readonly #profiles = new Map<string, Delta>();
  /** What `held` becomes once the transaction has taken effect; undefined: gone. */
  readonly #frontends = new Map<string, HeldFrontend | undefined>();
  readonly #plain: [kind: HeldPlain["kind"], key: string, now: HeldPlain | undefined][] = [];
  readonly #removed = new Set<HeldPlain>();
  readonly forgotten: Forgotten[] = [];
  /** Elements added and deleted so far. */
  size = 0;

  constructor(held: Held) {
    this.#held = held;
  }

  put(row: ServicePlanRow): void {
    const key = servicePlanKey(row);
    if (row.kind === "frontend") this.#putFrontend(row, key);
    else this.#putPlain(plainOf(row, key));
  }

  remove(kind: ServicePlanRow["kind"], key: string): void {
    if (kind === "frontend") this.#removeFrontend(key);
    else this.#removePlain(kind, key);
  }

  #putFrontend(row: FrontendRow, key: string): void {
    const before = this.#frontend(key);
    if (before !== undefined && frontendMatches(row, before)) {
      this.#frontends.set(key, { ...before, row, slots: rowsOwn(row, before.slots) });
      return;
    }
    const after: HeldFrontend = {
      key,
      scope: row.scope,
      match: row.match,
      profile: profileOf(row),
      slots: slotsOf(row, before?.slots ?? []),
      permitted: permittedBy(row),
      row,
    };
    this.#change(before, after);
  }

  #removeFrontend(key: string): void {
    const before = this.#frontend(key);
    if (before !== undefined) this.#change(before, undefined);
  }

  #frontend(key: string): HeldFrontend | undefined {
    return this.#frontends.has(key) ? this.#frontends.get(key) : this.#held.frontends.get(key);
  }

  #change(before: HeldFrontend | undefined, after: HeldFrontend | undefined): void {
    const any = (before ?? after) as HeldFrontend;
    const { family } = any.match;
    const outside = any.scope === "outside";
    const frontend = frontendKey(any.match);
    const was = before?.profile;
    const is = after?.profile;
    if (was === undefined || is === undefined || !sameProfile(was, is)) {
      const set = frontendsOf(family, outside);
      if (was !== undefined) {
        this.#delete(set, { key: frontend });
        this.#count(was, family, -1);
      }
      if (is !== undefined) {
        this.#add(set, { key: frontend, value: frontendValue(is) });
        this.#count(is, family, 1);
      }
    }
    const offset = slotOffset(outside);
    eachChange(before?.slots ?? [], after?.slots ?? [], (slot, old, now) => {
      const key = slotKey(frontend, offset + slot);
      if (old !== undefined) this.#delete(`backends${family}`, { key });
      if (now !== undefined) this.#add(`backends${family}`, { key, value: backendValue(now, family) });
    });
    const permitted = permittedOf(family, outside);
    const now = new Set(after?.permitted);
    const old = new Set(before?.permitted);
    for (const p of old) if (!now.has(p)) this.#delete(permitted, permittedElement(frontend, p));
    for (const p of now) if (!old.has(p)) this.#add(permitted, permittedElement(frontend, p));
    if (was !== undefined && was.affinity > 0) {
      const backends = gone(before?.slots ?? [], after?.slots ?? []);
      if (backends.length > 0) this.forgotten.push({ match: any.match, backends });
    }
    this.#frontends.set(any.key, after);
  }

  #putPlain(row: HeldPlain): void {
    // It takes the place of what cannot stand beside it, and is about to go.
    if (isAlone(row)) {
      for (const [key, other] of this.#held.plain[row.kind])
        if (key !== row.key && excludes(row, other)) this.#removePlain(row.kind, key);
    }
    if (this.#held.plain[row.kind].has(row.key)) return;
    for (const { set, elements } of plainElements(row)) for (const e of elements) this.#add(set, e);
    this.#plain.push([row.kind, row.key, row]);
  }

  #removePlain(kind: HeldPlain["kind"], key: string): void {
    const row = this.#held.plain[kind].get(key);
    if (row === undefined || this.#removed.has(row)) return;
    this.#removed.add(row);
    for (const { set, elements } of plainElements(row)) for (const e of elements) this.#delete(set, e);
    this.#plain.push([kind, key, undefined]);
  }

  #count(profile: Profile, family: Family, by: number): void {
    const key = profileKey(profile, family);
    const delta = this.#profiles.get(key) ?? { profile, family, by: 0 };
    delta.by += by;
    this.#profiles.set(key, delta);
  }

  #delete(set: string, element: RawElement): void {
    push(this.#deletes, set, element);
    this.size++;
  }

  #add(set: string, element: RawElement): void {
    push(this.#adds, set, element);
    this.size++;
  }

  /** How many elements are added to a set. */
  added(set: string): number {
    return this.#adds.get(set)?.length ?? 0;
  }

  /** What frontends with affinity lead to: key and backend's value of each, as text. */
  affine(): Set<string> {
    const found = new Set<string>();
    for (const frontend of this.#frontends.values()) {
      if (frontend === undefined || (frontend.profile?.affinity ?? 0) === 0) continue;
      const key = hex(frontendKey(frontend.match));
      for (const slot of frontend.slots)
        if (slot !== undefined) found.add(key + hex(backendValue(slot, frontend.match.family)));
    }
    return found;
  }

  /** Steps in an order in which each finds what it needs: chains, verdicts, deletes, adds; then what is no longer used. */
  steps(): NftStep[] {
    const { made, dropped, newChains, oldChains } = this.#profileChanges();
    return [
      ...newChains.flatMap(chainSteps),
      ...made.flatMap(({ profile, family }) => profileSteps("add", profile, family)),
      ...[...this.#deletes].map(([set, elements]): NftStep => ({ do: "delete", set, elements })),
      ...[...this.#adds].map(([set, elements]): NftStep => ({ do: "add", set, elements })),
      ...dropped.flatMap(({ profile, family }) => profileSteps("delete", profile, family)),
      ...oldChains.map((chain): NftStep => ({ do: "delete-chain", chain })),
    ];
  }

  #profileChanges(): { made: Delta[]; dropped: Delta[]; newChains: Chain[]; oldChains: string[] } {
    const made: Delta[] = [];
    const dropped: Delta[] = [];
    for (const [key, delta] of this.#profiles)
      if (delta.by > 0 && !this.#held.profiles.has(key)) made.push(delta);
    const unused = [...this.#held.profiles].filter(
      ([key, { count }]) => count + (this.#profiles.get(key)?.by ?? 0) === 0,
    );
    if (unused.length > UNUSED_PROFILES)
      for (const [, { profile, family }] of unused) dropped.push({ profile, family, by: 0 });
    const chains = new Map<string, { chain: Chain; by: number }>();
    for (const [list, by] of [
      [made, 1],
      [dropped, -1],
    ] as const) {
      for (const { profile, family } of list) {
        for (const chain of chainsOf(profile, family).chains) {
          const entry = chains.get(chain.chain) ?? { chain, by: 0 };
          entry.by += by;
          chains.set(chain.chain, entry);
        }
      }
    }
    const newChains: Chain[] = [];
    const oldChains: string[] = [];
    for (const [name, { chain, by }] of chains) {
      const before = this.#held.chains.get(name) ?? 0;
      if (before === 0 && by > 0) newChains.push(chain);
      else if (before > 0 && before + by === 0) oldChains.push(name);
    }
    return { made, dropped, newChains, oldChains };
  }

  /** The transaction has taken effect. */
  settle(): void {
    const held = this.#held;
    const { made, dropped } = this.#profileChanges();
    for (const [list, by] of [
      [made, 1],
      [dropped, -1],
    ] as const) {
      for (const { profile, family } of list) {
        for (const { chain } of chainsOf(profile, family).chains) {
          const count = (held.chains.get(chain) ?? 0) + by;
          if (count > 0) held.chains.set(chain, count);
          else held.chains.delete(chain);
        }
      }
    }
    for (const [key, { profile, family, by }] of this.#profiles) {
      const before = held.profiles.get(key)?.count;
      if (before === undefined && by <= 0) continue;
      held.profiles.set(key, { profile, family, count: (before ?? 0) + by });
    }
    for (const { profile, family } of dropped) held.profiles.delete(profileKey(profile, family));
    for (const [key, now] of this.#frontends) {
      if (now === undefined) held.frontends.delete(key);
      else held.frontends.set(key, now);
    }
    for (const [kind, key, now] of this.#plain) {
      if (now === undefined) held.plain[kind].delete(key);
      else held.plain[kind].set(key, now);
    }
  }
}

/** The row's own objects in place of those that were decoded: they are there anyway. */
function rowsOwn(row: FrontendRow, slots: HeldFrontend["slots"]): HeldFrontend["slots"] {
  return slots.length === 0 ? slots : slotsOf(row, slots);
}

function push(map: Map<string, RawElement[]>, set: string, element: RawElement): void {
  const list = map.get(set);
  if (list === undefined) map.set(set, [element]);
  else list.push(element);
}

export const chainSteps = ({ chain, rules }: Chain): NftStep[] => [
  { do: "chain", chain },
  ...rules.map((r): NftStep => ({ do: "rule", chain, ...r })),
];

const profileSteps = (operation: "add" | "delete", profile: Profile, family: Family): NftStep[] =>
  chainsOf(profile, family).verdicts.map(
    ([stage, value]): NftStep => ({
      do: operation,
      set: `${stage}${family}`,
      elements: [{ key: profileKeyBytes(profile), value }],
    }),
  );

/** Rows that others of their kind may be in the way of: ranges of one set are apart, and the node has one source a family. */
const isAlone = (row: HeldPlain): boolean =>
  row.kind === "node-source" || row.kind === "pod-range" || (row.kind === "service-address" && isRange(row));

function excludes(row: HeldPlain, old: HeldPlain): boolean {
  if (row.kind === "node-source") return familyOfPlain(row) === familyOfPlain(old);
  if (row.kind === "pod-range" && old.kind === "pod-range")
    return row.role === old.role && overlaps(row.prefix, old.prefix);
  if (row.kind !== "service-address" || old.kind !== "service-address") return false;
  return isRange(old) && overlaps(row.prefix, old.prefix);
}

/** Single addresses are in a set of their own. */
const isRange = ({ prefix }: { readonly prefix: Prefix }): boolean => prefixSize(prefix) > 1n;

/** Frontend, and the range of sources: every column but the last is a range of one. */
function permittedElement(frontend: Uint8Array, prefix: Parameters<typeof prefixRange>[0]): RawElement {
  const { first, last } = prefixRange(prefix);
  return { key: Buffer.concat([frontend, first]), keyEnd: Buffer.concat([frontend, last]) };
}

/** Elements of all other rows. */
export function plainElements(row: HeldPlain): { set: string; elements: RawElement[] }[] {
  const family = familyOfPlain(row);
  switch (row.kind) {
    case "hairpin":
      return [
        { set: `hairpins${family}`, elements: [{ key: Buffer.concat([ipKey(row.ip), ipKey(row.ip)]) }] },
      ];
    case "node-port-address":
      return [{ set: `node-addresses${family}`, elements: [{ key: ipKey(row.ip) }] }];
    case "node-source":
      return [
        {
          set: `node-source${family}`,
          elements: [{ key: Uint8Array.of(family === 4 ? 2 : 10), value: ipKey(row.ip) }],
        },
      ];
    case "pod-range":
      return [{ set: `${row.role}${family}`, elements: intervalElements(row.prefix) }];
    case "service-address": {
      return isRange(row)
        ? [{ set: `ranges${family}`, elements: intervalElements(row.prefix) }]
        : [{ set: `addresses${family}`, elements: [{ key: prefixRange(row.prefix).first }] }];
    }
  }
}

/** A range in a set of one column: where it begins, and, unless that is the end of all, where it has ended. */
function intervalElements(prefix: Parameters<typeof prefixRange>[0]): RawElement[] {
  const { first, last } = prefixRange(prefix);
  const end = following(last);
  return end === undefined ? [{ key: first }] : [{ key: first }, { key: end, intervalEnd: true }];
}
