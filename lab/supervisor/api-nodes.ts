/** Nodes of the lab, their leases and their agents' pods in the API, kept true. */
import type { Clock, Logger } from "@weft/base";
import { KeyQueue } from "@weft/cluster/client";
import { apply, isOutrun } from "../controllers/apply.ts";
import { type Controllers, LEASE_NAMESPACE } from "../controllers/index.ts";
import { conditionOf, isTrue } from "../controllers/objects.ts";
import { isMirror, reconcileAgentPod } from "./agent-pods.ts";
import type { Agent } from "./agents.ts";
import { type NodeAddresses, watchAddresses } from "./node-addresses.ts";
import { LEASE_EVERY_MS, reconcileNodeObject, renewal } from "./node-runner.ts";

export interface ApiNodesOptions {
  readonly controllers: Controllers;
  readonly agents: ReadonlyMap<string, Agent>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ApiNodes {
  readonly #o: ApiNodesOptions;
  readonly #nodes: KeyQueue;
  readonly #pods: KeyQueue;
  readonly #leases: KeyQueue;
  readonly #addresses = new Map<string, NodeAddresses>();

  constructor(options: ApiNodesOptions) {
    this.#o = options;
    const { controllers, agents, clock, logger } = options;
    const queue = (name: string, look: (agent: Agent) => Promise<number | undefined>): KeyQueue =>
      new KeyQueue({
        name,
        clock,
        logger,
        isExpected: isOutrun,
        look: async (node) => {
          const agent = agents.get(node);
          return agent === undefined ? undefined : look(agent);
        },
      });
    this.#nodes = queue("node-status", (agent) => this.#writeNode(agent));
    this.#pods = queue("agent-pod", (agent) => this.#writePod(agent));
    this.#leases = queue("lease", (agent) => this.#renew(agent));
    // What its users take away comes back: the machine is still there.
    controllers.nodes.listen((before, after) => this.#nodes.add((after ?? before)?.metadata.name ?? ""));
    controllers.pods.listen((before, after) => {
      const pod = after ?? before;
      if (pod !== undefined && isMirror(pod)) this.#pods.add(pod.spec.nodeName ?? "");
    });
  }

  /** Nodes, and what is said of them. */
  start(): void {
    const { agents, logger } = this.#o;
    for (const [name, { network }] of agents) {
      this.#addresses.set(
        name,
        watchAddresses(network.node, () => this.changed(name), logger),
      );
    }
    this.#begin(this.#nodes);
  }

  /** Leases and agents' pods as well. */
  startRest(): void {
    this.#begin(this.#pods);
    this.#begin(this.#leases);
  }

  async stop(): Promise<void> {
    for (const { stop } of this.#addresses.values()) stop();
    await Promise.all([this.#nodes, this.#pods, this.#leases].map((queue) => queue.stop()));
  }

  #begin(queue: KeyQueue): void {
    for (const node of this.#o.agents.keys()) queue.add(node);
    queue.start();
  }

  /** An agent is not as it was. */
  changed(node: string): void {
    this.#nodes.add(node);
    this.#pods.add(node);
  }

  /** Nodes of the lab that are not ready, as the API has it. */
  get unready(): readonly string[] {
    const { controllers, agents } = this.#o;
    return [...agents.keys()].filter((name) => {
      const node = controllers.nodes.get(name);
      return node === undefined || !isTrue(conditionOf(node, "Ready"));
    });
  }

  async #writeNode(agent: Agent): Promise<number> {
    const { controllers, clock } = this.#o;
    const { node } = agent.network;
    const addresses = this.#addresses.get(node.name)?.current() ?? node.addresses;
    const view = { node, addresses, network: agent.networkState };
    const { writes } = reconcileNodeObject(view, controllers.nodes, clock.now());
    await apply(writes, controllers);
    return LEASE_EVERY_MS;
  }

  async #writePod(agent: Agent): Promise<undefined> {
    const { controllers, clock } = this.#o;
    const { writes } = reconcileAgentPod(agent, controllers.pods, clock.now());
    await apply(writes, controllers);
    // What was only created has no status yet.
    const { name } = agent.network.node;
    if (writes.some(({ verb }) => verb !== "status")) this.#pods.add(name);
  }

  async #renew(agent: Agent): Promise<number> {
    const { controllers, clock } = this.#o;
    const node = controllers.nodes.get(agent.network.node.name);
    if (node === undefined) return 500;
    const lease = controllers.lease(`${LEASE_NAMESPACE}/${node.metadata.name}`);
    await apply([renewal(lease, node, clock.now())], controllers);
    return LEASE_EVERY_MS;
  }
}
