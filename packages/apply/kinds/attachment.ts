/**
 * A container's interface. The pair is one object with two ends in two namespaces, so one row makes, compares
 * and repairs both. The container's namespace is opened for the moment only: a descriptor or socket kept open
 * would keep the namespace alive after its container is gone, and the pair with it.
 */
import { isNotFound, WeftError } from "@weft/base";
import { type Kernel, LINK_PREFIX, type Link, type NetworkNamespace } from "@weft/kernel/port";
import type { AttachmentRow } from "@weft/model";
import type { KindContext, KindOps } from "../kind.ts";
import { hostSide } from "../pod/host-side.ts";
import { podSide } from "../pod/pod-side.ts";

interface Found {
  readonly key: string;
  readonly hostLink: string;
  readonly differences: readonly string[];
}

/** Names of pods' links: the prefix and eleven hexadecimal digits. */
const POD_LINK = new RegExp(`^${LINK_PREFIX}[0-9a-f]{11}$`);

export function attachmentOps({ kernel, table }: KindContext<"attachment">): KindOps<"attachment", Found> {
  return {
    update: (row) => withNamespace(kernel, row, (inside) => establish(kernel, row, inside)),
    delete: (row) => kernel.self.deleteLink(row.hostLink),
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
            differences: compare(kernel, row, link, addresses.get(row.hostLink) ?? []),
          });
        }
        if (rows !== undefined) return found;
        for (const link of links.values()) {
          if (link.kind !== "veth" || !POD_LINK.test(link.name)) continue;
          found.push({ key: `link ${link.name}`, hostLink: link.name, differences: [] });
        }
        return found;
      },
      keyOf: (f) => f.key,
      matches: (row, f) => f.key === row.workload && f.differences.length === 0,
      delete: (f) => kernel.self.deleteLink(f.hostLink),
    },
    describe: (_, f) => f.differences.join(", "),
  };
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

/** True if the pair's two ends are where they belong. */
function isPair(host: Link, inner: Link | undefined): boolean {
  return inner?.kind === "veth" && inner.peerIndex === host.index && host.peerIndex === inner.index;
}

function establish(kernel: Kernel, row: AttachmentRow, inside: NetworkNamespace): void | Promise<void> {
  const self = kernel.self;
  const host = self.link(row.hostLink);
  if (host !== undefined && !isPair(host, inside.link(row.interface))) {
    if (host.kind !== "veth") {
      throw new WeftError("exists", `link ${row.hostLink} is there and is no veth`, {
        object: row.workload,
        hint: `Something else made it; remove it with: ip link del ${row.hostLink}`,
      });
    }
    // The other end was taken away or renamed: a pair cannot be mended, only made again.
    return self.deleteLink(row.hostLink).then(() => establish(kernel, row, inside));
  }
  if (host === undefined) {
    if (inside.link(row.interface) !== undefined) {
      throw new WeftError("exists", `the container already has an interface ${row.interface}`, {
        object: row.workload,
        hint: "Another plugin made it, or an earlier ADD was never deleted: run DEL first.",
      });
    }
    self.createVeth({
      name: row.hostLink,
      mac: row.hostMac,
      mtu: row.mtu,
      alias: row.alias,
      addressGeneration: "none",
      peer: { name: row.interface, mac: row.mac, mtu: row.mtu, namespace: inside },
    });
  }
  hostSide.establish(self, row);
  podSide.establish(inside, row);
}

function compare(
  kernel: Kernel,
  row: AttachmentRow,
  host: Link,
  addresses: readonly { address: string }[],
): string[] {
  try {
    return withNamespace(kernel, row, (inside) => {
      const inner = inside.link(row.interface);
      if (inner === undefined) return [`${row.interface} is absent in the container`];
      if (!isPair(host, inner)) return [`${row.interface} in the container is another link`];
      return [...hostSide.compare(host, addresses, row), ...podSide.compare(inside, inner, row)];
    });
  } catch (error) {
    if (isNotFound(error)) return ["the container's namespace is gone"];
    throw error;
  }
}
