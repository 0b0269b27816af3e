/** Makes a planned underlay in the kernel, and removes it in whatever state it is. */
import { isExists, isNotFound, WeftError } from "@weft/base";
import type { NetworkNamespace } from "@weft/kernel";
import { createNamed, deleteNamed, listNamed, namedPath, spawnSyncIn } from "@weft/kernel/netns";
import { createNftables } from "@weft/kernel/nftables";
import { openNamespace } from "@weft/kernel/rtnetlink";
import {
  linkSysctls,
  namespaceSysctls,
  nodeScripts,
  parseBareCounters,
  SPINE_TABLE,
  type Sysctls,
  spineScript,
} from "./hostile.ts";
import {
  type LinkEnd,
  namespaceName,
  ownsNamespace,
  type PlannedNamespace,
  type Topology,
} from "./topology.ts";

/** rtm_protocol of an administrator's routes: these are none of the agent's. */
const STATIC = 4;

/** Makes everything of the plan. On failure or abort some of it is there: removeNamespaces takes it away. */
export async function buildUnderlay(plan: Topology, aborted?: AbortSignal): Promise<void> {
  const handles = new Map<string, NetworkNamespace>();
  try {
    for (const planned of plan.namespaces) {
      await breathe();
      aborted?.throwIfAborted();
      handles.set(planned.name, makeNamespace(planned));
    }
    const at = (name: string): NetworkNamespace => handles.get(name) as NetworkNamespace;
    for (const rack of plan.racks) {
      at(rack.namespace).createBridge(rack.bridge, rack.bridgeMac, 1500);
      at(rack.namespace).changeLink(rack.bridge, { up: true });
    }
    await makeLinks(plan, at, aborted);
    for (const end of plan.links.flatMap((l) => l.ends)) configureLink(at(end.namespace), end, plan);
    await makeFirewalls(plan, at);
  } finally {
    for (const handle of handles.values()) handle.close();
  }
}

function makeNamespace({ name, role }: PlannedNamespace): NetworkNamespace {
  try {
    createNamed(name);
  } catch (error) {
    if (!isExists(error)) throw error;
    throw new WeftError("exists", `the network namespace ${name} is there already`, {
      object: name,
      hint: "It is left from an earlier lab of this name: remove it with weft lab down.",
      cause: error,
    });
  }
  const namespace = openNamespace(namedPath(name));
  setSysctls(namespace, namespaceSysctls(role));
  namespace.changeLink("lo", { up: true });
  return namespace;
}

async function makeLinks(
  plan: Topology,
  at: (name: string) => NetworkNamespace,
  aborted?: AbortSignal,
): Promise<void> {
  const roles = new Map(plan.namespaces.map((n) => [n.name, n.role]));
  for (const { ends, mtu } of plan.links) {
    await breathe();
    aborted?.throwIfAborted();
    const [first, second] = ends;
    at(first.namespace).createVeth({
      name: first.name,
      mac: first.mac,
      mtu,
      peer: { name: second.name, mac: second.mac, mtu, namespace: at(second.namespace) },
    });
    for (const end of ends) {
      const namespace = at(end.namespace);
      setSysctls(namespace, linkSysctls(roles.get(end.namespace) ?? "node", end));
      namespace.changeLink(end.name, {
        up: true,
        ...(end.bridge === undefined ? {} : { master: end.bridge }),
      });
    }
    // A switch forwards only once the kernel has noticed the carrier, and for a veth whose ends have the same
    // index it looks once a second. Asking for the link makes it look now (rtnl_getlink, linkwatch_sync_dev).
    for (const end of ends) at(end.namespace).link(end.name);
  }
}

/** The administrator's part of a link that is up: its addresses, and the routes over it. */
export function configureLink(namespace: NetworkNamespace, end: LinkEnd, plan: Topology): void {
  for (const address of end.addresses) namespace.replaceAddress({ link: end.name, address });
  if (end.name !== "eth0") return;
  for (const route of plan.routes) {
    if (route.namespace !== end.namespace) continue;
    const { destination, gateway } = route;
    namespace.replaceRoute({ destination, gateway, link: end.name, protocol: STATIC });
  }
}

async function makeFirewalls(plan: Topology, at: (name: string) => NetworkNamespace): Promise<void> {
  const run = (namespace: string, script: string): Promise<void> => createNftables(at(namespace)).run(script);
  await run(namespaceName(plan.options.name, "spine"), spineScript());
  for (const script of nodeScripts(plan)) {
    for (const node of plan.nodes) await run(node.namespace, script);
  }
}

/** Lets signals and timers have their turn: a large lab is many blocking calls. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setSysctls(namespace: NetworkNamespace, sysctls: Sysctls): void {
  for (const [key, value] of sysctls) {
    try {
      namespace.setSysctl(key, value);
    } catch (error) {
      // Without the module there is nothing to switch off.
      if (!isNotFound(error)) throw error;
    }
  }
}

/** Names of the namespaces of the lab that are there, half-made ones and pods' too. */
export const labNamespaces = (lab: string): string[] =>
  listNamed(namespaceName(lab, "")).filter((name) => ownsNamespace(lab, name));

/** Removes the lab's namespaces and with them every link in them. Processes in them must have ended. */
export function removeNamespaces(lab: string): string[] {
  const names = labNamespaces(lab);
  for (const name of names) deleteNamed(name);
  return names;
}

/** True if every namespace of the plan is there. */
export function isBuilt(plan: Topology): boolean {
  const present = new Set(labNamespaces(plan.options.name));
  return plan.namespaces.every((n) => present.has(n.name));
}

export interface BarePackets {
  readonly ipv4: number;
  readonly ipv6: number;
}

/** Packets that came to the spine with a pod address outside a tunnel. Throws "not-found" without such a lab. */
export function barePackets(lab: string): BarePackets {
  const namespace = openNamespace(namedPath(namespaceName(lab, "spine")));
  try {
    const { exitCode, stdout, stderr } = spawnSyncIn(namespace, [
      "nft",
      "--json",
      "list",
      "counters",
      "table",
      "inet",
      SPINE_TABLE,
    ]);
    if (exitCode !== 0) {
      throw new WeftError("unavailable", `cannot read the spine's counters: ${stderr.toString().trim()}`, {
        object: `lab ${lab}`,
        hint: "Make the lab anew with weft lab down and weft lab up.",
      });
    }
    return parseBareCounters(stdout.toString());
  } finally {
    namespace.close();
  }
}
