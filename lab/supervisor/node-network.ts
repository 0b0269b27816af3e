/**
 * The container runtime of one node, as far as networks go: makes a pod's namespace and runs CNI as containerd
 * does, with the node's own configurations, plugins and cache, and with the plugins started inside the node.
 *
 *   attach   namespace -> loopback ADD (lo) -> first network of the node ADD (eth0)
 *   detach   DEL of everything that the cache has of the container -> namespace removed
 */
import { existsSync } from "node:fs";
import { compareIp, describeError, isExists, prefixIp, WeftError } from "@weft/base";
import { type NetworkConfigurationList, parseNetworkConfigurationList } from "@weft/cni";
import {
  type AttachmentSpec,
  addOrDelete,
  createRuntime,
  findConfigurationList,
  loadConfigurationLists,
  type Runtime,
  spawnProcess,
} from "@weft/cni/runtime";
import {
  createNamed,
  deleteNamed,
  inNetns,
  type NetnsHandle,
  namedPath,
  openNetns,
} from "@weft/kernel/netns";
import type { Pod } from "@weft/model";
import { labPaths } from "../state.ts";
import { type PlannedNode, podNamespaceName } from "../topology.ts";

/** Name of the pods' interface. */
export const POD_INTERFACE = "eth0";
/** How long one plugin may take. */
const PLUGIN_TIMEOUT_MS = 30_000;

/** As containerd has it: every sandbox's loopback is brought up by a network of its own. */
const LOOPBACK: NetworkConfigurationList = parseNetworkConfigurationList(
  JSON.stringify({ cniVersion: "1.0.0", name: "cni-loopback", plugins: [{ type: "weft-loopback" }] }),
);

/** A pod's network, ready for its containers. */
export interface Sandbox {
  /** Undefined for pods in their node's network. */
  readonly containerId: string | undefined;
  readonly namespace: NetnsHandle;
  readonly interface: string | undefined;
  /** IPv4 first. */
  readonly addresses: readonly string[];
}

export class NodeNetwork {
  readonly node: PlannedNode;
  readonly #lab: string;
  readonly #namespace: NetnsHandle;
  readonly #runtime: Runtime;

  constructor(lab: string, node: PlannedNode) {
    this.#lab = lab;
    this.node = node;
    this.#namespace = openNetns(namedPath(node.namespace));
    this.#runtime = createRuntime({
      path: [labPaths(lab).pluginDirectory(node.name)],
      cacheDirectory: `${labPaths(lab).node(node.name)}/var/lib/cni`,
      environment: { PATH: process.env["PATH"] },
      timeoutMs: PLUGIN_TIMEOUT_MS,
      spawn: (argv, options) => inNetns(this.#namespace.fd, () => spawnProcess(argv, options)),
    });
  }

  /** The node's own namespace. */
  get namespace(): NetnsHandle {
    return this.#namespace;
  }

  /** Paths of the namespaces whose attachments an earlier supervisor has left in the cache. */
  cachedNamespaces(): string[] {
    return this.#runtime.cache.list().flatMap((a) => a.networkNamespace ?? []);
  }

  /** True once the node has a network for pods: its agent has written the configuration. */
  hasNetwork(): boolean {
    return loadConfigurationLists(labPaths(this.#lab).conflistDirectory(this.node.name)).lists.length > 0;
  }

  /** What STATUS of the node's network says; undefined when it can take pods, or is too old to know STATUS. */
  async statusFault(): Promise<string | undefined> {
    try {
      await this.#runtime.status(this.#network());
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }

  /** DEL of everything cached, then GC: no attachment is valid. To be done before the first `attach`. */
  async collectGarbage(): Promise<void> {
    await this.#runtime.gc(LOOPBACK, []);
    await this.#runtime.gc(this.#network(), []);
  }

  /** Throws the error of the plugin; nothing is left then. */
  async attach(pod: Pod): Promise<Sandbox> {
    if (pod.hostNetwork) {
      return {
        containerId: undefined,
        namespace: openNetns(namedPath(this.node.namespace)),
        interface: undefined,
        addresses: this.node.addresses,
      };
    }
    const list = this.#network();
    const name = podNamespaceName(this.#lab, pod.namespace, pod.name);
    try {
      createNamed(name);
    } catch (error) {
      if (!isExists(error)) throw error;
      // Pod c of namespace a-b and pod b-c of namespace a.
      throw new WeftError("exists", `another pod's network is called ${name} too`, {
        object: `pod ${pod.namespace}/${pod.name}`,
        hint: "Rename one of the pods.",
        cause: error,
      });
    }
    const containerId = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
    try {
      const spec = attachmentSpec(pod, containerId, namedPath(name));
      await addOrDelete(this.#runtime, LOOPBACK, { ...spec, interfaceName: "lo" });
      const result = await addOrDelete(this.#runtime, list, spec);
      const own = result.ips.filter(
        ({ interface: i }) => i === undefined || result.interfaces[i]?.sandbox !== undefined,
      );
      if (own.length === 0) {
        throw new WeftError("invalid", `network ${list.name} gave the pod no address`, {
          object: `pod ${pod.namespace}/${pod.name}`,
          hint: "See the plugins of the node's CNI configuration.",
        });
      }
      return {
        containerId,
        namespace: openNetns(namedPath(name)),
        interface: POD_INTERFACE,
        addresses: own.map((ip) => prefixIp(ip.address)).sort(compareIp),
      };
    } catch (error) {
      // Should DEL fail as well, the cache keeps the attachment for the next collection of garbage.
      await this.#release(containerId).catch(() => {});
      deleteNamed(name);
      throw error;
    }
  }

  /** Takes apart what `attach` made. Throws the error of DEL; can be repeated. */
  async detach(pod: Pod, sandbox: Sandbox): Promise<void> {
    if (sandbox.containerId !== undefined) {
      await this.#release(sandbox.containerId);
      deleteNamed(podNamespaceName(this.#lab, pod.namespace, pod.name));
    }
    sandbox.namespace.close();
  }

  close(): void {
    this.#namespace.close();
  }

  async #release(containerId: string): Promise<void> {
    const cached = this.#runtime.cache.list().filter((a) => a.containerId === containerId);
    // eth0 before lo: the other way round than they came.
    for (const { networkNamespace, ...rest } of cached.reverse()) {
      const here = networkNamespace !== undefined && existsSync(networkNamespace);
      await this.#runtime.del(rest.list, { ...rest, ...(here ? { networkNamespace } : {}) });
    }
  }

  #network(): NetworkConfigurationList {
    return findConfigurationList(labPaths(this.#lab).conflistDirectory(this.node.name));
  }
}

/** What containerd passes for a pod's sandbox. */
function attachmentSpec(pod: Pod, containerId: string, networkNamespace: string): AttachmentSpec {
  return {
    containerId,
    interfaceName: POD_INTERFACE,
    networkNamespace,
    args: [
      ["IgnoreUnknown", "1"],
      ["K8S_POD_NAMESPACE", pod.namespace],
      ["K8S_POD_NAME", pod.name],
      ["K8S_POD_INFRA_CONTAINER_ID", containerId],
      ["K8S_POD_UID", pod.uid],
    ],
  };
}
