/**
 * What becomes of a block when nodes are gone. Pure.
 *
 *   its node is gone, nobody has a loan of it        deleted
 *   its node is gone, somebody has one               it loses its node; requests are refused
 *   it has no node: loan returned                    taken out: there is no ledger that would have to know first
 *                   no loan left                     deleted
 *   a borrower is gone                               its loan is returned for it; the lender does the rest
 */
import type { IpBlock, Loan } from "@weft/model";

export type Action =
  | { readonly do: "nothing" }
  | { readonly do: "delete"; readonly why: string }
  | { readonly do: "replace"; readonly block: IpBlock; readonly why: string };

/** `isGone`: the node has been gone for as long as is waited for. */
export function actionOf(block: IpBlock, isGone: (node: string) => boolean): Action {
  const orphaned = block.node === undefined || isGone(block.node);
  const loans = block.loans.flatMap((loan) => (orphaned ? leftOf(loan, isGone) : returned(loan, isGone)));
  if (orphaned && loans.every((l) => l.refused !== undefined)) {
    const why = block.node === undefined ? "the last of its loans came back" : `node ${block.node} is gone`;
    return { do: "delete", why };
  }
  const next: IpBlock = orphaned
    ? { ...block, node: undefined, tunnelAddress: undefined, loans }
    : { ...block, loans };
  if (Bun.deepEquals(next, block)) return { do: "nothing" };
  const borrowers = [...new Set(block.loans.map((l) => l.node).filter(isGone))];
  const why =
    orphaned && block.node !== undefined
      ? `node ${block.node} is gone, and addresses of it are on loan`
      : borrowers.length > 0
        ? `node ${borrowers.join(", ")} is gone`
        : "loans of a block without a node";
  return { do: "replace", block: next, why };
}

function returned(loan: Loan, isGone: (node: string) => boolean): Loan {
  return !loan.returned && isGone(loan.node) ? { ...loan, returned: true } : loan;
}

/** Of a block that nobody answers for. */
function leftOf(loan: Loan, isGone: (node: string) => boolean): Loan[] {
  if (loan.returned || isGone(loan.node)) return [];
  if (loan.address !== undefined || loan.refused !== undefined) return [loan];
  return [{ ...loan, refused: "the block's node is gone" }];
}
