/** Watching a namespace: what the multicast groups of the routing protocol say (../netlink/multicast.ts). */
import { NETLINK } from "../netlink/index.ts";
import { watchMulticast } from "../netlink/multicast.ts";
import type { KernelEvent, WatchOptions } from "../port.ts";
import { linkNameOf } from "../sys/socket.ts";
import { RTNLGRP } from "./constants.ts";
import { decodeEvent } from "./event.ts";

const GROUPS = Object.values(RTNLGRP).reduce((mask, group) => mask | (1 << (group - 1)), 0);
const MAILBOX_BUFFER = 4 << 20;

export interface WatchSettings extends WatchOptions {
  /** Bytes of the kernel's queue for us. Default 4 MiB: some thousands of events. */
  readonly receiveBuffer?: number;
}

/** Events of the namespace, and of those it has an id for, until the returned function is called. */
export function watch(
  namespace: { readonly fd: number },
  listener: (event: KernelEvent) => void,
  settings: WatchSettings = {},
): () => void {
  return watchMulticast<KernelEvent>({
    namespace: namespace.fd,
    protocol: NETLINK.route,
    groups: GROUPS,
    allNamespaces: settings.allNamespaces === true,
    receiveBuffer: settings.receiveBuffer ?? MAILBOX_BUFFER,
    decode(messages, nsid, fd) {
      const nameOf = (index: number): string | undefined =>
        nsid === undefined ? linkNameOf(fd, index) : undefined;
      return messages.flatMap((message) => decodeEvent(message, nsid, nameOf) ?? []);
    },
    listener,
    lost: { kind: "overflow" },
  });
}
