/**
 * Sysctls of a namespace: a file under /proc/sys/net is that of the namespace of the task which opens it, whatever
 * the mount is called by which it gets there. A container that is not privileged has /proc/sys for reading only; a
 * second mount of it, for writing, can be named.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { WeftError } from "@weft/base";
import { inNetns } from "../netns/switch.ts";
import { fsError, hasErrno } from "../sys/errno.ts";

/** Where the tree is by itself. */
export const SYSCTLS = "/proc/sys";

function pathOf(directory: string, key: string): string {
  if (!/^net(\/[^/\0]+)+$/.test(key) || key.split("/").includes("..")) {
    throw new WeftError("invalid", `"${key.slice(0, 64)}" is not a sysctl of a network namespace`, {
      hint: 'Write it with slashes, like "net/ipv4/ip_forward".',
    });
  }
  return `${directory}/${key}`;
}

export function readSysctl(namespace: number, key: string, directory = SYSCTLS): string | undefined {
  const path = pathOf(directory, key);
  try {
    return inNetns(namespace, () => readFileSync(path, "utf8")).trimEnd();
  } catch (error) {
    const typed = fsError(error, `sysctl ${key}`);
    if (hasErrno(typed, "ENOENT")) return undefined;
    throw typed;
  }
}

/** Throws "not-found" when the kernel has no such key, "invalid" when it refuses the value. */
export function writeSysctl(namespace: number, key: string, value: string, directory = SYSCTLS): void {
  const path = pathOf(directory, key);
  try {
    inNetns(namespace, () => writeFileSync(path, value, { flag: "r+" }));
  } catch (error) {
    throw fsError(error, `sysctl ${key}`);
  }
}
