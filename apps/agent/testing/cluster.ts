/** An API server for an agent in a namespace: in memory, behind a unix socket, which every namespace reaches. */
import { type KubernetesObject, socketUrl } from "@weft/cluster/client";
import { FakeApi, writeKubeconfig } from "@weft/cluster/client/testing";
import { ADDRESSES, BLOCKS, NODE, type TestNode } from "./node.ts";

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const EVENTS = "/apis/events.k8s.io/v1/events";

export interface TestEvent {
  readonly reason: string;
  readonly note: string;
  readonly type: string;
  readonly regarding: { readonly kind: string; readonly name: string; readonly uid?: string };
  readonly related?: { readonly kind: string; readonly name: string };
}

export class TestCluster {
  readonly api = new FakeApi();
  /** For the agent's command line. */
  readonly flags: readonly string[];
  readonly #server: Bun.Server<undefined>;

  /** `blocks`: the own node's podCIDRs. */
  constructor(node: TestNode, blocks: readonly string[] = BLOCKS) {
    const socket = `${node.root}/api.sock`;
    this.#server = Bun.serve({
      unix: socket,
      fetch: (request) => this.api.handle(request),
      ...({ idleTimeout: 0 } as object),
    });
    const file = writeKubeconfig(`${node.root}/kubeconfig`, socketUrl(socket));
    this.flags = ["--kubeconfig", file];
    this.api.put(NODES, {
      metadata: { name: NODE, uid: "uid-node1", creationTimestamp: "2026-01-01T00:00:00Z" },
      spec: { podCIDRs: blocks },
      status: { addresses: ADDRESSES.map((address) => ({ type: "InternalIP", address })) },
    } as KubernetesObject);
  }

  /** A pod of the node. Returns what a runtime gives the plugin besides. */
  pod(name: string): { readonly environment: { readonly CNI_ARGS: string } } {
    const uid = `uid-${name}`;
    this.api.put(PODS, {
      metadata: { name, namespace: "shop", uid },
      spec: { nodeName: NODE, containers: [{ name: "c", image: "web" }] },
    } as KubernetesObject);
    const words = ["IgnoreUnknown=1", "K8S_POD_NAMESPACE=shop", `K8S_POD_NAME=${name}`, `K8S_POD_UID=${uid}`];
    return { environment: { CNI_ARGS: words.join(";") } };
  }

  deletePod(name: string): void {
    this.api.delete(PODS, name, "shop");
  }

  events(reason?: string): TestEvent[] {
    const all = this.api.objects(EVENTS) as unknown as TestEvent[];
    return all.filter((e) => reason === undefined || e.reason === reason);
  }

  stop(): void {
    void this.#server.stop(true);
  }
}
