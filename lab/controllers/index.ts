/**
 * The lab's controllers: what a cluster's control plane does for what the lab has. Each is a function from the state of
 * the caches to writes; this file says which change of which object leads to a look at which.
 *
 *   Pod, Node      -> scheduler         a node for each pod that waits
 *   Deployment     -> deployment.ts     ReplicaSets          ReplicaSet -> its Deployment
 *   ReplicaSet     -> replica-set.ts    Pods                 Pod        -> its ReplicaSet, its Deployment
 *   Service        -> endpoint-slices   EndpointSlices       Pod        -> the Services that select it
 *   Node, Lease    -> node-lifecycle    taints, evictions    Pod        -> its Node, while that is not well
 *
 * Level-triggered: an event only says where to look. A write that comes too late is refused by the server, and leads to
 * another look.
 */
import type { Clock, Logger } from "@weft/base";
import {
  type ApiClient,
  ENDPOINT_SLICES,
  type EventRecorder,
  KeyQueue,
  LEASES,
  NODES,
  PODS,
  type Resource,
  SERVICES,
} from "@weft/cluster/client";
import { type Applier, apply, isOutrun } from "./apply.ts";
import { Cache } from "./cache.ts";
import { reconcileDeployment } from "./deployment.ts";
import { isOurs, reconcileEndpointSlices, SERVICE_NAME } from "./endpoint-slices.ts";
import { reconcileNode } from "./node-lifecycle.ts";
import {
  type ApiObject,
  conditionOf,
  controllerOf,
  DEPLOYMENTS,
  type DeploymentObject,
  type EndpointSliceObject,
  isTrue,
  keyOf,
  type LeaseObject,
  type NodeObject,
  type PodObject,
  REPLICA_SETS,
  type ReplicaSetObject,
  type ServiceObject,
} from "./objects.ts";
import { reconcileReplicaSet } from "./replica-set.ts";
import { isWaiting } from "./scheduler.ts";
import { schedulePod } from "./scheduling.ts";
import { selects, selectsAll } from "./selector.ts";
import type { Outcome } from "./write.ts";

export const LEASE_NAMESPACE = "kube-node-lease";

export interface ControllersOptions {
  readonly client: ApiClient;
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Controllers implements Applier {
  readonly client: ApiClient;
  readonly recorder: EventRecorder;
  readonly nodes: Cache<NodeObject>;
  readonly pods: Cache<PodObject>;
  readonly #deployments: Cache<DeploymentObject>;
  readonly #sets: Cache<ReplicaSetObject>;
  readonly #services: Cache<ServiceObject>;
  readonly #slices: Cache<EndpointSliceObject>;
  readonly #leases: Cache<LeaseObject>;
  readonly #caches: readonly Cache<ApiObject>[];
  readonly #scheduler: KeyQueue;
  readonly #queues: readonly KeyQueue[];
  readonly #clock: Clock;
  /** When each node was heard of last, by the monotonic clock: a clock that jumps makes nobody silent. */
  readonly #heard = new Map<string, number>();

  constructor({ client, recorder, clock, logger }: ControllersOptions) {
    this.client = client;
    this.recorder = recorder;
    this.#clock = clock;
    const options = { client, clock, logger };
    this.nodes = new Cache<NodeObject>(NODES, options);
    this.pods = new Cache<PodObject>(PODS, options);
    this.#deployments = new Cache<DeploymentObject>(DEPLOYMENTS, options);
    this.#sets = new Cache<ReplicaSetObject>(REPLICA_SETS, options);
    this.#services = new Cache<ServiceObject>(SERVICES, options);
    this.#slices = new Cache<EndpointSliceObject>(ENDPOINT_SLICES, options);
    this.#leases = new Cache<LeaseObject>(LEASES, options);
    this.#caches = [
      this.nodes,
      this.pods,
      this.#deployments,
      this.#sets,
      this.#services,
      this.#slices,
      this.#leases,
    ] as unknown as readonly Cache<ApiObject>[];
    const queue = (name: string, look: (key: string) => Outcome | undefined, atOnce?: number): KeyQueue =>
      new KeyQueue({
        name,
        clock,
        logger,
        isExpected: isOutrun,
        ...(atOnce === undefined ? {} : { atOnce }),
        look: async (key) => {
          const outcome = look(key);
          if (outcome === undefined) return undefined;
          await apply(outcome.writes, this);
          return outcome.again;
        },
      });
    // One after the other: each choice counts for the next.
    this.#scheduler = queue("scheduler", (key) => this.#lookAtPod(key), 1);
    const deployments = queue("deployment", (key) => this.#lookAtDeployment(key));
    const sets = queue("replicaset", (key) => this.#lookAtSet(key));
    const services = queue("endpointslice", (key) => this.#lookAtService(key));
    const nodes = queue("node", (key) => this.#lookAtNode(key));
    this.#queues = [deployments, sets, services, nodes];
    this.#follow(deployments, sets, services, nodes);
  }

  cacheOf(kind: Resource): Cache<ApiObject> | undefined {
    return this.#caches.find((cache) => cache.kind.kind === kind.kind);
  }

  lease(key: string): LeaseObject | undefined {
    return this.#leases.get(key);
  }

  /** Why the server cannot be asked, while it cannot. */
  get fault(): string | undefined {
    return this.#caches.map((cache) => cache.fault).find((fault) => fault !== undefined);
  }

  /** What is still being made of Deployments, in a sentence; undefined when all have what they ask for. */
  unsettled(): string | undefined {
    const deployment = this.#deployments
      .all()
      .find(({ metadata, status }) => (status?.observedGeneration ?? 0) < (metadata.generation ?? 1));
    const set = this.#sets
      .all()
      .find(({ spec, status }) => (spec.replicas ?? 1) > 0 && (status?.replicas ?? 0) < (spec.replicas ?? 1));
    const waits = deployment ?? set;
    if (waits === undefined) return undefined;
    return `${waits === set ? "replicaset" : "deployment"} ${keyOf(waits.metadata)} has not all of its pods yet`;
  }

  /** Resolves when all kinds are listed: nothing is done before. */
  async start(): Promise<void> {
    await Promise.all(this.#caches.map((cache) => cache.start()));
    for (const queue of this.#queues) queue.start();
  }

  /** From now on pods are given nodes. */
  startScheduling(): void {
    this.#scheduler.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#queues, this.#scheduler].map((queue) => queue.stop()));
    await Promise.all(this.#caches.map((cache) => cache.stop()));
  }

  #lookAtPod(key: string): Outcome | undefined {
    const pod = this.pods.get(key);
    if (pod === undefined || !isWaiting(pod)) return undefined;
    return schedulePod(pod, this.nodes.all(), this.pods.all(), this.#clock.now());
  }

  #lookAtDeployment(key: string): Outcome | undefined {
    const deployment = this.#deployments.get(key);
    if (deployment === undefined) return undefined;
    const { namespace } = deployment.metadata;
    const [sets, pods] = [this.#sets.inNamespace(namespace), this.pods.inNamespace(namespace)];
    return reconcileDeployment(deployment, sets, pods, this.#clock.now());
  }

  #lookAtSet(key: string): Outcome | undefined {
    const set = this.#sets.get(key);
    if (set === undefined) return undefined;
    return reconcileReplicaSet(set, this.pods.inNamespace(set.metadata.namespace), this.#clock.now());
  }

  #lookAtService(key: string): Outcome {
    const [namespace, name] = key.split("/");
    const slices = this.#slices
      .inNamespace(namespace)
      .filter(({ metadata }) => metadata.labels?.[SERVICE_NAME] === name);
    const nodes = new Map(this.nodes.all().map((node) => [node.metadata.name, node]));
    return reconcileEndpointSlices(this.#services.get(key), this.pods.inNamespace(namespace), nodes, slices);
  }

  #lookAtNode(name: string): Outcome | undefined {
    const node = this.nodes.get(name);
    if (node === undefined) {
      this.#heard.delete(name);
      return undefined;
    }
    const now = this.#clock.monotonic();
    // Who begins to watch gives every node the whole time again.
    const heardAt = this.#heard.get(name) ?? now;
    this.#heard.set(name, heardAt);
    const pods = this.pods.all().filter(({ spec }) => spec.nodeName === name);
    return reconcileNode({ node, silence: now - heardAt, pods }, this.#clock.now());
  }

  #follow(deployments: KeyQueue, sets: KeyQueue, services: KeyQueue, nodes: KeyQueue): void {
    this.#deployments.listen((before, after) => {
      if (after !== undefined) deployments.add(keyOf(after.metadata));
      // Its sets may be somebody else's now.
      else if (before !== undefined) this.#addSelecting(before, this.#deployments, deployments);
    });
    this.#sets.listen((before, after) => {
      if (after !== undefined) sets.add(keyOf(after.metadata));
      this.#addOwners(before, after, DEPLOYMENTS, this.#deployments, deployments);
    });
    this.pods.listen((before, after) => {
      this.#addOwners(before, after, REPLICA_SETS, this.#sets, sets);
      // Recreate waits until the old pods are gone.
      const set = before === undefined ? undefined : controllerOf(before.metadata);
      const owner = this.#sets.get(`${before?.metadata.namespace}/${set?.name}`);
      if (after === undefined && owner !== undefined) {
        this.#addOwners(owner, owner, DEPLOYMENTS, this.#deployments, deployments);
      }
      for (const service of this.#services.inNamespace((after ?? before)?.metadata.namespace)) {
        const { selector } = service.spec;
        if ([before, after].some((pod) => pod !== undefined && selectsAll(selector, pod.metadata.labels))) {
          services.add(keyOf(service.metadata));
        }
      }
      if (after !== undefined && isWaiting(after)) this.#scheduler.add(keyOf(after.metadata));
      if (after === undefined || before?.status?.phase !== after.status?.phase) this.#retryWaiting();
      const node = this.nodes.get(after?.spec.nodeName ?? "");
      const troubled = node !== undefined && (!isTrue(conditionOf(node, "Ready")) || hasEvicting(node));
      if (troubled) nodes.add(node.metadata.name);
    });
    this.#services.listen((before, after) =>
      services.add(keyOf((after ?? before)?.metadata ?? { name: "" })),
    );
    this.#slices.listen((before, after) => {
      // One that is taken from a service by its labels is missing there.
      for (const slice of [before, after]) {
        const name = slice?.metadata.labels?.[SERVICE_NAME];
        if (slice !== undefined && name !== undefined && isOurs(slice)) {
          services.add(`${slice.metadata.namespace}/${name}`);
        }
      }
    });
    this.nodes.listen((before, after) => {
      nodes.add((after ?? before)?.metadata.name ?? "");
      this.#retryWaiting();
      if (Bun.deepEquals(before?.metadata.labels, after?.metadata.labels)) return;
      // Zones of endpoints are labels of nodes.
      for (const service of this.#services.all()) services.add(keyOf(service.metadata));
    });
    this.#leases.listen((before, after) => {
      const { namespace, name = "" } = (after ?? before)?.metadata ?? {};
      if (namespace !== LEASE_NAMESPACE) return;
      if (after !== undefined && before?.spec?.renewTime !== after.spec?.renewTime) {
        this.#heard.set(name, this.#clock.monotonic());
      }
      nodes.add(name);
    });
  }

  /** Whatever changed may be what a pod waited for. */
  #retryWaiting(): void {
    for (const pod of this.pods.all()) if (isWaiting(pod)) this.#scheduler.add(keyOf(pod.metadata));
  }

  /** Owners of what an object was and is; without one, all that would adopt it. */
  #addOwners<T extends ApiObject & { readonly spec: { readonly selector: Parameters<typeof selects>[0] } }>(
    before: ApiObject | undefined,
    after: ApiObject | undefined,
    kind: Resource,
    cache: Cache<T>,
    queue: KeyQueue,
  ): void {
    for (const object of [before, after]) {
      if (object === undefined) continue;
      const owner = controllerOf(object.metadata);
      if (owner?.kind === kind.kind) queue.add(`${object.metadata.namespace}/${owner.name}`);
      else if (owner === undefined) this.#addSelecting(object, cache, queue);
    }
  }

  #addSelecting<
    T extends ApiObject & { readonly spec: { readonly selector: Parameters<typeof selects>[0] } },
  >({ metadata }: ApiObject, cache: Cache<T>, queue: KeyQueue): void {
    for (const candidate of cache.inNamespace(metadata.namespace)) {
      if (selects(candidate.spec.selector, metadata.labels)) queue.add(keyOf(candidate.metadata));
    }
  }
}

const hasEvicting = ({ spec }: NodeObject): boolean =>
  (spec?.taints ?? []).some(({ effect }) => effect === "NoExecute");
