/**
 * A cluster with pools for tests of whole executables: `weft server` on a unix socket, nodes whose agents have their
 * state from there, pools made Ready as the controller does it, and pods that the API knows as a kubelet's are known.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ApiClient,
  createClient,
  createObject,
  decodeBlock,
  deleteObject,
  getObject,
  IP_BLOCKS,
  IP_POOLS,
  type KubernetesObject,
  listAll,
  loadCredentials,
  NAMESPACES,
  NODES,
  PODS,
  patchObject,
  updateStatus,
} from "@weft/cluster/client";
import type { IpBlock } from "@weft/model";
import { executable } from "./executable.ts";
import { type Answer, type CallOptions, TestNode, type TestPod } from "./node.ts";
import { eventually } from "./wait.ts";

export interface ClusterPod {
  readonly name: string;
  readonly uid: string;
  readonly node: PoolNode;
  readonly container: TestPod;
}

export class PoolNode extends TestNode {
  readonly #cluster: PoolCluster;

  constructor(cluster: PoolCluster, name: string, index: number) {
    super({ name, blocks: [], addresses: [`172.30.0.${10 + index}`, `fd00:30::${10 + index}`] });
    this.#cluster = cluster;
  }

  override start(until: "ready" | "listening" = "ready", flags: readonly string[] = []): Promise<void> {
    return super.start(until, ["--kubeconfig", this.#cluster.kubeconfig, ...flags]);
  }
}

/** What a runtime says of the pod in CNI_ARGS. */
export const podArguments = ({ name, uid }: Pick<ClusterPod, "name" | "uid">): CallOptions => ({
  environment: {
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
  },
});

export class PoolCluster {
  readonly directory = mkdtempSync(join(tmpdir(), "weft-pool-cluster-"));
  readonly nodes: PoolNode[] = [];
  client!: ApiClient;
  #server: Bun.Subprocess | undefined;
  #pods = 0;

  static async start(): Promise<PoolCluster> {
    const cluster = new PoolCluster();
    await cluster.startServer();
    cluster.client = createClient({ credentials: loadCredentials({ path: cluster.kubeconfig }) });
    return cluster;
  }

  get kubeconfig(): string {
    return join(this.directory, "server/kubeconfig.socket");
  }

  async startServer(): Promise<void> {
    const words = ["server", "--data", join(this.directory, "server"), "--port", "0"];
    this.#server = Bun.spawn(["setpriv", "--pdeathsig", "KILL", executable(), ...words], {
      stdout: "ignore",
      stderr: "ignore",
    });
    const unix = join(this.directory, "server/server.sock");
    await eventually("the server serves", async () => {
      try {
        // The socket is there before certificates are made, and the kubeconfig after that.
        return (await fetch("http://server/readyz", { unix })).ok && existsSync(this.kubeconfig);
      } catch {
        return false;
      }
    });
  }

  async stopServer(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.exited;
  }

  /** A node with an agent that does not run yet; `podCIDRs` none unless given. */
  async addNode(name: string, podCIDRs: readonly string[] = []): Promise<PoolNode> {
    const node = new PoolNode(this, name, this.nodes.length + 1);
    this.nodes.push(node);
    const addresses = [`172.30.0.${10 + this.nodes.length}`, `fd00:30::${10 + this.nodes.length}`];
    await createObject<KubernetesObject>(this.client, NODES, {
      metadata: { name },
      spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
      status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
    });
    return node;
  }

  async addPool(name: string, cidr: string, blockSize: number, spec: object = {}): Promise<void> {
    const made = await createObject<KubernetesObject>(this.client, IP_POOLS, {
      metadata: { name },
      spec: { cidr, blockSize, ...spec },
    });
    const lastTransitionTime = new Date().toISOString();
    const ready = {
      type: "Ready",
      status: "True",
      reason: "Accepted",
      message: "for the test",
      lastTransitionTime,
    };
    await updateStatus(this.client, IP_POOLS, { ...made, status: { cidr, blockSize, conditions: [ready] } });
  }

  async changePool(name: string, spec: object): Promise<void> {
    await patchObject(this.client, IP_POOLS, { name }, "merge", { spec });
  }

  async labelNamespace(labels: Readonly<Record<string, string>>): Promise<void> {
    await patchObject(this.client, NAMESPACES, { name: "default" }, "merge", { metadata: { labels } });
  }

  async blocks(): Promise<IpBlock[]> {
    return (await listAll(this.client, IP_BLOCKS)).map((o) => decodeBlock(o));
  }

  /** A pod of that node in the API, and its container. */
  async addPod(
    node: PoolNode,
    annotations: Readonly<Record<string, string>> = {},
    name = `pod-${++this.#pods}`,
  ): Promise<ClusterPod> {
    const made = await createObject<KubernetesObject>(this.client, PODS, {
      metadata: { name, namespace: "default", annotations },
      spec: { nodeName: node.name, containers: [{ name: "c", image: "example/image:1" }] },
    });
    return { name, uid: made.metadata.uid as string, node, container: node.pod() };
  }

  async removePod(pod: ClusterPod): Promise<void> {
    await deleteObject(
      this.client,
      PODS,
      { namespace: "default", name: pod.name },
      { gracePeriodSeconds: 0 },
    );
  }

  /** ADD that must succeed. */
  async add(pod: ClusterPod): Promise<readonly string[]> {
    await pod.node.add(pod.container, podArguments(pod));
    return pod.container.addresses;
  }

  call(command: "ADD" | "DEL", pod: ClusterPod): Promise<Answer> {
    return pod.node.call(command, pod.container, podArguments(pod));
  }

  async del(pod: ClusterPod): Promise<void> {
    await pod.node.del(pod.container, podArguments(pod));
  }

  /** A pod that is there and has its addresses. */
  async run(node: PoolNode, annotations: Readonly<Record<string, string>> = {}): Promise<ClusterPod> {
    const pod = await this.addPod(node, annotations);
    await this.add(pod);
    return pod;
  }

  async events(): Promise<{ reason: string; note: string; type: string; regarding: string }[]> {
    const list = await this.client.request<{ items: Record<string, never>[] }>({
      path: "/apis/events.k8s.io/v1/namespaces/default/events",
    });
    return list.items.map((e) => ({
      reason: e["reason"] ?? "",
      note: e["note"] ?? "",
      type: e["type"] ?? "",
      regarding: `${(e["regarding"] as { kind?: string } | undefined)?.kind}`,
    }));
  }

  async pool(name: string): Promise<KubernetesObject> {
    return getObject(this.client, IP_POOLS, { name });
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await node.close();
    this.client.close();
    await this.stopServer();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
