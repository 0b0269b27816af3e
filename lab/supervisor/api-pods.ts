/**
 * Pods of the API and of this machine, brought together: what is bound to a node of the lab is run there, and what runs
 * is said in the API. What cannot be said, because the server is away, is said once it is back: a status is made of what
 * is, at the moment when it is written.
 */
import type { Clock, Logger } from "@weft/base";
import { KeyQueue, PODS } from "@weft/cluster/client";
import { apply, isOutrun } from "../controllers/apply.ts";
import type { Controllers } from "../controllers/index.ts";
import { equal, keyOf, type PodObject } from "../controllers/objects.ts";
import { type PodStatus, podKey } from "../status.ts";
import { isMirror } from "./agent-pods.ts";
import { type Pods, unplacedStatus } from "./pods.ts";

/** What changes within this time is said in one write. */
const GATHER_MS = 60;

export interface ApiPodsOptions {
  readonly controllers: Controllers;
  readonly pods: Pods;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ApiPods {
  readonly #o: ApiPodsOptions;
  readonly #queue: KeyQueue;

  constructor(options: ApiPodsOptions) {
    this.#o = options;
    const { controllers, pods, clock, logger } = options;
    this.#queue = new KeyQueue({
      name: "pod-status",
      clock,
      logger,
      isExpected: isOutrun,
      atOnce: 8,
      look: (key) => this.#write(key),
    });
    controllers.pods.listen((before, after) => {
      const key = keyOf((after ?? before)?.metadata ?? { name: "" });
      pods.take(key, after);
      // Somebody else may have said something of it.
      if (after !== undefined) this.changed(key);
    });
  }

  start(): void {
    this.#queue.start();
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /** Something about the pod is to be said. */
  changed(key: string): void {
    this.#queue.later(key, GATHER_MS);
  }

  /** Every pod, in the order of namespace and name. */
  status(): PodStatus[] {
    const { controllers, pods, clock } = this.#o;
    const running = pods.status();
    const keys = new Set(running.map(podKey));
    const others = controllers.pods
      .all()
      .filter((pod) => !isMirror(pod) && !keys.has(keyOf(pod.metadata)))
      .map((pod) => unplacedStatus(pod, clock.now()));
    return [...running, ...others].sort((a, b) => (podKey(a) < podKey(b) ? -1 : 1));
  }

  async #write(key: string): Promise<undefined> {
    const { controllers, pods, clock } = this.#o;
    const pod: PodObject | undefined = controllers.pods.get(key);
    const runner = pods.runner(key);
    if (pod === undefined || runner === undefined || runner.uid !== pod.metadata.uid) return;
    const status = runner.apiStatus(pod, clock.now());
    if (equal(status, pod.status)) return;
    await apply([{ verb: "status", kind: PODS, object: { ...pod, status } }], controllers);
  }
}
