/**
 * Weft as a user would put it on a node by hand: the executable as plugin and agent, settings, and credentials for the
 * API server. A node's own do not do: they may not read other nodes.
 */
import { existsSync, linkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import type { Cluster, Node } from "../cluster.ts";
import { WEFT } from "../paths.ts";
import type { Network } from "./network.ts";

export interface WeftSettings {
  readonly backend: "auto" | "direct" | "vxlan";
}

const SETTINGS = "/etc/weft/settings.yaml";
const KUBECONFIG = "/etc/weft/kubeconfig";
const USER = "weft-agent";
/** The agent's service on a node's machine. */
export const AGENT = "weft";

export function weftNetwork(settings: WeftSettings): Network {
  let rights: Promise<void> | undefined;
  return {
    async install(cluster, { machine, name }) {
      // The plugin's shim where there is one: it becomes weft-loopback, the executable, when it has to.
      const shim = existsSync(`${WEFT}-cni`) ? `${WEFT}-cni` : WEFT;
      for (const [plugin, source] of Object.entries({ weft: shim, "weft-loopback": WEFT })) {
        const file = join(machine.directory, "opt/cni/bin", plugin);
        rmSync(file, { force: true });
        linkSync(source, file);
      }
      // Once: nodes that start together would all create them.
      rights ??= cluster.apply(...RIGHTS);
      await rights;
      await machine.write(SETTINGS, settings);
      await machine.write(KUBECONFIG, await cluster.kubeconfig(`${name}-weft`, USER));
      machine.service(AGENT, ["weft", "agent", "--node", name, "--kubeconfig", KUBECONFIG]).start();
    },
    async masquerades({ machine }) {
      const { stdout } = await machine.attempt(["nft", "list", "table", "inet", "weft-masquerade"]);
      return stdout.includes("masquerade");
    },
  };
}

const API = "rbac.authorization.k8s.io";

const RIGHTS = [
  {
    apiVersion: `${API}/v1`,
    kind: "ClusterRole",
    metadata: { name: USER },
    rules: [
      { apiGroups: [""], resources: ["nodes", "pods", "services"], verbs: ["get", "list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"] },
      { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["get", "list", "watch"] },
      { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
    ],
  },
  {
    apiVersion: `${API}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: USER },
    roleRef: { apiGroup: API, kind: "ClusterRole", name: USER },
    subjects: [{ apiGroup: API, kind: "User", name: USER }],
  },
];

/** Other settings on every node; agents read them by themselves. */
export async function changeSettings(cluster: Cluster, settings: WeftSettings): Promise<void> {
  await Promise.all(cluster.nodes.map(({ machine }) => machine.write(SETTINGS, settings)));
}

/** What Weft's agent on a node says of itself; the parts that tests look at. */
export interface WeftStatus {
  readonly ready: boolean;
  readonly waitingFor?: string;
  readonly peers: readonly {
    readonly node: string;
    readonly block: string;
    readonly backend: string;
    readonly via?: string;
  }[];
  readonly workloads: readonly {
    readonly containerId: string;
    readonly podNamespace?: string;
    readonly podName?: string;
    readonly podUid?: string;
    readonly addresses: readonly string[];
  }[];
  readonly blocks: readonly { readonly prefix: string; readonly used: number }[];
  readonly plan: readonly {
    readonly kind: string;
    readonly rows: number;
    readonly errors: number;
    readonly items: readonly { readonly origin: { readonly name: string; readonly uid?: string } }[];
  }[];
  readonly problems: readonly unknown[];
  readonly settings: { readonly backend: string };
  readonly services: {
    readonly state: string;
    readonly why?: string;
    readonly frontends: number;
    readonly plan: readonly { readonly rows: number; readonly done: number }[];
  };
  readonly source: string;
  readonly sourceErrors: readonly string[];
}

/** Throws "unavailable" when the agent does not answer. */
export async function weftStatus({ machine }: Node): Promise<WeftStatus> {
  const { stdout, stderr } = await machine.attempt(["weft", "status", "--json"]);
  const answer = JSON.parse(stdout || "{}") as { agents?: WeftStatus[] };
  const status = answer.agents?.[0];
  if (status === undefined) {
    throw new WeftError("unavailable", `the agent on ${machine.name} does not answer: ${stderr.trim()}`);
  }
  return status;
}
