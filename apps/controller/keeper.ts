/**
 * Brings nodes to what they should say, one after the other. A node is looked at when it or its agent changed, when a
 * grace is over, and some time after whatever went wrong.
 */
import { type Clock, isNotFound, systemClock } from "@weft/base";
import { type EventRecorder, KeyQueue, timestamp } from "@weft/cluster/client";
import type { ControllerOptions } from "./controller.ts";
import { recordEvents } from "./events.ts";
import { type NodeRow, wantedOf } from "./node-state.ts";
import { removeStartupTaint, writeCondition } from "./write.ts";

type KeeperOptions = Pick<ControllerOptions, "client" | "identity" | "grace" | "logger" | "clock">;

const RETRY = { first: 2000, cap: 2000 };

export class NodeKeeper {
  readonly #options: KeeperOptions;
  readonly #signal: AbortSignal;
  readonly #nodes: ReadonlyMap<string, NodeRow>;
  readonly #agentReady: (node: string) => boolean;
  readonly #clock: Clock;
  readonly #events: EventRecorder;
  readonly #queue: KeyQueue;
  /** Since when an agent is not ready, by the monotonic clock. */
  readonly #since = new Map<string, number>();

  constructor(
    options: KeeperOptions,
    signal: AbortSignal,
    nodes: ReadonlyMap<string, NodeRow>,
    agentReady: (node: string) => boolean,
  ) {
    this.#options = options;
    this.#signal = signal;
    this.#nodes = nodes;
    this.#agentReady = agentReady;
    this.#clock = options.clock ?? systemClock;
    this.#events = recordEvents(options, this.#clock);
    this.#queue = new KeyQueue({
      name: "node",
      look: (name) => this.#keep(name),
      atOnce: 1,
      retry: RETRY,
      isFinal: isNotFound,
      signal,
      clock: this.#clock,
      logger: options.logger,
    });
  }

  start(): void {
    for (const name of this.#nodes.keys()) this.#queue.add(name);
    this.#queue.start();
  }

  look(name: string): void {
    this.#queue.add(name);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.#events.stop();
  }

  /** Milliseconds after which a grace is over. */
  async #keep(name: string): Promise<number | undefined> {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      this.#since.delete(name);
      return undefined;
    }
    const { client, grace, logger } = this.#options;
    const wanted = wantedOf(node, this.#notReadyFor(name), grace);
    const context = {
      client,
      signal: this.#signal,
      now: timestamp(this.#clock.now()),
    };
    const { condition } = wanted;
    if (condition !== undefined) {
      await writeCondition(context, name, condition);
      logger.info("condition written", { node: name, reason: condition.reason });
      this.#tell(
        node,
        condition.status === "True" ? "Warning" : "Normal",
        condition.reason,
        condition.message,
      );
    }
    if (wanted.removeTaint && (await removeStartupTaint(context, name)))
      logger.info("start-up taint removed", { node: name });
    return wanted.lookAgain;
  }

  #notReadyFor(name: string): number | undefined {
    if (this.#agentReady(name)) {
      this.#since.delete(name);
      return undefined;
    }
    const now = this.#clock.monotonic();
    const since = this.#since.get(name) ?? now;
    this.#since.set(name, since);
    return now - since;
  }

  #tell({ name, uid }: NodeRow, type: "Normal" | "Warning", reason: string, note: string): void {
    // The kubelet's events about a node have its name as the UID, and kubectl describe looks for that.
    const regarding = { apiVersion: "v1", kind: "Node", name, uid: uid ?? name };
    this.#events.record({ regarding, type, reason, action: "Reporting", note });
  }
}
