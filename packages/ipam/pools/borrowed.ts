/**
 * What comes next for one loan of this node: an address of another node's block, that its pods or its tunnel have.
 *
 *   asked (memory alone) -> granted -> open (in the ledger) -> closed -> returned (in the object) -> forgotten
 *
 * A request that nobody waits for any more, because its ADD gave up or the agent was killed, is returned as well,
 * granted or not. What was closed is never opened again: whether the return was heard is not known.
 */
import { prefixIp } from "@weft/base";
import type { IpBlock } from "@weft/model";
import type { BlockRecord } from "../pool-records.ts";

export interface Borrowed {
  readonly node: string;
  readonly id: string;
  readonly record: BlockRecord | undefined;
  /** The lender's block, and whether that is its latest version. */
  readonly object: IpBlock | undefined;
  readonly fresh: boolean;
  /** A workload or this node's tunnel has the address, or somebody is about to take it. */
  readonly used: boolean;
  /** This node's tunnel has it. */
  readonly tunnel: boolean;
  /** Somebody waits for its answer. */
  readonly awaited: boolean;
}

export type BorrowedStep =
  | { readonly do: "rest"; readonly problem?: string }
  | { readonly do: "read" }
  | { readonly do: "close" }
  /** Write that it is done with. */
  | { readonly do: "return" }
  /** Write whose it is, the tunnel's or a pod's. */
  | { readonly do: "mark" }
  | { readonly do: "forget" }
  | { readonly do: "lose" }
  | { readonly do: "reopen" };

const READ: BorrowedStep = { do: "read" };

export function nextForBorrowed(b: Borrowed): BorrowedStep {
  const { record, object, fresh, id, node } = b;
  const entry = object?.loans.find((l) => l.id === id && l.node === node && !l.returned);
  if (record === undefined) {
    if (b.awaited || entry === undefined) return { do: "rest" };
    return fresh ? { do: "return" } : READ;
  }
  const stands = entry?.address !== undefined && entry.address === prefixIp(record.prefix);
  if (entry === undefined || !stands) {
    if (!fresh) return READ;
    if (!b.used) return entry === undefined ? { do: "forget" } : { do: "return" };
    if (record.state !== "lost") return { do: "lose" };
    return {
      do: "rest",
      problem: `${prefixIp(record.prefix)} is in use here, but no loan of block ${record.loan?.lender} any more`,
    };
  }
  if (b.used) {
    if (record.state === "lost") return fresh ? { do: "reopen" } : READ;
    return entry.tunnel === b.tunnel ? { do: "rest" } : { do: "mark" };
  }
  if (record.state !== "closed") return { do: "close" };
  return fresh ? { do: "return" } : READ;
}
