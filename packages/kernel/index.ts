/** The Linux kernel. The interfaces are in port.ts, what they promise in conformance.ts. */
import { createConntrack } from "./conntrack/index.ts";
import { createNftables } from "./nftables/index.ts";
import { watchNftables } from "./nftables/watch.ts";
import type { Kernel, KernelEvent, WatchOptions } from "./port.ts";
import {
  LinkRemover,
  openNamespace,
  openOwnNamespace,
  type RealNamespace,
  watch,
} from "./rtnetlink/index.ts";

export * from "./port.ts";
export { hasErrno, SysError } from "./sys/errno.ts";

export interface KernelOptions {
  /** Where /proc/sys can be written, when not there: a container that is not privileged gets it by another mount. */
  readonly sysctls?: string;
}

export interface RealKernel extends Kernel {
  readonly self: RealNamespace;
  /** Opens a namespace by path ("/run/netns/x", "/proc/7/ns/net"). "not-found" when the path names none. */
  open(path: string): RealNamespace;
  /** Stops the watches and closes `self`; namespaces that were opened are closed by whom opened them. */
  close(): void;
}

/**
 * The kernel of this machine, seen from the network namespace of the calling thread.
 *
 *     const kernel = openKernel();
 *     const pod = kernel.open("/run/netns/web");
 *     pod.replaceRoute({ destination: parsePrefix("0.0.0.0/0"), gateway: parseIp("169.254.1.1"), link: "eth0" });
 */
export function openKernel({ sysctls }: KernelOptions = {}): RealKernel {
  const remover = new LinkRemover();
  const self = openOwnNamespace(remover, sysctls);
  const nftables = createNftables(self);
  const conntrack = createConntrack(self);
  const stops = new Set<() => void>();
  return {
    self,
    nftables,
    conntrack,
    open: (path) => openNamespace(path, remover, sysctls),
    watch(listener: (event: KernelEvent) => void, options: WatchOptions = {}): () => void {
      // Whoever waits for a link to go hears of it here first.
      const stop = watch(
        self,
        (event) => {
          if (event.kind === "link" && event.change === "gone" && event.nsid === undefined) {
            if (event.linkIndex !== undefined) remover.gone(event.linkIndex);
          }
          listener(event);
        },
        options,
      );
      remover.hears(self.identity);
      const stopNftables = options.rulesets === false ? () => {} : watchNftables(self, listener);
      const stopBoth = (): void => {
        stops.delete(stopBoth);
        stop();
        stopNftables();
      };
      stops.add(stopBoth);
      return stopBoth;
    },
    close() {
      for (const stop of stops) stop();
      stops.clear();
      nftables.close();
      conntrack.close();
      self.close();
    },
  };
}
