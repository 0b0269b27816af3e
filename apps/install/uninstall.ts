/**
 * Takes Weft out of a cluster and off its nodes:
 *
 *   pods on its network? -> stop controllers and agents -> clean every node -> look what is left -> remove the rest
 *
 * A node is cleaned by a pod of its own (objects/cleanup.ts), which looks again afterwards and fails when something is
 * left. Whatever fails leaves the cluster such that the same command goes on from there.
 */
import { isNotFound, WeftError } from "@weft/base";
import {
  type ApiClient,
  createObject,
  deleteObject,
  IP_POOLS,
  LEASES,
  listAll,
  NODES,
  PODS,
  patchObject,
  type Resource,
} from "@weft/cluster/client";
import { API_GROUP, POOL_FINALIZER } from "@weft/model";
import { cleanupPod } from "./objects/cleanup.ts";
import { installObjects } from "./objects/index.ts";
import { MANAGED_LABEL, NAME_LABEL, NAMES, selectorText, UNINSTALLING } from "./objects/labels.ts";
import { getIfThere, listNodes, type NodeObject, type PodObject, podFault, podsOf } from "./observe.ts";
import { checkOptions, type InstallOptions } from "./options.ts";
import {
  CUSTOM_RESOURCES,
  DAEMONSETS,
  DEPLOYMENTS,
  NAMESPACES,
  nameOf,
  placeOf,
  resourceOf,
} from "./resources.ts";

export interface UninstallOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  /** Also while pods are on the network, which lose it. */
  readonly force: boolean;
  /** False: only say what would be done. */
  readonly apply: boolean;
  /** Of the clean-up; the agents' own when undefined. */
  readonly image: string | undefined;
  /** Milliseconds for the agents to end, and for the nodes to be cleaned. */
  readonly timeout: number;
  readonly onStep: (step: Step) => void;
  readonly every?: number;
}

/** What a clean-up of nodes needs. */
export type CleanOptions = Pick<UninstallOptions, "client" | "namespace" | "force" | "timeout" | "every">;

export interface Step {
  readonly object: string;
  readonly action: string;
}

export interface UninstallReport {
  readonly steps: readonly Step[];
  /** Nodes that were cleaned, and checked to be. */
  readonly nodes: readonly string[];
}

interface AgentTemplate {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly image: string;
          readonly imagePullPolicy?: InstallOptions["imagePullPolicy"];
        }[];
        readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
      };
    };
  };
}

/** Throws "busy" while pods are on the network, "timeout" or "conflict" naming the nodes that are not clean. */
export async function uninstall(options: UninstallOptions): Promise<UninstallReport> {
  const { client, namespace, apply, onStep } = options;
  const steps: Step[] = [];
  const step = async (object: string, action: string, work: () => Promise<unknown>): Promise<void> => {
    if (apply) await work();
    steps.push({ object, action });
    onStep({ object, action });
  };
  if ((await getIfThere(client, NAMESPACES, { name: namespace })) === undefined) {
    await refuseWhenElsewhere(client, namespace);
    return { steps, nodes: [] };
  }
  const install = await installedOptions(options);
  await refuseWhileInUse(options);
  const nodes = (await listNodes(client)).filter((n) => isLinux(n));
  const stop = async (resource: Resource, name: string): Promise<void> => {
    const place = { namespace, name };
    if ((await getIfThere(client, resource, place)) === undefined) return;
    await step(`${resource.kind} ${namespace}/${name}`, "removed", () =>
      deleteObject(client, resource, place, { propagationPolicy: "Background" }),
    );
  };
  await stop(DEPLOYMENTS, NAMES.controller);
  // Its description is what a second run would need to know the image: kept until the nodes are clean.
  await step(`DaemonSet ${namespace}/${NAMES.agent}`, "stopped", () => stopAgents(options));
  const cleaned = nodes.map((n) => n.metadata.name);
  await step(`${nodes.length} nodes`, "cleaned, and checked to be", () =>
    cleanNodes(options, install, cleaned),
  );
  for (const node of nodes.filter(hasOurCondition)) {
    await step(`Node ${node.metadata.name}`, "condition NetworkUnavailable removed", () =>
      forgetCondition(client, node),
    );
  }
  await stop(DAEMONSETS, NAMES.agent);
  await stop(LEASES, NAMES.controller);
  await releasePools(client, step);
  for (const object of installObjects(install).reverse()) {
    if (["DaemonSet", "Deployment", "Namespace"].includes(object.kind as string)) continue;
    if ((await getIfThere(client, resourceOf(object), placeOf(object))) === undefined) continue;
    await step(nameOf(object), "removed", () => deleteObject(client, resourceOf(object), placeOf(object)));
  }
  await removeNamespace(options, step);
  return { steps, nodes: cleaned };
}

/** Without the namespace there is nothing to remove only when there is no Weft at all: its roles belong to no namespace. */
async function refuseWhenElsewhere(client: ApiClient, namespace: string): Promise<void> {
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: NAMES.agent },
  };
  if ((await getIfThere(client, resourceOf(role), { name: NAMES.agent })) === undefined) return;
  const agents = await listAll(client, DAEMONSETS, {}, { labelSelector: selectorText("agent") });
  const other = agents.find(({ metadata }) => metadata.name === NAMES.agent)?.metadata.namespace;
  throw new WeftError("not-found", `there is no namespace ${namespace}, but Weft is in this cluster`, {
    object: nameOf(role),
    hint:
      other === undefined
        ? "The namespace was deleted, and the nodes were not cleaned: weft install --apply, then weft uninstall --apply."
        : `It is in another namespace: weft uninstall --namespace ${other}`,
  });
}

const isLinux = ({ metadata }: NodeObject): boolean => {
  const os = (metadata["labels"] as Record<string, string> | undefined)?.["kubernetes.io/os"];
  return os === undefined || os === "linux";
};

/** The install as it is, as far as the clean-up needs it. */
export async function installedOptions({
  client,
  namespace,
  image,
}: Pick<UninstallOptions, "client" | "namespace" | "image">): Promise<InstallOptions> {
  const agents = await getIfThere<AgentTemplate>(client, DAEMONSETS, { namespace, name: NAMES.agent });
  const container = agents?.spec.template.spec.containers[0];
  const used = image ?? container?.image;
  if (used === undefined) {
    throw new WeftError("not-found", `there is no DaemonSet ${namespace}/${NAMES.agent}`, {
      hint: "Name the right --namespace; or, to clean nodes after an agent that is gone, the --image to do it with.",
    });
  }
  const path = (name: string): string | undefined =>
    agents?.spec.template.spec.volumes.find((v) => v.name === name)?.hostPath?.path;
  const flags = {
    namespace,
    image: used,
    imagePullPolicy: container?.imagePullPolicy,
    cniBinDir: path("cni-bin"),
    cniConfDir: path("cni-conf"),
  };
  const given = Object.fromEntries(Object.entries(flags).filter(([, v]) => v !== undefined));
  return checkOptions(given as Partial<InstallOptions>, "");
}

/** Pods that would be left without a network. */
async function refuseWhileInUse({ client, force }: UninstallOptions): Promise<void> {
  if (force) return;
  const all = await listAll<PodObject>(client, PODS);
  const on = all.filter(
    ({ spec, status }) =>
      spec?.hostNetwork !== true &&
      status?.podIP !== undefined &&
      status.phase !== "Succeeded" &&
      status.phase !== "Failed",
  );
  if (on.length === 0) return;
  const names = on.slice(0, 5).map((p) => `${p.metadata.namespace}/${p.metadata.name}`);
  const more = on.length > names.length ? ` and ${on.length - names.length} more` : "";
  throw new WeftError("busy", `pods are on Weft's network: ${names.join(", ")}${more}`, {
    hint: "Remove them first, or use --force: they lose their network and must be made again on the next one.",
  });
}

/** Nobody is left to say that their blocks are gone: without its finalizer a pool goes with its definition, blocks too. */
async function releasePools(client: ApiClient, step: StepTaker): Promise<void> {
  const definition = { name: `${IP_POOLS.plural}.${API_GROUP}` };
  if ((await getIfThere(client, CUSTOM_RESOURCES, definition)) === undefined) return;
  for (const { metadata } of await listAll(client, IP_POOLS)) {
    const finalizers = (metadata["finalizers"] ?? []) as readonly string[];
    if (!finalizers.includes(POOL_FINALIZER)) continue;
    const others = finalizers.filter((f) => f !== POOL_FINALIZER);
    await step(`IPPool ${metadata.name}`, "finalizer removed", () =>
      patchObject(client, IP_POOLS, { name: metadata.name }, "merge", { metadata: { finalizers: others } }),
    );
  }
}

type StepTaker = (object: string, action: string, work: () => Promise<unknown>) => Promise<void>;

/** A selector that no node matches: the agents end, their description stays. */
async function stopAgents(options: UninstallOptions): Promise<void> {
  const { client, namespace, timeout } = options;
  const place = { namespace, name: NAMES.agent };
  const patch = { spec: { template: { spec: { nodeSelector: { [UNINSTALLING]: "true" } } } } };
  try {
    await patchObject(client, DAEMONSETS, place, "merge", patch);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  await until(options, timeout, "agents still run", async () => {
    const pods = [
      ...(await podsOf(client, namespace, "agent")),
      ...(await podsOf(client, namespace, "controller")),
    ];
    return pods.map((p) => `${p.metadata.name} on ${p.spec?.nodeName ?? "no node"}`);
  });
}

export async function cleanNodes(
  options: CleanOptions,
  install: InstallOptions,
  nodes: readonly string[],
): Promise<void> {
  const { client, namespace, force, timeout } = options;
  // Those of a run before say what was then.
  await removeCleanupPods(options);
  for (const node of nodes) await createObject(client, PODS, cleanupPod(node, { ...install, force }));
  try {
    await until(options, timeout, "nodes are not clean", async () => {
      const pods = await podsOf(client, namespace, "cleanup");
      const ended = pods.filter((p) => p.status?.phase === "Failed");
      if (ended.length > 0) throw await notClean(client, ended);
      const done = new Set(pods.filter((p) => p.status?.phase === "Succeeded").map((p) => p.spec?.nodeName));
      const waiting = nodes.filter((node) => !done.has(node));
      return Promise.all(
        waiting.map(async (node) => {
          const pod = pods.find((p) => p.spec?.nodeName === node);
          return `${node}: ${pod === undefined ? "its clean-up pod is gone" : await podFault(client, pod)}`;
        }),
      );
    });
  } finally {
    await removeCleanupPods(options);
  }
}

async function notClean(client: ApiClient, pods: readonly PodObject[]): Promise<WeftError> {
  const faults = await Promise.all(
    pods.map(async (p) => `      ${p.spec?.nodeName}: ${await podFault(client, p)}`),
  );
  return new WeftError("conflict", `nodes are not clean:\n${faults.join("\n")}`, {
    hint: "Correct what is named and run this again; on a node itself: weft agent cleanup",
  });
}

async function removeCleanupPods(options: CleanOptions): Promise<void> {
  const { client, namespace, timeout } = options;
  for (const { metadata } of await podsOf(client, namespace, "cleanup"))
    await deleteObject(client, PODS, { namespace, name: metadata.name });
  await until(options, timeout, "clean-up pods are still there", async () =>
    (await podsOf(client, namespace, "cleanup")).map((p) => p.metadata.name),
  );
}

/** Waits until `left` is empty. Throws "timeout" with what is left. */
async function until(
  { every = 500 }: CleanOptions,
  timeout: number,
  what: string,
  left: () => Promise<readonly string[]>,
): Promise<void> {
  const end = performance.now() + timeout;
  for (;;) {
    const names = await left();
    if (names.length === 0) return;
    if (performance.now() > end) {
      throw new WeftError("timeout", `${what}: ${names.join("; ")}`, {
        hint: "Is the node up, and its kubelet? Run this again, or wait longer with --timeout.",
      });
    }
    await Bun.sleep(every);
  }
}

const ourCondition = (node: NodeObject) =>
  (node.status?.conditions ?? []).find(
    (c) => c.type === "NetworkUnavailable" && /^WeftIs/.test(c.reason ?? ""),
  );
const hasOurCondition = (node: NodeObject): boolean => ourCondition(node) !== undefined;

/** The next network says for itself whether it works. */
export async function forgetCondition(client: ApiClient, { metadata }: NodeObject): Promise<void> {
  await patchObject(
    client,
    NODES,
    { name: metadata.name },
    "strategic",
    { status: { conditions: [{ $patch: "delete", type: "NetworkUnavailable" }] } },
    { subresource: "status" },
  );
}

/** Only one that an install has made, and in which there is no pod of anybody else. */
async function removeNamespace({ client, namespace }: UninstallOptions, step: StepTaker): Promise<void> {
  const object = await getIfThere<{ metadata: { labels?: Record<string, string> } }>(client, NAMESPACES, {
    name: namespace,
  });
  if (object?.metadata.labels?.[MANAGED_LABEL] !== "weft-install") return;
  const others = (await listAll<PodObject>(client, PODS, { namespace })).filter(
    ({ metadata }) => (metadata["labels"] as Record<string, string> | undefined)?.[NAME_LABEL] !== "weft",
  );
  if (others.length > 0) return;
  await step(`Namespace ${namespace}`, "removed", () =>
    deleteObject(client, NAMESPACES, { name: namespace }),
  );
}
