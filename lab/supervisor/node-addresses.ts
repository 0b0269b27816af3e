/** Addresses of a node as it has them now: who reports a node asks its kernel, not the plan. */
import { describeError, type IpAddress, type Logger, prefixIp } from "@weft/base";
import { namedPath } from "@weft/kernel/netns";
import { openNamespace, watch } from "@weft/kernel/rtnetlink";
import type { PlannedNode } from "../topology.ts";

/** Link of a node to its rack. */
const UPLINK = "eth0";

export interface NodeAddresses {
  /** IPv4 first, one of each family; as planned while the link has none. */
  readonly current: () => readonly IpAddress[];
  readonly stop: () => void;
}

export function watchAddresses(node: PlannedNode, changed: () => void, logger: Logger): NodeAddresses {
  try {
    const handle = openNamespace(namedPath(node.namespace));
    const stop = watch(handle, (event) => {
      if (event.kind === "overflow" || event.kind === "address") changed();
    });
    const current = (): readonly IpAddress[] => {
      try {
        const found = handle.addresses(UPLINK).map(({ address }) => prefixIp(address));
        // In the kernel's order: what it would send from comes first.
        const own = found.filter((ip) => !/^fe[89ab]/.test(ip));
        const families = [own.find((ip) => !ip.includes(":")), own.find((ip) => ip.includes(":"))];
        const one = families.filter((ip) => ip !== undefined);
        return one.length > 0 ? one : node.addresses;
      } catch (error) {
        logger.warn("a node's addresses cannot be read", { node: node.name, error: describeError(error) });
        return node.addresses;
      }
    };
    return {
      current,
      stop: () => {
        stop();
        handle.close();
      },
    };
  } catch (error) {
    logger.warn("a node's addresses are not watched", { node: node.name, error: describeError(error) });
    return { current: () => node.addresses, stop: () => {} };
  }
}
