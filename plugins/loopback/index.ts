/**
 * The loopback plugin: brings `lo` up in the container's namespace, which container runtimes expect to be done by the
 * first network of a pod. The kernel then gives it 127.0.0.1/8 and, where IPv6 is on, ::1/128.
 *
 * The interface is `lo` whatever CNI_IFNAME says. DEL brings it down again, and succeeds when the namespace is gone.
 */
import { isNotFound, WeftError } from "@weft/base";
import {
  type AddRequest,
  type CheckRequest,
  CNI_VERSIONS,
  CniError,
  type DelRequest,
  OWN_CODE,
  type Plugin,
  type Result,
} from "@weft/cni";
import type { Kernel, NetworkNamespace } from "@weft/kernel";

const LOOPBACK = "lo";

/** How to get at the kernel: called when the first namespace is opened, so that VERSION never loads it. */
export type KernelFactory = () => Kernel | Promise<Kernel>;

export function loopbackPlugin(openKernel: KernelFactory): Plugin {
  /** Runs `body` in the namespace. Throws CniError 104 when there is none. */
  const within = async <T>(path: string, body: (namespace: NetworkNamespace) => T): Promise<T> => {
    const kernel = await openKernel();
    let namespace: NetworkNamespace;
    try {
      namespace = kernel.open(path);
    } catch (cause) {
      if (!isNotFound(cause)) throw cause;
      throw new CniError(OWN_CODE.namespaceNotFound, `CNI_NETNS ${path} is no network namespace`, { cause });
    }
    try {
      return body(namespace);
    } finally {
      namespace.close();
    }
  };

  return {
    name: "loopback",
    about: "Weft's CNI plugin loopback: brings up the loopback interface of a container",
    versions: CNI_VERSIONS,
    add: ({ networkNamespace, previousResult }: AddRequest) =>
      within(networkNamespace, (namespace) => {
        namespace.changeLink(LOOPBACK, { up: true });
        return previousResult ?? describe(namespace, networkNamespace);
      }),
    check: ({ networkNamespace }: CheckRequest) => within(networkNamespace, checkUp),
    async del({ networkNamespace }: DelRequest) {
      if (networkNamespace === undefined) return;
      try {
        await within(networkNamespace, (namespace) => namespace.changeLink(LOOPBACK, { up: false }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
  };
}

function loopbackOf(namespace: NetworkNamespace) {
  const link = namespace.link(LOOPBACK);
  if (link === undefined)
    throw new WeftError("not-found", "there is no interface lo", { object: namespace.path });
  return link;
}

/** The result of ADD, read back from the kernel. */
function describe(namespace: NetworkNamespace, path: string): Result {
  const link = loopbackOf(namespace);
  return {
    interfaces: [{ name: LOOPBACK, mac: link.mac ?? "00:00:00:00:00:00", mtu: link.mtu, sandbox: path }],
    ips: namespace.addresses(LOOPBACK).map(({ address }) => ({ address, interface: 0 })),
    routes: [],
    dns: {},
  };
}

function checkUp(namespace: NetworkNamespace): void {
  if (!loopbackOf(namespace).up) {
    throw new CniError(OWN_CODE.checkFailed, "the interface lo is down", {
      hint: "Something in the container brought it down, or ADD never ran.",
    });
  }
  const addresses: readonly string[] = namespace.addresses(LOOPBACK).map((a) => a.address);
  if (!addresses.includes("127.0.0.1/8")) {
    throw new CniError(OWN_CODE.checkFailed, "the interface lo has no address 127.0.0.1/8", {
      details: `It has ${addresses.join(", ") || "none"}`,
    });
  }
}
