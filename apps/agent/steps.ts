/** The steps of ADD and DEL, each a place where a crash test can end the agent. */
import type { PoolStep } from "@weft/ipam";
import { faultPoint } from "@weft/plugin-weft";

export const STEPS = [
  "add:received",
  "add:namespace-opened",
  "add:address-allocated",
  "add:planned",
  "add:applied",
  "add:read-back",
  "add:recorded",
  "del:received",
  "del:marked",
  "del:planned",
  "del:applied",
  "del:released",
] as const;
export type Step = (typeof STEPS)[number];

/** "compile" is a commit in the cluster thread; the engine of pools has steps of its own. */
export const step: (name: Step | PoolStep | "compile") => void = faultPoint;
