/** Open network namespaces, and processes in them. */
import { closeSync, fstatSync } from "node:fs";
import { WeftError } from "@weft/base";
import { isNetworkNamespace } from "../sys/namespace.ts";
import { inNetns, inNewNetns, OWN_NAMESPACE, openNamespaceFd } from "./switch.ts";

/** A held namespace: it lives at least as long as the handle is open. */
export interface NetnsHandle {
  readonly path: string;
  readonly fd: number;
  /** Device and inode: the same for every name of one namespace. */
  readonly identity: string;
  close(): void;
}

/** Opens by path: "/run/netns/x", "/proc/7/ns/net". "not-found" when the path names no network namespace. */
export function openNetns(path: string): NetnsHandle {
  return handle(openNamespaceFd(path), path);
}

/** The namespace of the calling thread. */
export const openOwnNetns = (): NetnsHandle => handle(openNamespaceFd(OWN_NAMESPACE), "self");

/** A new namespace without a name: gone when the handle and everything in it are closed. */
export function createAnonymous(): NetnsHandle {
  const fd = inNewNetns(() => openNamespaceFd(OWN_NAMESPACE));
  return handle(fd, `/proc/${process.pid}/fd/${fd}`);
}

/** What Bun.spawn calls in, out and err streams. */
type Writable = Bun.SpawnOptions.Writable;
type Readable = Bun.SpawnOptions.Readable;

/** Starts a process in a namespace. Only its network is switched: /sys and /etc/resolv.conf stay as they are. */
export const spawnIn = <
  const In extends Writable = "ignore",
  const Out extends Readable = "pipe",
  const Err extends Readable = "inherit",
>(
  namespace: { readonly fd: number },
  argv: string[],
  options?: Bun.SpawnOptions.SpawnOptions<In, Out, Err>,
): Bun.Subprocess<In, Out, Err> => inNetns(namespace.fd, () => Bun.spawn(argv, options));

/** Like spawnIn, and waits for the end. */
export const spawnSyncIn = (
  namespace: { readonly fd: number },
  argv: string[],
): Bun.SyncSubprocess<"pipe", "pipe"> =>
  inNetns(namespace.fd, () => Bun.spawnSync(argv, { stdout: "pipe", stderr: "pipe" }));

function handle(fd: number, path: string): NetnsHandle {
  if (!isNetworkNamespace(fd)) {
    closeSync(fd);
    throw new WeftError("not-found", `${path} is not a network namespace`, {
      object: path,
      hint: "It may be left from a namespace that was only half made or that another mount namespace removed.",
    });
  }
  const stat = fstatSync(fd);
  let open = true;
  return {
    path,
    fd,
    identity: `${stat.dev}:${stat.ino}`,
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
