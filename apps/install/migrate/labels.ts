/**
 * What a migration leaves on Nodes; nothing of it is kept anywhere else, so that whoever comes next goes on from there.
 *
 *   label weft.network/network       "other": another network serves the node's pods, no agent of Weft runs there, and no
 *                                    route of Weft leads there. "weft": Weft does, and sets other configurations aside.
 *                                    Absent: Weft does, as in a cluster that was never migrated.
 *   annotation weft.network/move     a move is under way: which way, and whether the node took pods before it
 *   taint weft.network/moving        while it is: no pod stays, and none comes
 */
import type { NodeObject } from "../observe.ts";

export { NETWORK_LABEL, type NodeNetwork } from "@weft/model";
export const MOVE_ANNOTATION = "weft.network/move";
export const MOVING_TAINT = { key: "weft.network/moving", effect: "NoExecute" } as const;

export interface Move {
  readonly to: "weft" | "other";
  /** The node took no pods before the move, and is to take none after it. */
  readonly cordoned: boolean;
}

export const moveText = ({ to, cordoned }: Move): string => JSON.stringify({ to, cordoned });

/** Undefined when no move is under way. What somebody has written by hand counts as one to Weft. */
export function moveOf({ metadata }: Pick<NodeObject, "metadata">): Move | undefined {
  const text = (metadata["annotations"] as Record<string, unknown> | undefined)?.[MOVE_ANNOTATION];
  if (text === undefined) return undefined;
  try {
    const { to, cordoned } = JSON.parse(String(text)) as Partial<Move>;
    return { to: to === "other" ? "other" : "weft", cordoned: cordoned === true };
  } catch {
    return { to: "weft", cordoned: false };
  }
}
