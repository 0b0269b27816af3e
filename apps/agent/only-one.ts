/**
 * One agent a node. Two would take each other's socket, and each undo what the other adds: as when a pod was removed by
 * force and its process lives on while the next one starts, or when there is an agent beside that of an install. The
 * lock is the kernel's and goes with its holder, however that ends.
 */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "@weft/base";
import { tryLockFile } from "@weft/kernel/sys";

const LOOK_MS = 200;

/** Waits until no other agent has this directory; the returned function gives it up. */
export async function beAlone(directory: string, logger: Logger): Promise<() => void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "agent.lock");
  const fd = openSync(path, "a", 0o600);
  let told = false;
  while (!tryLockFile(fd)) {
    if (!told) logger.warn("another agent runs on this node: waiting until it has ended", { lock: path });
    told = true;
    await Bun.sleep(LOOK_MS);
  }
  return () => closeSync(fd);
}
