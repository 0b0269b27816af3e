/**
 * Weft as a user puts it on a cluster: its image on the nodes, then `weft install --apply`. The nodes have no registry:
 * the image is imported into each, and never pulled.
 */
import { WeftError } from "@weft/base";
import { importImage } from "../cluster/node.ts";
import type { Cluster, Node } from "../cluster.ts";
import type { CommandOptions, Outcome } from "../command.ts";
import { WEFT_IMAGE } from "../images/images.ts";
import type { Network } from "./network.ts";

export interface WeftSettings {
  readonly backend: "auto" | "direct" | "vxlan";
}

export const WEFT_NAMESPACE = "weft-system";
const KUBECONFIG = "/etc/kubernetes/admin.conf";

export function weftNetwork(settings: WeftSettings): Network {
  let installed: Promise<string> | undefined;
  return {
    async install(cluster, node) {
      await importImage(node.machine, cluster.programs.weftImage);
      // Once: the agents come to later nodes by themselves.
      installed ??= weftInstall(cluster, "--no-wait", "--backend", settings.backend);
      await installed;
    },
    async masquerades({ machine }) {
      const { stdout } = await machine.attempt(["nft", "list", "table", "inet", "weft-masquerade"]);
      return stdout.includes("masquerade");
    },
  };
}

/** `weft install --apply`, as the administrator. Throws with its words when it fails. */
export function weftInstall(cluster: Cluster, ...words: readonly string[]): Promise<string> {
  const command = ["weft", "install", "--apply", "--kubeconfig", KUBECONFIG];
  const image = [
    "--image-pull-policy",
    "Never",
    ...(words.includes("--image") ? [] : ["--image", WEFT_IMAGE]),
  ];
  return cluster.controlPlane.exec([...command, ...image, ...words], LONG);
}

/** Any `weft` command as the administrator, whatever comes of it. */
export function weftAttempt(cluster: Cluster, ...words: readonly string[]): Promise<Outcome> {
  return cluster.controlPlane.attempt(["weft", ...words, "--kubeconfig", KUBECONFIG], LONG);
}

const LONG: CommandOptions = { timeout: 400_000 };

/** Other settings; agents read them by themselves once their nodes have them. */
export async function changeSettings(cluster: Cluster, settings: WeftSettings): Promise<void> {
  await weftInstall(cluster, "--no-wait", "--backend", settings.backend);
}

/** Sends a signal to Weft's agent or controller on a node. True if there was one. */
export async function signalWeft(
  { machine }: Node,
  role: "agent" | "controller",
  signal: "KILL" | "STOP" | "CONT",
): Promise<boolean> {
  const script = `for p in /proc/[0-9]*; do
    case "$(tr '\\0' ' ' < $p/cmdline 2> /dev/null)" in
      "/bin/weft ${role} --"*) kill -${signal} "\${p#/proc/}" && echo done ;;
    esac
  done; true`;
  return (await machine.exec(["sh", "-c", script])) !== "";
}

/** Ends the agent's process on a node without warning; the kubelet starts it again. True if there was one. */
export const killAgent = (node: Node): Promise<boolean> => signalWeft(node, "agent", "KILL");

/** What Weft's agent on a node says of itself; the parts that tests look at. */
export interface WeftStatus {
  readonly version: string;
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
