/**
 * Named network namespaces, in the way of ip-netns(8), so that both work on the same ones: /run/netns/NAME is an
 * empty file with the namespace bind-mounted on it, and /run/netns itself is a shared mount, so that a name made
 * or removed here is made or removed in every mount namespace that came after.
 */
import { closeSync, mkdirSync, openSync, readdirSync, unlinkSync } from "node:fs";
import { WeftError } from "@weft/base";
import { fsError, hasErrno } from "../sys/errno.ts";
import { lockFile, MNT_DETACH, MS, mount, unmount } from "../sys/namespace.ts";
import { inNewNetns, OWN_NAMESPACE } from "./switch.ts";

export const NETNS_DIRECTORY = "/run/netns";

/** Path of a named namespace. Throws "invalid" for what cannot be a file's name. */
export function namedPath(name: string): string {
  if (!/^[A-Za-z0-9_.:-]{1,200}$/.test(name) || name === "." || name === "..") {
    throw new WeftError("invalid", `"${name.slice(0, 64)}" is not a name for a network namespace`, {
      hint: "Use letters, digits, dots and dashes.",
    });
  }
  return `${NETNS_DIRECTORY}/${name}`;
}

/** Makes a namespace with nothing but a loopback that is down. Throws "exists". */
export function createNamed(name: string): void {
  const path = namedPath(name);
  prepareDirectory();
  try {
    closeSync(openSync(path, "wx", 0o444));
  } catch (error) {
    throw fsError(error, `network namespace ${name}`);
  }
  try {
    inNewNetns(() => mount(OWN_NAMESPACE, path, "none", MS.bind));
  } catch (error) {
    unlinkSync(path);
    throw error;
  }
}

/** Removes the name; the namespace goes when nothing else holds it. Succeeds when absent or half made. */
export function deleteNamed(name: string): void {
  const path = namedPath(name);
  for (;;) {
    try {
      unmount(path, MNT_DETACH);
    } catch (error) {
      // No mount (any more), or no file.
      if (hasErrno(error, "EINVAL") || hasErrno(error, "ENOENT")) break;
      throw error;
    }
  }
  try {
    unlinkSync(path);
  } catch (error) {
    const typed = fsError(error, `network namespace ${name}`);
    if (!hasErrno(typed, "ENOENT")) throw typed;
  }
}

/** Names that begin with `prefix`, half-made ones too. */
export function listNamed(prefix = ""): string[] {
  try {
    return readdirSync(NETNS_DIRECTORY)
      .filter((name) => name.startsWith(prefix))
      .sort();
  } catch (error) {
    const typed = fsError(error, NETNS_DIRECTORY);
    if (hasErrno(typed, "ENOENT")) return [];
    throw typed;
  }
}

/** Makes /run/netns a shared mount point, once for the machine: under a lock, as ip does. */
function prepareDirectory(): void {
  mkdirSync(NETNS_DIRECTORY, { recursive: true, mode: 0o755 });
  const lock = openSync(NETNS_DIRECTORY, "r");
  try {
    lockFile(lock);
    try {
      mount("", NETNS_DIRECTORY, "none", MS.shared | MS.rec);
    } catch (error) {
      if (!hasErrno(error, "EINVAL")) throw error;
      mount(NETNS_DIRECTORY, NETNS_DIRECTORY, "none", MS.bind | MS.rec);
      mount("", NETNS_DIRECTORY, "none", MS.shared | MS.rec);
    }
  } finally {
    closeSync(lock);
  }
}
