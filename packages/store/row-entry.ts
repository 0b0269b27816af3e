/** What a reconciler knows of one key. */
import { describeError, type ErrorCode, hintOf, WeftError } from "@weft/base";
import type { RowStatus } from "./reconcile-types.ts";

export type Operation = "update" | "delete";

export interface RowEntry<Row, Actual> {
  readonly key: string;
  /** The row as the table has it; undefined: to be deleted. */
  row: Row | undefined;
  /** The row last applied with success, or found in the target. */
  applied: Row | undefined;
  /** The row last applied or tried: something of it may be in the target. */
  tried: Row | undefined;
  /** The target holds `applied`, as far as is known: no attempt has failed and no drift was seen since. */
  clean: boolean;
  /** An object of ours that no row wanted when the target was last read. */
  leftover: Actual | undefined;
  /** Resolves, never rejects, when the operation in flight has ended. */
  busy: Promise<void> | undefined;
  /** Error of the last attempt, while the state is "error". */
  error: WeftError | undefined;
  /** Monotonic milliseconds of the last attempt. */
  lastTry: number;
  status: RowStatus;
}

export const operationOf = (entry: RowEntry<unknown, unknown>): Operation =>
  entry.row === undefined ? "delete" : "update";

export function plainStatus(state: "pending" | "done", operation: Operation, since: number): RowStatus {
  const none = undefined;
  return { state, operation, since, attempts: 0, message: none, code: none, hint: none, nextTry: none };
}

export function newEntry<Row, Actual>(
  key: string,
  row: Row | undefined,
  leftover: Actual | undefined,
  now: number,
): RowEntry<Row, Actual> {
  return {
    key,
    row,
    applied: undefined,
    tried: undefined,
    clean: false,
    leftover,
    busy: undefined,
    error: undefined,
    lastTry: Number.NEGATIVE_INFINITY,
    status: plainStatus("pending", row === undefined ? "delete" : "update", now),
  };
}

/** The error of a row, naming reconciler and key, with the cause's code and hint. */
export function rowError(reconciler: string, key: string, cause: unknown): WeftError {
  const hint = hintOf(cause);
  return new WeftError(codeOf(cause), `${reconciler} ${key}: ${describeError(cause)}`, {
    object: `${reconciler} ${key}`,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

function codeOf(error: unknown): ErrorCode {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof WeftError) return e.code;
  return "internal";
}
