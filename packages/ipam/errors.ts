/** The errors that every address manager gives in the same words. */
import { WeftError } from "@weft/base";

export const workloadExists = (id: string): WeftError =>
  new WeftError("exists", `workload ${id} has its addresses already`, {
    object: `workload ${id}`,
    hint: "Release it first, or use the addresses that it has.",
  });

export const unknown = (id: string): WeftError =>
  new WeftError("not-found", `there is no workload ${id}`, {
    object: `workload ${id}`,
    hint: "Allocate it first.",
  });

export const releasing = (id: string): WeftError =>
  new WeftError("conflict", `workload ${id} is being released`, {
    object: `workload ${id}`,
    hint: "Wait until it is released, then allocate it again.",
  });
