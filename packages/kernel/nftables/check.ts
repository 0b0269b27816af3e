/** What can be said of elements, and of errors, before and after the kernel has seen them. */
import { WeftError } from "@weft/base";
import { SysError } from "../sys/errno.ts";
import { NFT_DATA_VERDICT_TYPE, NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_OBJECT } from "./constants.ts";
import type { SetInfo } from "./decode.ts";
import { describeSet, type ElementLayout, type SetName } from "./transaction.ts";

export const unsupported = (name: SetName, why: string): WeftError =>
  new WeftError("unsupported", `${describeSet(name)} ${why}`, {
    object: describeSet(name),
    hint: "Change and read such a set by nft's own language.",
  });

/** Refuses elements that the set would misunderstand. The kernel would take some of them. */
export function checkLayout(name: SetName, info: SetInfo, layout: ElementLayout, withValue: boolean): void {
  // A key without its end would match all keys above it.
  if ((info.flags & NFT_SET_INTERVAL) !== 0) throw unsupported(name, "holds intervals");
  if ((info.flags & NFT_SET_OBJECT) !== 0) throw unsupported(name, "maps to objects");
  const mismatch = (what: string): WeftError =>
    new WeftError("invalid", `${describeSet(name)} ${what}`, {
      object: describeSet(name),
      hint: "Use the types that the set was declared with, in that order.",
    });
  if (info.keyLength !== layout.key.length) {
    throw mismatch(`has keys of ${info.keyLength} bytes, not ${layout.key.length}`);
  }
  if (!withValue) return;
  const isMap = (info.flags & NFT_SET_MAP) !== 0;
  if (isMap && info.dataType === NFT_DATA_VERDICT_TYPE) throw unsupported(name, "maps to verdicts");
  if (isMap !== (layout.value !== undefined)) {
    throw mismatch(isMap ? "is a map: its elements need a value" : "is no map: its elements have no value");
  }
  if (layout.value !== undefined && info.dataLength !== layout.value.length) {
    throw mismatch(`has values of ${info.dataLength ?? 0} bytes, not ${layout.value.length}`);
  }
}

/** The same error with a hint that fits sets: the general ones speak of files and of root. */
export function setError(error: unknown, name: SetName): unknown {
  if (!(error instanceof SysError)) return error;
  const hint =
    error.errnoName === "ENOENT"
      ? `Declare the set in table ${name.family} ${name.table} first; somebody may have deleted the table.`
      : error.errnoName === "ENFILE"
        ? "The set is full; declare it with a larger size."
        : error.hint;
  return new SysError(error.message.slice(0, error.message.indexOf(" ")), error.errno, {
    object: describeSet(name),
    kernelMessage: error.kernelMessage,
    offset: error.offset,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
