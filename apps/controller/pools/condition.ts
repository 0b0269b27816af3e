/** Condition Ready of a pool (Kubernetes API conventions, "typical status properties"). */
import type { Verdict } from "./accept.ts";

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime?: string;
}

function conditionsOf(status: unknown): readonly Condition[] {
  const { conditions } = (status ?? {}) as { conditions?: unknown };
  return Array.isArray(conditions) ? (conditions as Condition[]) : [];
}

export const readCondition = (status: unknown): Condition | undefined =>
  conditionsOf(status).find((c) => c.type === "Ready");

/** Those of others stay; the time changes with the status alone. */
export function conditionsWith(
  status: unknown,
  { ready, reason, message }: Verdict,
  observedGeneration: number,
  now: string,
): readonly object[] {
  const before = readCondition(status);
  const value = ready ? "True" : "False";
  const since = before?.status === value ? before.lastTransitionTime : undefined;
  const condition = {
    type: "Ready",
    status: value,
    reason,
    message,
    lastTransitionTime: since ?? now,
    observedGeneration,
  };
  return [...conditionsOf(status).filter((c) => c.type !== "Ready"), condition];
}
