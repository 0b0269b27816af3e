/**
 * A profile is how a frontend is treated, apart from its backends: what becomes of a new connection, which of how many
 * slots it takes, for how long its client is remembered, whether it gets the node's address. It is in the value of a frontend's
 * element; maps of few elements lead from profiles to chains. Tens of thousands of frontends need no verdicts of their own,
 * which the kernel would check, all of them, whenever one is added: 7 ms for 30,000.
 *
 *   first mark    bits 0-23 number of slots | 24 maglev | 25 outside | 26 node port | 27 masquerade | 28-30 gate
 *   second mark   seconds of affinity, 0 for none
 */
import type { FrontendRow } from "@weft/model";
import { maglevSize } from "./maglev.ts";

export const GATES = ["open", "reject", "drop", "permit", "permit-reject"] as const;
/** permit: the sources that may connect get through; permit-reject: they are told that there is nobody. */
export type Gate = (typeof GATES)[number];

export interface Profile {
  readonly gate: Gate;
  /** Slots of backends; 0 unless connections are balanced. */
  readonly slots: number;
  readonly maglev: boolean;
  readonly outside: boolean;
  readonly node: boolean;
  readonly masquerade: boolean;
  /** Seconds; 0: none. */
  readonly affinity: number;
}

const MAX_SLOTS = 0xffffff;
const MAGLEV = 1 << 24;
const OUTSIDE = 1 << 25;
const NODE = 1 << 26;
const MASQUERADE = 1 << 27;
const GATE_SHIFT = 28;

export function profileOf(row: FrontendRow): Profile {
  const balances = row.action === "balance" && row.backends.length > 0;
  const maglev = balances && row.balance === "maglev";
  return {
    gate: gateOf(row, balances),
    slots: !balances ? 0 : maglev ? maglevSize(row.backends.length) : row.backends.length,
    maglev,
    outside: row.scope === "outside",
    node: row.match.address === "node",
    masquerade: balances && row.masquerade === "foreign",
    affinity: balances ? (row.affinity ?? 0) : 0,
  };
}

/** Who may not connect is not told whether there is anybody. */
function gateOf(row: FrontendRow, balances: boolean): Gate {
  if (row.action === "drop" || row.sources?.length === 0) return "drop";
  if (balances) return row.sources === undefined ? "open" : "permit";
  return row.sources === undefined ? "reject" : "permit-reject";
}

/** The two marks. */
export function encodeProfile(p: Profile): readonly [number, number] {
  let first = Math.min(p.slots, MAX_SLOTS) | (GATES.indexOf(p.gate) << GATE_SHIFT);
  if (p.maglev) first |= MAGLEV;
  if (p.outside) first |= OUTSIDE;
  if (p.node) first |= NODE;
  if (p.masquerade) first |= MASQUERADE;
  return [first >>> 0, p.affinity];
}

/** Undefined for marks that no profile has. */
export function decodeProfile(first: number, second: number): Profile | undefined {
  const gate = GATES[first >>> GATE_SHIFT];
  if (gate === undefined) return undefined;
  return {
    gate,
    slots: first & MAX_SLOTS,
    maglev: (first & MAGLEV) !== 0,
    outside: (first & OUTSIDE) !== 0,
    node: (first & NODE) !== 0,
    masquerade: (first & MASQUERADE) !== 0,
    affinity: second,
  };
}

/** The number that balance chains add to a slot: frontends of both scopes share a map of backends. */
export const slotOffset = (outside: boolean): number => (outside ? 1 << 24 : 0);
