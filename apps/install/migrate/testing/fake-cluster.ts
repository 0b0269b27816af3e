/** A cluster for tests: an API in memory, and of kubelet, controllers and scheduler as much as a move sees. */
import type { KubernetesObject } from "@weft/cluster/client";
import { type Call, directClient, FakeApi, failure } from "@weft/cluster/client/testing";

const NODES = "/api/v1/nodes";
const PODS = "/api/v1/pods";
const DAEMONSETS = "/apis/apps/v1/daemonsets";

type Fields = Record<string, unknown>;
const labelsOf = (o: KubernetesObject): Record<string, string> =>
  (o.metadata["labels"] ?? {}) as Record<string, string>;
const specOf = (o: KubernetesObject): Fields => (o["spec"] ?? {}) as Fields;
const READY = [{ type: "Ready", status: "True" }];

export interface FakePod {
  readonly owner?: "ReplicaSet" | "DaemonSet" | "Node";
  readonly spec?: Fields;
}

export class FakeCluster {
  readonly api = new FakeApi();
  readonly client = directClient(this.api);
  /** Evictions that a disruption budget refuses, by pod. */
  readonly refusals = new Map<string, number>();
  /** The answer to the n-th write from now is an error, and the write is not done. */
  failWrite: number | undefined;
  writes = 0;

  constructor(nodes: readonly string[], installed = true) {
    this.api.intercept = (call) => this.#answer(call);
    for (const name of nodes) {
      this.api.put(NODES, {
        metadata: { name, labels: { "kubernetes.io/os": "linux" } },
        spec: { podCIDRs: [`10.244.${name.slice(-1)}.0/24`] },
        status: {
          conditions: READY,
          addresses: [{ type: "InternalIP", address: `192.0.2.${name.slice(-1)}` }],
        },
      });
    }
    if (installed) {
      this.api.put(DAEMONSETS, {
        metadata: { name: "weft-agent", namespace: "weft-system" },
        spec: { template: { spec: { containers: [{ image: "weft:1" }], volumes: [] } } },
      });
    }
  }

  pod(name: string, node: string, { owner, spec = {} }: FakePod = {}): void {
    this.api.put(PODS, {
      metadata: {
        name,
        namespace: "default",
        ...(owner === undefined ? {} : { ownerReferences: [{ kind: owner, name: "o", controller: true }] }),
      },
      spec: { nodeName: node, ...spec },
      status: { phase: "Running", startTime: "2026-01-01T00:00:00Z", conditions: READY },
    });
  }

  node(name: string): KubernetesObject {
    return this.api.objects(NODES).find((n) => n.metadata.name === name) as KubernetesObject;
  }

  label(name: string, value: string): void {
    const node = this.node(name);
    const { resourceVersion: _, ...metadata } = node.metadata;
    this.api.put(NODES, {
      ...node,
      metadata: { ...metadata, labels: { ...labelsOf(node), "weft.network/network": value } },
    });
    this.#act();
  }

  podsOn(node: string): string[] {
    return this.api
      .objects(PODS)
      .filter((p) => specOf(p)["nodeName"] === node)
      .map((p) => p.metadata.name);
  }

  /** What a person would look at: labels of ours, annotations, taints, cordon, pods. */
  state(name: string): object {
    const node = this.node(name);
    const spec = specOf(node);
    return {
      label: labelsOf(node)["weft.network/network"],
      annotations: node.metadata["annotations"] ?? {},
      taints: spec["taints"] ?? [],
      cordoned: spec["unschedulable"] === true,
      agent: this.podsOn(name).includes(`weft-agent-${name}`),
    };
  }

  async #answer(call: Call): Promise<Response> {
    if (call.method === "GET") return undefined as never;
    this.writes++;
    if (this.failWrite !== undefined && this.failWrite-- === 0) {
      this.failWrite = undefined;
      return failure(400, "BadRequest", "as the test wants it");
    }
    const evicted = /\/namespaces\/([^/]+)\/pods\/([^/]+)\/eviction$/.exec(call.path);
    if (evicted !== null) return this.#evict(evicted[1] ?? "", evicted[2] ?? "");
    if (call.path.endsWith("/status") && call.method === "PATCH") return Response.json({});
    // What it does is done by the API; others act upon it a moment later.
    queueMicrotask(() => setTimeout(() => this.#act(), 0));
    return undefined as never;
  }

  #evict(namespace: string, name: string): Response {
    const left = this.refusals.get(name) ?? 0;
    if (left > 0) {
      this.refusals.set(name, left - 1);
      return failure(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
      );
    }
    const pod = this.api.objects(PODS).find((p) => p.metadata.name === name);
    const from = pod === undefined ? undefined : specOf(pod)["nodeName"];
    this.api.delete(PODS, name, namespace);
    const others = this.api
      .objects(NODES)
      .filter((n) => n.metadata.name !== from && specOf(n)["unschedulable"] !== true);
    const [to] = others;
    if (pod !== undefined && to !== undefined && pod.metadata["ownerReferences"] !== undefined)
      this.pod(`${name}-again`, to.metadata.name, { owner: "ReplicaSet" });
    return Response.json({ kind: "Status", status: "Success" }, { status: 201 });
  }

  /** Taints drive pods away, the DaemonSet follows labels, clean-up pods end well. */
  #act(): void {
    for (const node of this.api.objects(NODES)) {
      const { name } = node.metadata;
      const tainted = ((specOf(node)["taints"] ?? []) as Fields[]).some(
        (t) => t["key"] === "weft.network/moving",
      );
      for (const pod of this.api.objects(PODS).filter((p) => specOf(p)["nodeName"] === name)) {
        const owner = ((pod.metadata["ownerReferences"] ?? []) as Fields[])[0]?.["kind"];
        const stays =
          specOf(pod)["tolerations"] !== undefined || specOf(pod)["hostNetwork"] === true || owner === "Node";
        if (tainted && !stays) this.api.delete(PODS, pod.metadata.name, pod.metadata.namespace);
        if (
          labelsOf(pod)["app.kubernetes.io/component"] === "cleanup" &&
          (pod["status"] as Fields | undefined)?.["phase"] === undefined
        )
          this.api.put(PODS, { ...pod, metadata: without(pod.metadata), status: { phase: "Succeeded" } });
      }
      const agent = `weft-agent-${name}`;
      const there = this.podsOn(name).includes(agent);
      const wanted =
        labelsOf(node)["weft.network/network"] !== "other" && this.api.objects(DAEMONSETS).length > 0;
      if (there && !wanted) this.api.delete(PODS, agent, "weft-system");
      if (!there && wanted) this.#agent(agent, name);
    }
  }

  #agent(pod: string, node: string): void {
    this.api.put(PODS, {
      metadata: {
        name: pod,
        namespace: "weft-system",
        creationTimestamp: "2026-06-01T00:00:00Z",
        labels: { "app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent" },
      },
      spec: { nodeName: node, hostNetwork: true, tolerations: [{ operator: "Exists" }] },
      status: { phase: "Running", conditions: READY },
    });
  }
}

const without = ({
  resourceVersion: _,
  ...rest
}: KubernetesObject["metadata"]): KubernetesObject["metadata"] => rest as KubernetesObject["metadata"];
