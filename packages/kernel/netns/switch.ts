/**
 * Switching the calling thread between network namespaces. setns(2) is per thread: while `fn` runs, only the
 * JavaScript thread is in the other namespace. Sockets, files under /proc/sys/net and child processes made by
 * then belong to that namespace and stay there. `fn` must be synchronous and must start no worker or request:
 * threads that the runtime starts by then would stay in that namespace for good.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { WeftError } from "@weft/base";
import { fsError } from "../sys/errno.ts";
import { setNetworkNamespace, unshareNetworkNamespace } from "../sys/namespace.ts";

/** The namespace of the calling thread; /proc/self would be that of the main thread. */
export const OWN_NAMESPACE = "/proc/thread-self/ns/net";

/** Opens a namespace by path; the caller closes the descriptor by node:fs. "not-found" when there is none. */
export function openNamespaceFd(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw fsError(error, `network namespace ${path}`);
  }
}

/** Runs `fn` in the namespace of `fd` and comes back, whatever happens. */
export function inNetns<T>(fd: number, fn: () => T): T {
  return switched(() => setNetworkNamespace(fd), fn);
}

/** Runs `fn` in a new namespace, which is gone afterwards unless `fn` has made something that holds it. */
export function inNewNetns<T>(fn: () => T): T {
  return switched(unshareNetworkNamespace, fn);
}

function switched<T>(enter: () => void, fn: () => T): T {
  const home = openNamespaceFd(OWN_NAMESPACE);
  try {
    enter();
    try {
      const result = fn();
      if (result instanceof Promise) {
        throw new WeftError("invalid", "work in another network namespace must be synchronous");
      }
      return result;
    } finally {
      comeBack(home);
    }
  } finally {
    closeSync(home);
  }
}

function comeBack(home: number): void {
  try {
    setNetworkNamespace(home);
  } catch (error) {
    // To go on in the wrong namespace would put every later socket into somebody's pod.
    writeSync(2, `weft: cannot return to the own network namespace: ${String(error)}\n`);
    process.abort();
  }
}
