/**
 * Makes a node as it was before Weft: removes what the agent made in the kernel and on the disk, then looks again and
 * says what is left. The order is that of a retreat:
 *
 *   network configuration -> plugin files -> rules -> routes -> links -> nftables tables -> state directories
 *
 * so that no pod is sent to a plugin that is going, and the pods' check of sources stands as long as their links do.
 *
 * Sysctls stay as they are (ip_forward, forwarding, accept_ra): what stood there before is not known, and others may
 * have come to rely on them.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { describeError, WeftError } from "@weft/base";
import { type Kernel, LINK_PREFIX, type NftFamily, ROUTE_PROTOCOL } from "@weft/kernel/port";
import { SOCKET_PATH } from "@weft/plugin-weft";
import { asideIn, putBack } from "./aside.ts";
import { LOOPBACK, LOOPBACK_TARGET, PLUGIN_FILES } from "./place.ts";

export interface CleanupOptions {
  readonly kernel: Kernel;
  /** Prefix of all paths, without a slash at its end. */
  readonly root: string;
  /** Also when pods are attached, who then lose their network. */
  readonly force: boolean;
}

export interface CleanupReport {
  /** What was there and is gone: "link weft-vxlan", "file /opt/cni/bin/weft". */
  readonly removed: readonly string[];
  /** What could not be removed, each with the reason. Empty: the node is clean. */
  readonly left: readonly string[];
}

/** The node's end of a pod's pair; "weft-..." are the node's own devices. */
const POD_LINK = new RegExp(`^${LINK_PREFIX}[0-9a-f]{11}$`);
const OWN_LINK = new RegExp(`^${LINK_PREFIX}(-|[0-9a-f]{11}$)`);
const FAMILIES: readonly NftFamily[] = ["inet", "arp", "ip", "ip6", "netdev", "bridge"];

const CONFIGURATION = "/etc/cni/net.d";

interface Leftover {
  readonly what: string;
  readonly remove: () => void | Promise<void>;
}

/** Throws "busy" while pods are attached, unless forced. The agent must have ended. */
export async function cleanNode(options: CleanupOptions): Promise<CleanupReport> {
  const pods = options.kernel.self.links().filter((link) => POD_LINK.test(link.name));
  if (pods.length > 0 && !options.force) {
    const some = pods.slice(0, 4).map((link) => link.name);
    throw new WeftError("busy", `${pods.length} pods are attached to Weft on this node: ${some.join(", ")}`, {
      hint: "Remove or move them first (kubectl drain), or use --force: they lose their network then.",
    });
  }
  const removed: string[] = [];
  const failed = new Map<string, string>();
  for (const { what, remove } of leftovers(options)) {
    try {
      await remove();
      removed.push(what);
    } catch (error) {
      failed.set(what, describeError(error));
    }
  }
  const again = leftovers(options);
  const left = again.map(({ what }) => {
    const why = failed.get(what);
    return why === undefined ? what : `${what}: ${why}`;
  });
  const still = new Set(again.map(({ what }) => what));
  return { removed: removed.filter((what) => !still.has(what)), left };
}

/** What of Weft is on the node, in the order in which it must go. */
export function leftovers({ kernel, root }: Omit<CleanupOptions, "force">): Leftover[] {
  const { configuration, plugins, state } = filesOf(root);
  return [...configuration, ...plugins, ...inKernel(kernel), ...state];
}

function inKernel({ self, nftables }: Kernel): Leftover[] {
  const rules = self
    .rules()
    .filter((r) => r.protocol === ROUTE_PROTOCOL)
    .map((r) => ({ what: `rule from ${r.from} table ${r.table}`, remove: () => self.deleteRule(r) }));
  const routes = self.routes({ protocol: ROUTE_PROTOCOL }).map((r) => ({
    what: `route ${r.destination} table ${r.table} metric ${r.metric}`,
    remove: () => self.deleteRoute(r),
  }));
  const links = self
    .links()
    .filter(({ name }) => OWN_LINK.test(name))
    .map(({ name }) => ({ what: `link ${name}`, remove: () => self.deleteLink(name) }));
  const names = new Set(["weft", ...nftables.baseChains().map((c) => c.table)]);
  const tables = [...names]
    .filter((table) => /^weft(-|_|$)/.test(table))
    .flatMap((table) => FAMILIES.map((family) => [family, table] as const))
    .filter(([family, table]) => nftables.tableExists(family, table))
    .map(([family, table]) => ({
      what: `table ${family} ${table}`,
      remove: () => nftables.run(`delete table ${family} ${table}\n`),
    }));
  return [...rules, ...routes, ...links, ...tables];
}

function filesOf(root: string): Record<"configuration" | "plugins" | "state", Leftover[]> {
  const file = (path: string): Leftover => ({
    what: `file ${path}`,
    remove: () => rmSync(join(root, path), { recursive: true, force: true }),
  });
  const matching = (directory: string, pattern: RegExp): Leftover[] => {
    const inside = join(root, directory);
    if (!existsSync(inside)) return [];
    const names = readdirSync(inside).filter((name) => pattern.test(name));
    return names.map((name) => file(join(directory, name)));
  };
  const plugins = PLUGIN_FILES.join("|");
  return {
    configuration: [
      ...matching(CONFIGURATION, /^10-weft\.conflist((\.\d+)?\.tmp)?$/),
      ...asideIn(join(root, CONFIGURATION)).map((name) => ({
        what: `${name} in place of its network's own file`,
        remove: () => putBack(join(root, CONFIGURATION), name),
      })),
    ],
    plugins: [
      ...(isOurLoopback(join(root, "/opt/cni/bin", LOOPBACK)) ? [file(`/opt/cni/bin/${LOOPBACK}`)] : []),
      ...matching("/opt/cni/bin", new RegExp(`^(${plugins}|\\.(${plugins})\\.new)$`)),
    ],
    state: [dirname(SOCKET_PATH), "/var/lib/weft"].filter((p) => existsSync(join(root, p))).map(file),
  };
}

function isOurLoopback(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isSymbolicLink() === true && readlinkSync(path) === LOOPBACK_TARGET;
}

/** Where the agent of a node with that root listens. */
export const socketBelow = (root: string): string => join(root, SOCKET_PATH);
