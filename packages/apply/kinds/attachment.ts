/**
 * A container's interface. The pair is one object with two ends in two namespaces, so one row makes, compares
 * and repairs both. The container's namespace is opened for the moment only: a descriptor or socket kept open
 * would keep the namespace alive after its container is gone, and the pair with it.
 */
import { describeError, isNotFound, WeftError } from "@weft/base";
import { type Address, type Kernel, LINK_PREFIX, type Link, type NetworkNamespace } from "@weft/kernel/port";
import type { AttachmentRow } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";
import { hostSide } from "../pod/host-side.ts";
import { podSide } from "../pod/pod-side.ts";

interface Found {
  readonly key: string;
  readonly hostLink: string;
  readonly index: number;
  readonly differences: readonly string[];
}

/** Names of pods' links: the prefix and eleven hexadecimal digits. */
const POD_LINK = new RegExp(`^${LINK_PREFIX}[0-9a-f]{11}$`);

export function attachmentOps(context: KindContext<"attachment">): KindOps<"attachment", Found> {
  const { kernel, table } = context;
  /** Pairs on their way out, by the node's end. */
  const leaving = new Map<string, Promise<void>>();
  const remove = (hostLink: string): Promise<void> => {
    const gone = deletePair(kernel.self, hostLink).finally(() => leaving.delete(hostLink));
    leaving.set(hostLink, gone);
    return gone;
  };
  const update = (row: AttachmentRow, previous: AttachmentRow | undefined): void | Promise<void> => {
    const left =
      previous === undefined || previous.hostLink === row.hostLink
        ? leaving.get(row.hostLink)
        : remove(previous.hostLink);
    if (left !== undefined) return left.then(() => update(row, undefined));
    return withNamespace(kernel, row, (inside) => establish(context, row, previous, inside));
  };
  return {
    update,
    delete: (row) => remove(row.hostLink),
    actual: {
      list(rows) {
        const wanted = rows ?? [...table.rows()];
        const links = new Map(
          (rows === undefined
            ? kernel.self.links()
            : rows.flatMap((r) => kernel.self.link(r.hostLink) ?? [])
          ).map((l) => [l.name, l]),
        );
        const all =
          rows === undefined
            ? kernel.self.addresses()
            : [...links.keys()].flatMap((l) => kernel.self.addresses(l));
        const addresses = Map.groupBy(all, (a) => a.link);
        const found: Found[] = [];
        for (const row of wanted) {
          const link = links.get(row.hostLink);
          if (link === undefined) continue;
          links.delete(row.hostLink);
          found.push({
            key: row.workload,
            hostLink: row.hostLink,
            index: link.index,
            differences: compare(kernel, row, link, addresses.get(row.hostLink) ?? []),
          });
        }
        if (rows !== undefined) return found;
        for (const link of links.values()) {
          if (link.kind !== "veth" || !POD_LINK.test(link.name)) continue;
          found.push({
            key: `link ${link.name}`,
            hostLink: link.name,
            index: link.index,
            differences: [],
          });
        }
        return found;
      },
      keyOf: (f) => f.key,
      matches: (row, f) => f.key === row.workload && f.differences.length === 0,
      async delete(f) {
        // The name may have come to be somebody's since the links were listed.
        const wanted = [...table.rows()].some((row) => row.hostLink === f.hostLink);
        if (!wanted && kernel.self.link(f.hostLink)?.index === f.index) await remove(f.hostLink);
      },
    },
    describe: (_, f) => f.differences.join(", "),
  };
}

/** Deletes a container's pair by the node's end. A link of another kind in its place is not ours, and stays. */
export async function deletePair(self: NetworkNamespace, hostLink: string): Promise<void> {
  if (self.link(hostLink)?.kind === "veth") await self.deleteLink(hostLink);
}

/** Opens the container's namespace and makes sure that the path still names the one we were given. */
export function withNamespace<T>(
  kernel: Kernel,
  row: AttachmentRow,
  run: (inside: NetworkNamespace) => T,
): T {
  const inside = kernel.open(row.namespacePath);
  const close = (): void => inside.close();
  let result: T;
  try {
    if (inside.identity !== row.namespaceIdentity) {
      throw new WeftError("not-found", `${row.namespacePath} names another namespace than at ADD`, {
        object: row.workload,
        hint: "The container is gone; delete its attachment.",
      });
    }
    result = run(inside);
  } catch (error) {
    close();
    throw error;
  }
  if (result instanceof Promise) return result.finally(close) as T;
  close();
  return result;
}

/** True if the pair's two ends are where they belong. Indexes alone can be the same by chance or by intent. */
function isPair(kernel: Kernel, inside: NetworkNamespace, host: Link, inner: Link | undefined): boolean {
  return (
    inner?.kind === "veth" &&
    inner.peerIndex === host.index &&
    host.peerIndex === inner.index &&
    host.peerNsid === kernel.self.nsidOf(inside)
  );
}

function establish(
  context: KindContext<"attachment">,
  row: AttachmentRow,
  previous: AttachmentRow | undefined,
  inside: NetworkNamespace,
): void | Promise<void> {
  const { kernel } = context;
  const self = kernel.self;
  const host = self.link(row.hostLink);
  if (host !== undefined && !isPair(kernel, inside, host, inside.link(row.interface))) {
    if (host.kind !== "veth") {
      throw new WeftError("exists", `link ${row.hostLink} is there and is no veth`, {
        object: row.workload,
        hint: `Something else made it; remove it with: ip link del ${row.hostLink}`,
      });
    }
    // The other end was taken away or renamed: a pair cannot be mended, only made again.
    return self.deleteLink(row.hostLink).then(() => {
      make(kernel, row, inside);
      hostSide.establish(self, row);
      return both(podSide.establish(inside, row), context.disturbed(row.hostLink));
    });
  }
  if (host === undefined) make(kernel, row, inside);
  const lost = hostSide.establish(self, row);
  const usable = podSide.establish(inside, row);
  if (previous !== undefined) podSide.retire(inside, previous, row);
  const isOld = host !== undefined;
  return (isOld && lost) || (!isOld && previous !== undefined)
    ? both(usable, context.disturbed(row.hostLink))
    : usable;
}

const both = async (...all: readonly (Promise<void> | undefined)[]): Promise<void> => {
  await Promise.all(all);
};

function make(kernel: Kernel, row: AttachmentRow, inside: NetworkNamespace): void {
  if (inside.link(row.interface) !== undefined) {
    throw new WeftError("exists", `the container already has an interface ${row.interface}`, {
      object: row.workload,
      hint: "Another plugin made it, or an earlier ADD was never deleted: run DEL first.",
    });
  }
  kernel.self.createVeth({
    name: row.hostLink,
    mac: row.hostMac,
    mtu: row.mtu,
    alias: row.alias,
    peer: { name: row.interface, mac: row.mac, mtu: row.mtu, namespace: inside },
  });
}

function compare(kernel: Kernel, row: AttachmentRow, host: Link, addresses: readonly Address[]): string[] {
  try {
    return withNamespace(kernel, row, (inside) => {
      const inner = inside.link(row.interface);
      if (inner === undefined) return [`${row.interface} is absent in the container`];
      if (!isPair(kernel, inside, host, inner)) return [`${row.interface} in the container is another link`];
      return [...hostSide.compare(host, addresses, row), ...podSide.compare(inside, inner, row)];
    });
  } catch (error) {
    if (isNotFound(error)) return ["the container's namespace is gone"];
    // One container that cannot be read must not hide the others: its own update tells why.
    return [`cannot be read: ${describeError(error)}`];
  }
}
