/**
 * Which backend has which slot of a frontend. Slots that stand in the kernel are kept and holes filled, so that one backend
 * that comes or goes touches one to three elements, however many there are. Two nodes, or one node before and after,
 * need not agree: random balancing asks for no order.
 */
import type { Backend, FrontendRow } from "@weft/model";
import { maglevTable } from "./maglev.ts";

/** What the kernel holds: may have holes, and slots too many, after somebody else's changes. */
export type Slots = readonly (Backend | undefined)[];

const NONE: readonly Backend[] = [];

const idOf = ({ ip, port }: Backend): string => `${ip} ${port}`;
const same = (a: Backend | undefined, b: Backend | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.ip === b.ip && a.port === b.port);

/** The slots that the row should have, given those that stand. */
export function slotsOf(row: FrontendRow, before: Slots): readonly Backend[] {
  if (row.action !== "balance" || row.backends.length === 0) return NONE;
  if (row.balance === "maglev") return maglevTable(row.backends);
  if (before.length === 0) return row.backends;
  const left = new Map(row.backends.map((backend) => [idOf(backend), backend]));
  const result: (Backend | undefined)[] = row.backends.map((_, i) => {
    const old = before[i];
    if (old === undefined) return undefined;
    const kept = left.get(idOf(old));
    left.delete(idOf(old));
    return kept;
  });
  const rest = left.values();
  return result.map((backend) => backend ?? (rest.next().value as Backend));
}

/** True if the slots that stand are such that slotsOf would not change them. */
export function slotsFit(row: FrontendRow, held: Slots): boolean {
  if (held.length === 0) return row.action !== "balance" || row.backends.length === 0;
  const wanted = slotsOf(row, held);
  return wanted.length === held.length && wanted.every((backend, i) => same(backend, held[i]));
}

/** Calls `visit` for each slot whose backend is another: old or new one undefined where there is none. */
export function eachChange(
  before: Slots,
  after: Slots,
  visit: (slot: number, old: Backend | undefined, now: Backend | undefined) => void,
): void {
  const length = Math.max(before.length, after.length);
  for (let slot = 0; slot < length; slot++) {
    if (!same(before[slot], after[slot])) visit(slot, before[slot], after[slot]);
  }
}

/** Backends of `before` that are in no slot of `after`. */
export function gone(before: Slots, after: Slots): Backend[] {
  const still = new Set(after.map((b) => (b === undefined ? "" : idOf(b))));
  const left = new Map<string, Backend>();
  for (const b of before) if (b !== undefined && !still.has(idOf(b))) left.set(idOf(b), b);
  return [...left.values()];
}
