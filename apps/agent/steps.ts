/** The steps of ADD and DEL, each a place where a crash test can end the agent. */
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

/** "compile" is a commit in the cluster thread. */
export const step: (name: Step | "compile") => void = faultPoint;
