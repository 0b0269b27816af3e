/** A Pod as an API server has it into a row, for whoever runs it. */
import { WeftError } from "@weft/base";
import type { Pod } from "@weft/model";
import { type Fault, Field, faultText } from "./field.ts";
import { readPod } from "./pod.ts";
import { noNotes } from "./unhonoured.ts";

export interface RunnablePod {
  readonly pod: Pod;
  /** Paths of fields that are there and have no effect on what becomes of the row. */
  readonly unhonoured: readonly string[];
}

/** Throws "invalid" with every fault. */
export function podOfObject(object: unknown): RunnablePod {
  const faults: Fault[] = [];
  const notes = noNotes();
  const pod = readPod(new Field(object, [], faults), notes);
  if (faults.length === 0) return { pod, unhonoured: notes.unhonoured };
  throw new WeftError("invalid", faults.map(faultText).join("; "), {
    object: `pod ${pod.namespace}/${pod.name}`,
    hint: "Correct the fields named.",
  });
}
