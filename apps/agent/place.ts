/**
 * Puts the plugin's two files into a node's directory of CNI plugins. Runtimes may start them at any moment: each is
 * written under a hidden name beside its place and renamed, so there is always a whole one, old or new. The executable
 * comes first, because the shim falls back to it.
 *
 * containerd before 2.0 runs a plugin called "loopback" for every pod and fails without; most nodes have one from a
 * package. Where there is none, ours gets that name, by a link.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { WeftError } from "@weft/base";

export interface PlaceOptions {
  /** The node's directory of plugins. */
  readonly to: string;
  readonly executable: string;
  /** Undefined: the executable is the plugin. */
  readonly shim: string | undefined;
}

/** In the order in which they are placed. */
export const PLUGIN_FILES = ["weft-loopback", "weft"] as const;
/** Ours only if it is a link to LOOPBACK_TARGET. */
export const LOOPBACK = "loopback";
export const LOOPBACK_TARGET = PLUGIN_FILES[0];

/**
 * Gives the files that were written; those that were the same are left alone. Throws "permission" or "not-found" with
 * what to do.
 */
export function placePlugin({ to, executable, shim }: PlaceOptions): string[] {
  const sources = { "weft-loopback": executable, weft: shim ?? executable };
  try {
    mkdirSync(to, { recursive: true, mode: 0o755 });
    const written: string[] = PLUGIN_FILES.filter((name) => placeFile(sources[name], join(to, name)));
    if (placeLoopback(join(to, LOOPBACK))) written.push(LOOPBACK);
    return written.map((name) => join(to, name));
  } catch (error) {
    throw placeError(error, to);
  }
}

function placeFile(source: string, target: string): boolean {
  if (sameFile(source, target)) return false;
  const unfinished = join(dirname(target), `.${target.slice(dirname(target).length + 1)}.new`);
  rmSync(unfinished, { force: true });
  try {
    copyFileSync(source, unfinished, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // On the disk before it has its name: after a power cut there must not be an empty plugin.
    const fd = openSync(unfinished, "r+");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(unfinished, target);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  return true;
}

function placeLoopback(path: string): boolean {
  if (existsSync(path)) return false;
  try {
    symlinkSync(LOOPBACK_TARGET, path);
    return true;
  } catch (error) {
    // Somebody put one there just now.
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

const PIECE = 1 << 20;

/** True if both have the same bytes and the target can be run. */
export function sameFile(source: string, target: string): boolean {
  const [a, b] = [statSync(source), statSync(target, { throwIfNoEntry: false })];
  if (b === undefined || !b.isFile() || a.size !== b.size || (b.mode & 0o111) !== 0o111) return false;
  const [left, right] = [Buffer.alloc(PIECE), Buffer.alloc(PIECE)];
  const [fa, fb] = [openSync(source, "r"), openSync(target, "r")];
  try {
    for (;;) {
      const n = readSync(fa, left);
      const m = readSync(fb, right);
      if (n !== m || !left.subarray(0, n).equals(right.subarray(0, m))) return false;
      if (n === 0) return true;
    }
  } finally {
    closeSync(fa);
    closeSync(fb);
  }
}

function placeError(error: unknown, to: string): WeftError {
  const { code, path } = error as NodeJS.ErrnoException;
  const denied = code === "EACCES" || code === "EPERM" || code === "EROFS";
  const hint = denied
    ? "Give root the right to write there, or name another directory that the runtime reads (weft install --cni-bin-dir)."
    : code === "ENOSPC"
      ? "Free space on the node's disk."
      : "Name the runtime's directory of plugins (weft install --cni-bin-dir).";
  return new WeftError(denied ? "permission" : "not-found", `the plugin cannot be placed: ${code ?? error}`, {
    object: path ?? to,
    hint,
    cause: error,
  });
}
