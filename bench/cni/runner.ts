/** A container runtime in little: ADD and DEL of pods on one node, by the plugins of one list. */
import { describeError, WeftError } from "@weft/base";
import { type AttachmentSpec, createRuntime, type Runtime, spawnProcess } from "@weft/cni/runtime";
import type { NetworkConfigurationList } from "@weft/cni/types";
import { inNetns, type NetnsHandle } from "@weft/kernel/netns";

export interface Side {
  readonly name: "weft" | "peer";
  readonly list: NetworkConfigurationList;
  readonly runtime: Runtime;
}

export interface SideOptions {
  readonly name: Side["name"];
  readonly node: { readonly fd: number };
  readonly list: NetworkConfigurationList;
  readonly plugins: string;
  /** Results of ADD; better in memory, as what the runtime itself writes is not what is measured. */
  readonly cache: string;
}

/** The plugin's process runs in the node's namespace, on both sides alike. */
export function createSide({ name, node, list, plugins, cache }: SideOptions): Side {
  const runtime = createRuntime({
    path: [plugins],
    cacheDirectory: cache,
    environment: { PATH: process.env["PATH"] },
    spawn: (argv, options) => inNetns(node.fd, () => spawnProcess(argv, options)),
  });
  return { name, list, runtime };
}

export interface Pod {
  readonly spec: AttachmentSpec;
}

let counter = 0;

/** As the API server knows a pod. */
export interface PodIdentity {
  readonly name: string;
  readonly uid: string;
}

export const newIdentity = (): PodIdentity => ({ name: `pod-${++counter}`, uid: crypto.randomUUID() });

/** A new sandbox in that namespace, with what containerd passes for it. */
export function podIn(namespace: NetnsHandle, { name, uid }: PodIdentity = newIdentity()): Pod {
  const containerId = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
  return {
    spec: {
      containerId,
      interfaceName: "eth0",
      networkNamespace: namespace.path,
      args: [
        ["IgnoreUnknown", "1"],
        ["K8S_POD_NAMESPACE", "bench"],
        ["K8S_POD_NAME", name],
        ["K8S_POD_INFRA_CONTAINER_ID", containerId],
        ["K8S_POD_UID", uid],
      ],
    },
  };
}

/** Milliseconds from the call to the answer, with every plugin of the list in between. */
export async function timed(operation: "add" | "del", side: Side, pod: Pod): Promise<number> {
  const started = performance.now();
  try {
    await side.runtime[operation](side.list, pod.spec);
  } catch (cause) {
    throw new WeftError("unavailable", `${side.name}: ${operation} failed: ${describeError(cause)}`, {
      cause,
    });
  }
  return performance.now() - started;
}

/** All at once: the time of each, from the moment that all were asked for. */
export const burst = (operation: "add" | "del", side: Side, pods: readonly Pod[]): Promise<number[]> =>
  Promise.all(pods.map((pod) => timed(operation, side, pod)));

/** Some at a time, when nothing is measured. */
export async function fill(side: Side, pods: readonly Pod[], width = 8): Promise<void> {
  for (let start = 0; start < pods.length; start += width) {
    await burst("add", side, pods.slice(start, start + width));
  }
}

export const podsIn = (namespaces: readonly NetnsHandle[]): Pod[] =>
  namespaces.map((namespace) => podIn(namespace));
