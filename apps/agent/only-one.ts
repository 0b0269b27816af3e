/**
 * One agent a node. Two would take each other's socket, and each undo what the other adds: as when a pod was removed by
 * force and its process lives on while the next one starts, or when there is an agent beside that of an install. The
 * lock is the kernel's and goes with its holder, however that ends.
 */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "@weft/base";
import { tryLockFile } from "@weft/kernel/sys";

const LOOK_MS = 200;

const lockIn = (directory: string): string => join(directory, "agent.lock");

/** True while an agent has this directory, whether it answers or not. */
export function isTaken(directory: string): boolean {
  if (!existsSync(lockIn(directory))) return false;
  const fd = openSync(lockIn(directory), "r");
  try {
    return !tryLockFile(fd);
  } finally {
    closeSync(fd);
  }
}

/** Waits until no other agent has this directory; the returned function gives it up. */
export async function beAlone(directory: string, logger: Logger): Promise<() => void> {
  const path = lockIn(directory);
  let told = false;
  for (;;) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const fd = openSync(path, "a", 0o600);
    if (tryLockFile(fd)) {
      if (isStill(fd, path)) return () => closeSync(fd);
    } else {
      if (!told) logger.warn("another agent runs on this node: waiting until it has ended", { lock: path });
      told = true;
      await Bun.sleep(LOOK_MS);
    }
    closeSync(fd);
  }
}

/** A lock on a file that was removed meanwhile (the node was cleaned) keeps nobody out. */
function isStill(fd: number, path: string): boolean {
  const [held, there] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  return there !== undefined && held.ino === there.ino && held.dev === there.dev;
}
