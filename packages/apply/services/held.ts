/** What the kernel holds of services, as this process knows it: read from the kernel, then kept up with each transaction. */
import type { Family, IpAddress, Prefix } from "@weft/base";
import { contains, familyOf, prefixLength } from "@weft/base";
import type { FrontendMatch, FrontendRow, ServicePlanKind, ServicePlanRow } from "@weft/model";
import { encodeProfile, type Profile, profileOf } from "./profile.ts";
import { type Slots, slotsFit } from "./slots.ts";

/** Without its profile it is not connected to: backends or sources that somebody left. */
export interface HeldFrontend {
  readonly key: string;
  readonly scope: FrontendRow["scope"];
  readonly match: FrontendMatch;
  readonly profile: Profile | undefined;
  readonly slots: Slots;
  readonly permitted: readonly Prefix[];
  /** The row that it was made of, when this process made it. */
  readonly row: FrontendRow | undefined;
}

export type PlainKind = Exclude<ServicePlanKind, "frontend">;
type PlainRowOf<K extends PlainKind> = Extract<ServicePlanRow, { kind: K }>;
export type HeldPlain = { [K in PlainKind]: Omit<PlainRowOf<K>, "origin"> }[PlainKind] & {
  readonly key: string;
};

export interface Held {
  readonly frontends: Map<string, HeldFrontend>;
  readonly plain: Readonly<Record<PlainKind, Map<string, HeldPlain>>>;
  /** How many frontends have each profile, by `profileKey`. */
  readonly profiles: Map<string, { readonly profile: Profile; readonly family: Family; count: number }>;
  /** How many profiles lead to each chain. */
  readonly chains: Map<string, number>;
}

export const emptyHeld = (): Held => ({
  frontends: new Map(),
  plain: {
    "service-address": new Map(),
    "node-port-address": new Map(),
    hairpin: new Map(),
    "pod-range": new Map(),
    "node-source": new Map(),
  },
  profiles: new Map(),
  chains: new Map(),
});

export const frontendKeyOf = (scope: FrontendRow["scope"], m: FrontendMatch): string =>
  `${scope} ${m.family} ${m.address} ${m.protocol} ${m.port}`;

export const profileKey = (profile: Profile, family: Family): string => {
  const [first, second] = encodeProfile(profile);
  return `${family} ${first} ${second}`;
};

export const sameProfile = (a: Profile, b: Profile): boolean => {
  const [x, y] = [encodeProfile(a), encodeProfile(b)];
  return x[0] === y[0] && x[1] === y[1];
};

/** The sources of a row that its gate needs: of its family, none inside another, in order. */
export function permittedBy(row: FrontendRow): Prefix[] {
  if (row.sources === undefined || row.action === "drop") return [];
  return disjoint(row.sources.filter((p) => familyOf(p) === row.match.family));
}

/** Prefixes either hold each other or are apart: those that are held by another go. */
function disjoint(prefixes: readonly Prefix[]): Prefix[] {
  if (prefixes.length < 2) return [...prefixes];
  const byLength = prefixes.toSorted((a, b) => prefixLength(a) - prefixLength(b));
  const kept: Prefix[] = [];
  for (const prefix of byLength) if (!kept.some((outer) => contains(outer, prefix))) kept.push(prefix);
  return kept.sort();
}

/** True if the kernel holds what the row asks for. */
export function frontendMatches(row: FrontendRow, held: HeldFrontend): boolean {
  if (held.row === row) return true;
  return (
    held.profile !== undefined &&
    sameProfile(profileOf(row), held.profile) &&
    slotsFit(row, held.slots) &&
    samePrefixes(permittedBy(row), held.permitted)
  );
}

export const samePrefixes = (a: readonly Prefix[], b: readonly Prefix[]): boolean =>
  a.length === b.length && a.every((prefix, i) => prefix === b[i]);

/** The plain row as it is held: the origin stays behind. */
export function plainOf(row: Exclude<ServicePlanRow, FrontendRow>, key: string): HeldPlain {
  const { origin: _, ...rest } = row;
  return { ...rest, key };
}

export const familyOfPlain = (held: { readonly ip: IpAddress } | { readonly prefix: Prefix }): Family =>
  familyOf("ip" in held ? held.ip : held.prefix);
