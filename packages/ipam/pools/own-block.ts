/**
 * What comes next for one block of this node: a pure step from what is known of it to one thing to be done, asked again
 * after each until there is nothing to do. What is done is idempotent, so that it does not matter where a crash falls.
 *
 *   claimed by us, not in the ledger --adopt--> open --close--> closed --delete--> gone --forget-->
 *                                                 ^    <-reopen--'
 *   gone, or another's, with addresses in use --lose--> lost --reclaim, reopen--> open
 *
 * What the server has is known from watches, which lag behind. Whatever cannot be undone (to adopt, to forget, to free
 * an address that was lent, to delete) is done only on the latest version: "fresh", read or written a moment ago.
 */
import type { IpAddress } from "@weft/base";
import type { IpBlock, Loan } from "@weft/model";
import type { BlockRecord, HeldAddress } from "../pool-records.ts";

export interface OwnBlock {
  readonly node: string;
  readonly record: BlockRecord | undefined;
  readonly object: IpBlock | undefined;
  readonly fresh: boolean;
  /** Addresses of it that other nodes have, or this node's tunnel. */
  readonly held: readonly HeldAddress[];
  /** Addresses of it that workloads of this node have. */
  readonly leased: number;
  /** Its pool is there still, and not another of the same name. */
  readonly poolThere: boolean;
  /** Its pool lets addresses be given out. */
  readonly usable: boolean;
  /** It may go once it is empty. */
  readonly surplus: boolean;
  /** The node's end of its tunnels is to be in it. */
  readonly tunnelHere: boolean;
}

export interface OwnWrite {
  readonly do: "write";
  /** Loans that nobody answered yet, or whose address is not in the ledger: to be held, or refused. */
  readonly answer: readonly Loan[];
  /** Loans that are done: taken out, and their addresses free after that. */
  readonly drop: readonly Loan[];
  /** Whether the tunnel's end is to be written, taken out, or left. */
  readonly tunnel: "put" | "clear" | "leave";
}

export type OwnStep =
  | { readonly do: "rest"; readonly problem?: string }
  /** Ask the server for the latest version. */
  | { readonly do: "read" }
  /** Read its pool and take it into the ledger, with all that the object says is held. */
  | { readonly do: "adopt" }
  | { readonly do: "lose" }
  /** Make the object again, as the ledger has it. */
  | { readonly do: "reclaim" }
  /** It has lost its node, though that is here. */
  | { readonly do: "take-back" }
  | { readonly do: "forget" }
  | { readonly do: "let-go"; readonly addresses: readonly IpAddress[] }
  | { readonly do: "close" }
  | { readonly do: "delete" }
  | { readonly do: "reopen" }
  /** A deletion of this very version may still be under way: make it another one. */
  | { readonly do: "touch" }
  | OwnWrite;

const READ: OwnStep = { do: "read" };

export function nextForOwn(b: OwnBlock): OwnStep {
  const { record, object, fresh, node } = b;
  if (record === undefined) {
    if (object?.node !== node) return { do: "rest" };
    return fresh ? { do: "adopt" } : READ;
  }
  if (object?.node !== node) return fresh ? nextForMissing(b, record) : READ;
  if (record.uid !== object.uid || record.state === "lost") return fresh ? { do: "adopt" } : READ;
  return nextForLoans(b, record, object) ?? nextForTunnel(b, object) ?? nextForRelease(b, record, object);
}

/** The latest version is not ours. Whatever pods have of it they keep; nothing more is given out. */
function nextForMissing({ object, leased, held, poolThere }: OwnBlock, record: BlockRecord): OwnStep {
  const lent = held.filter((h) => h.loan !== undefined);
  if (leased === 0 && lent.length === 0) return { do: "forget" };
  if (record.state !== "lost") return { do: "lose" };
  if (object !== undefined && object.node === undefined) return { do: "take-back" };
  if (object === undefined && poolThere) return { do: "reclaim" };
  const now = object === undefined ? "and its pool are gone" : `belongs to node ${object.node} now`;
  return {
    do: "rest",
    problem: `block ${record.prefix} ${now}; ${leased} pods of this node and ${lent.length} loans still have addresses of it`,
  };
}

function nextForLoans(
  { held, fresh, usable }: OwnBlock,
  record: BlockRecord,
  object: IpBlock,
): OwnStep | undefined {
  const isHeld = (loan: Loan): boolean => held.some((h) => h.loan === loan.id);
  const drop = object.loans.filter((l) => l.returned);
  const asked = object.loans.filter((l) => !l.returned && l.address === undefined && l.refused === undefined);
  const granted = object.loans.filter((l) => !l.returned && l.address !== undefined);
  const unknown = granted.filter((l) => !isHeld(l));
  if (record.state === "closed") {
    if (usable && asked.length > 0) return reopening(record, object, fresh);
    // Whoever asks for an address of what goes is told by its absence.
    if (drop.length > 0) return { do: "write", answer: [], drop, tunnel: "leave" };
  } else if (drop.length + asked.length + unknown.length > 0) {
    return { do: "write", answer: [...asked, ...unknown], drop, tunnel: "leave" };
  }
  const ended = held.filter((h) => h.loan !== undefined && !object.loans.some((l) => l.id === h.loan));
  if (ended.length === 0) return undefined;
  return fresh ? { do: "let-go", addresses: ended.map((h) => h.address) } : READ;
}

function nextForTunnel({ held, fresh, tunnelHere, record }: OwnBlock, object: IpBlock): OwnStep | undefined {
  const end = held.find((h) => h.loan === undefined);
  const write = (tunnel: "put" | "clear"): OwnStep => ({ do: "write", answer: [], drop: [], tunnel });
  if (tunnelHere) {
    if (end === undefined && record?.state !== "open") return undefined;
    return end === undefined || object.tunnelAddress !== end.address ? write("put") : undefined;
  }
  if (object.tunnelAddress !== undefined) return write("clear");
  if (end === undefined) return undefined;
  return fresh ? { do: "let-go", addresses: [end.address] } : READ;
}

function nextForRelease(b: OwnBlock, record: BlockRecord, object: IpBlock): OwnStep {
  const { leased, held, fresh, surplus, usable } = b;
  const empty = leased === 0 && held.length === 0;
  if (record.state === "open") {
    return surplus && empty && object.loans.length === 0 ? { do: "close" } : { do: "rest" };
  }
  if (usable && !surplus) return reopening(record, object, fresh);
  if (!empty) return { do: "rest" };
  return fresh ? { do: "delete" } : READ;
}

/** Only when no deletion that was sent can be done any more: each was of one version. */
function reopening(record: BlockRecord, object: IpBlock, fresh: boolean): OwnStep {
  if (!fresh) return READ;
  return record.deleting === object.resourceVersion ? { do: "touch" } : { do: "reopen" };
}
