/** What a lab is: for its users, and for whoever tests it. */
import { WeftError } from "@weft/base";
import { namedPath } from "@weft/kernel/netns";
import { labNamespaces } from "./build.ts";
import { fetchStatus, tryStatus } from "./client.ts";
import { existing } from "./exec.ts";
import { type LabIo, requireRoot } from "./io.ts";
import { parseLabName } from "./options.ts";
import { bootId } from "./processes.ts";
import { statusText } from "./show.ts";
import { labPaths, listLabs, readRecord } from "./state.ts";
import { type LabStatus, notReady } from "./status.ts";
import { namespaceName, planTopology } from "./topology.ts";

/** Prints the status. Exit code 0 when everything is ready, 1 when not, 3 when there is no lab or it does not run. */
export async function labStatus(
  name: string,
  io: Pick<LabIo, "write">,
  options: { readonly json?: boolean } = {},
): Promise<number> {
  requireRoot();
  const lab = parseLabName(name);
  const condition = await readCondition(lab);
  if (options.json) io.write(`${JSON.stringify(condition, null, 2)}\n`);
  else if (condition.state === "up") io.write(statusText(condition.status, Date.now()));
  else io.write(`lab "${lab}": ${condition.message}\n`);
  if (condition.state !== "up") return 3;
  return notReady(condition.status).length === 0 ? 0 : 1;
}

/** What there is of a lab: the form of `status --json`. */
export type LabCondition =
  | { readonly state: "up"; readonly status: LabStatus }
  | { readonly state: "absent" | "partial" | "before-boot" | "unsupervised"; readonly message: string };

export async function readCondition(lab: string): Promise<LabCondition> {
  const record = readRecord(lab);
  if (record === undefined) {
    const some = listLabs().includes(lab) || labNamespaces(lab).length > 0;
    if (some)
      return { state: "partial", message: "half made; weft lab up makes it anew, weft lab down removes it" };
    const others = listLabs();
    const hint = others.length === 0 ? "" : ` (there are: ${others.join(", ")})`;
    return { state: "absent", message: `there is none${hint}; make it with weft lab up` };
  }
  if (record.bootId !== bootId()) {
    return {
      state: "before-boot",
      message: "the machine was started anew since, and nothing of it runs; weft lab up makes it again",
    };
  }
  if (!record.built) {
    return { state: "partial", message: "half made; weft lab up makes it anew, weft lab down removes it" };
  }
  const status = await tryStatus(lab);
  if (status !== undefined) return { state: "up", status };
  return {
    state: "unsupervised",
    message: `its supervisor does not answer (see ${labPaths(lab).supervisorLog}); weft lab up starts it again`,
  };
}

export interface LabNode {
  readonly name: string;
  readonly rack: string;
  readonly namespacePath: string;
  readonly addresses: readonly string[];
  readonly podCIDRs: readonly string[];
  readonly agentSocket: string;
  /** The agent's --root. */
  readonly root: string;
}

export interface LabPlan {
  readonly name: string;
  readonly nodes: readonly LabNode[];
  /** Pods with a network, in the order of namespace and name. */
  readonly pods: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly node: string;
    readonly hostNetwork: boolean;
    readonly ready: boolean;
    readonly namespacePath: string;
    /** Undefined for pods in their node's network. */
    readonly interface: string | undefined;
    readonly addresses: readonly string[];
    /** Images of its containers, "weft/echo" among them where it answers. */
    readonly containers: readonly string[];
  }[];
  readonly outside: { readonly namespacePath: string; readonly addresses: readonly string[] };
  readonly spine: { readonly namespacePath: string };
  /** Ranges that hold all pod addresses. */
  readonly clusterRanges: readonly string[];
}

/** Nodes of a lab, whether or not anything runs. Throws "not-found". */
export function labNodes(name: string): LabNode[] {
  const lab = parseLabName(name);
  const paths = labPaths(lab);
  return planTopology(existing(lab).options).nodes.map((node) => ({
    name: node.name,
    rack: node.rack,
    namespacePath: namedPath(node.namespace),
    addresses: node.addresses,
    podCIDRs: node.podCIDRs,
    agentSocket: paths.agentSocket(node.name),
    root: paths.node(node.name),
  }));
}

/** Where everything of a running lab is. Throws "not-found", or "unavailable" when it does not run. */
export async function labPlan(name: string): Promise<LabPlan> {
  requireRoot();
  const lab = parseLabName(name);
  const record = existing(lab);
  if (record.bootId !== bootId()) {
    throw new WeftError("unavailable", `lab "${lab}" is from before the machine was started`, {
      object: `lab ${lab}`,
      hint: "Make it again with weft lab up.",
    });
  }
  const topology = planTopology(record.options);
  const { pods } = await fetchStatus(lab);
  return {
    name: lab,
    nodes: labNodes(lab),
    pods: pods.flatMap((pod) =>
      pod.node === undefined || pod.namespacePath === undefined
        ? []
        : [
            {
              namespace: pod.namespace,
              name: pod.name,
              node: pod.node,
              hostNetwork: pod.hostNetwork,
              ready: pod.ready,
              namespacePath: pod.namespacePath,
              interface: pod.interface,
              addresses: pod.podIPs,
              containers: pod.containers.map((c) => c.image),
            },
          ],
    ),
    outside: {
      namespacePath: namedPath(namespaceName(lab, "outside")),
      addresses: topology.outside,
    },
    spine: { namespacePath: namedPath(namespaceName(lab, "spine")) },
    clusterRanges: topology.clusterRanges,
  };
}
