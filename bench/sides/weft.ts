/** Weft's side: a node's agent, in a namespace of its own. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type IpAddress, type IpWithLength, WeftError } from "@weft/base";
import { type NetworkConfigurationList, parseNetworkConfigurationList } from "@weft/cni/types";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { logTail, type Session, type Started } from "../session/session.ts";

const READY_MS = 30_000;

export interface ClusterNode {
  readonly name: string;
  readonly address: IpAddress;
  readonly podRange: string;
}

export interface WeftNode {
  readonly namespace: RealNamespace;
  readonly agent: Started;
  readonly list: NetworkConfigurationList;
  /** Where the plugin is. */
  readonly plugins: string;
}

/** Where the agent has the cluster from: manifests of these nodes, or an API server. */
export type Cluster = readonly ClusterNode[] | { readonly kubeconfig: string };

/** Starts the agent of `name` and waits until it takes pods. Throws "timeout" with the end of its log. */
export async function startWeft(
  session: Session,
  label: string,
  namespace: RealNamespace,
  name: string,
  cluster: Cluster,
  settings: object = {},
): Promise<WeftNode> {
  const root = join(session.directory, label);
  const plugins = join(root, "opt/cni/bin");
  const etc = join(root, "etc/weft");
  for (const directory of [plugins, join(etc, "cluster")]) mkdirSync(directory, { recursive: true });
  // As an installation does it: the shim is the plugin where there is one, and the executable stands beside it.
  const shim = `${session.weft}-cni`;
  symlinkSync(existsSync(shim) ? shim : session.weft, join(plugins, "weft"));
  symlinkSync(session.weft, join(plugins, "weft-loopback"));
  const source = "kubeconfig" in cluster ? ["--kubeconfig", cluster.kubeconfig] : [];
  if (!("kubeconfig" in cluster))
    writeFileSync(join(etc, "cluster/nodes.yaml"), cluster.map(nodeManifest).join("---\n"));
  writeFileSync(join(etc, "settings.yaml"), JSON.stringify({ clusterCIDRs: ["10.244.0.0/16"], ...settings }));
  const argv = [session.weft, "agent", "--node", name, "--root", root, ...source];
  const agent = session.start(namespace, label, argv);
  const conflist = join(root, "etc/cni/net.d/10-weft.conflist");
  const text = await appears(conflist, agent);
  if (text === undefined) {
    throw new WeftError("timeout", `the agent of ${name} was not ready in ${READY_MS / 1000} s`, {
      object: label,
      hint: `The end of its log:\n${await logTail(session, label)}`,
    });
  }
  return { namespace, agent, list: oneVersion(text), plugins };
}

/** JSON is YAML. */
function nodeManifest({ name, address, podRange }: ClusterNode): string {
  const node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { podCIDR: podRange, podCIDRs: [podRange] },
    status: { addresses: [{ type: "InternalIP", address }] },
  };
  return `${JSON.stringify(node, undefined, 2)}\n`;
}

/** The agent writes the configuration when it is ready, never before. */
async function appears(file: string, agent: Started): Promise<string | undefined> {
  let ended = false;
  void agent.exited.then(() => {
    ended = true;
  });
  for (const end = performance.now() + READY_MS; performance.now() < end && !ended; await Bun.sleep(20)) {
    try {
      return readFileSync(file, "utf8");
    } catch {
      // Not yet.
    }
  }
  return undefined;
}

/** Without the choice of versions, which would cost a call of VERSION: both sides speak 1.0.0. */
function oneVersion(text: string): NetworkConfigurationList {
  const { cniVersions: _, ...list } = JSON.parse(text) as Record<string, unknown>;
  return parseNetworkConfigurationList({ ...list, cniVersion: "1.0.0" } as Parameters<
    typeof parseNetworkConfigurationList
  >[0]);
}

/** A veth pair between two namespaces, each end up and with its address. */
export function connect(
  a: { readonly namespace: RealNamespace; readonly link: string; readonly address?: IpWithLength },
  b: { readonly namespace: RealNamespace; readonly link: string; readonly address?: IpWithLength },
  mac: (end: string) => import("@weft/base").Mac,
  mtu = 1500,
): void {
  a.namespace.createVeth({
    name: a.link,
    mac: mac(`${a.namespace.identity} ${a.link}`),
    mtu,
    peer: { name: b.link, mac: mac(`${b.namespace.identity} ${b.link}`), mtu, namespace: b.namespace },
  });
  for (const end of [a, b]) {
    end.namespace.changeLink(end.link, { up: true });
    if (end.address !== undefined) end.namespace.replaceAddress({ link: end.link, address: end.address });
  }
}
