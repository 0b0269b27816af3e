/** Files that are replaced as a whole. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { describeError, WeftError } from "./errors.ts";

/**
 * Writes a file so that a reader sees the old one or the new one, never a part, however this process ends; of several
 * processes that do so at once, one is the last. Nothing is written into a file or link that somebody has put where the
 * new one is made. A power cut may still undo it: nothing is synchronized with the disk. Throws "unavailable".
 */
export function replaceFile(path: string, text: string, mode = 0o600): void {
  const made = `${path}.${process.pid}.tmp`;
  rmSync(made, { force: true });
  try {
    writeFileSync(made, text, { mode, flag: "wx" });
    renameSync(made, path);
  } catch (cause) {
    rmSync(made, { force: true });
    throw new WeftError("unavailable", `cannot be written: ${describeError(cause)}`, {
      object: path,
      hint: "See that its directory is there, can be written, and has room.",
      cause,
    });
  }
}
