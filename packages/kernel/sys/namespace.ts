/** Namespaces and mounts: setns(2), unshare(2), mount(2), umount2(2). */
import { hasErrno, SysError } from "./errno.ts";
import { call } from "./libc.ts";

export const CLONE_NEWNET = 0x40000000;
export const MS = { bind: 0x1000, rec: 0x4000, shared: 0x100000 } as const;
export const MNT_DETACH = 2;

/** Moves the calling thread, and nothing else, into the network namespace of the descriptor. */
export function setNetworkNamespace(fd: number): void {
  call("setns", undefined, fd, CLONE_NEWNET);
}

/** Moves the calling thread, and nothing else, into a new network namespace. */
export function unshareNetworkNamespace(): void {
  call("unshare", "network", CLONE_NEWNET);
}

/** True if the descriptor names a network namespace (NS_GET_NSTYPE, ioctl_ns(2)). */
export function isNetworkNamespace(fd: number): boolean {
  try {
    return call("ioctl", undefined, fd, 0xb703, null) === CLONE_NEWNET;
  } catch (error) {
    // ENOTTY and the like: no namespace at all.
    if (error instanceof SysError) return false;
    throw error;
  }
}

export function mount(source: string, target: string, type: string, flags: number): void {
  call("mount", target, source, target, type, flags, null);
}

export function unmount(target: string, flags = 0): void {
  call("umount2", target, target, flags);
}

/** Takes the exclusive advisory lock of an open file (flock(2)) if nobody has it; true if it did. */
export function tryLockFile(fd: number): boolean {
  try {
    call("flock", undefined, fd, 2 | 4);
    return true;
  } catch (error) {
    if (hasErrno(error, "EAGAIN") || hasErrno(error, "EWOULDBLOCK")) return false;
    throw error;
  }
}

/** Waits for the exclusive advisory lock of an open file (flock(2)); closing the file gives it back. */
export function lockFile(fd: number): void {
  call("flock", undefined, fd, 2);
}
