/** All pods of the lab: what the manifests ask for against what runs. One change of a pod at a time. */
import type { Pod } from "@weft/model";
import { podKey, schedule } from "../schedule.ts";
import type { PodStatus } from "../status.ts";
import type { KeepRunning } from "./keep-running.ts";
import type { NodeNetwork } from "./node-network.ts";
import { PodRunner, type PodRunnerOptions } from "./pod-runner.ts";

interface Slot {
  wanted: { readonly pod: Pod; readonly node: string } | undefined;
  runner: PodRunner | undefined;
  settling: Promise<void> | undefined;
}

export class Pods {
  readonly #nodes: ReadonlyMap<string, NodeNetwork>;
  readonly #options: PodRunnerOptions;
  readonly #slots = new Map<string, Slot>();
  readonly #hurry = new AbortController();
  #placed: ReadonlyMap<string, string> = new Map();
  #unplaced: readonly Pod[] = [];

  constructor(nodes: ReadonlyMap<string, NodeNetwork>, options: PodRunnerOptions) {
    this.#nodes = nodes;
    this.#options = options;
  }

  /** Makes these the pods that run: others go, new ones come, changed ones are made anew. */
  update(pods: readonly Pod[]): void {
    if (this.#hurry.signal.aborted) return;
    this.#placed = schedule(pods, [...this.#nodes.keys()], this.#placed);
    this.#unplaced = pods.filter((pod) => !this.#placed.has(podKey(pod)));
    const wanted = new Map(pods.map((pod) => [podKey(pod), pod]));
    for (const key of new Set([...this.#slots.keys(), ...wanted.keys()])) {
      const pod = wanted.get(key);
      const node = this.#placed.get(key);
      const slot = this.#slots.get(key) ?? { wanted: undefined, runner: undefined, settling: undefined };
      slot.wanted = pod === undefined || node === undefined ? undefined : { pod, node };
      this.#slots.set(key, slot);
      slot.settling ??= this.#settle(key, slot);
    }
    this.#options.changed();
  }

  status(): PodStatus[] {
    const running = [...this.#slots.values()].flatMap((slot) => slot.runner?.status() ?? []);
    const waiting = this.#unplaced.map((pod) => unplacedStatus(pod, this.#options.clock.now()));
    return [...running, ...waiting].sort((a, b) => (podKey(a) < podKey(b) ? -1 : 1));
  }

  processes(): { name: string; process: KeepRunning }[] {
    return [...this.#slots.values()].flatMap((slot) => slot.runner?.processes() ?? []);
  }

  /** Stops all containers and leaves the networks as they are. */
  async stop(): Promise<void> {
    this.#hurry.abort();
    await Promise.all(
      [...this.#slots.values()].map(async (slot) => {
        await slot.settling;
        await slot.runner?.stop(false, this.#hurry.signal);
      }),
    );
  }

  async #settle(key: string, slot: Slot): Promise<void> {
    // So that `settling` is set by the time it is cleared below.
    await null;
    while (!this.#hurry.signal.aborted) {
      const { runner, wanted } = slot;
      if (runner !== undefined && !(wanted !== undefined && isSame(runner, wanted))) {
        await runner.stop(true, this.#hurry.signal);
        if (this.#hurry.signal.aborted) break;
        slot.runner = undefined;
      } else if (runner === undefined && wanted !== undefined) {
        const { pod, node } = wanted;
        slot.runner = new PodRunner(pod, node, this.#nodes.get(node), this.#options);
        slot.runner.start();
      } else {
        break;
      }
    }
    slot.settling = undefined;
    if (slot.runner === undefined && slot.wanted === undefined) this.#slots.delete(key);
    this.#options.changed();
  }
}

/** Labels may change under a running pod; what its processes and network are made of may not. */
function isSame(runner: PodRunner, wanted: { readonly pod: Pod; readonly node: string }): boolean {
  const { pod } = runner;
  return (
    runner.nodeName === wanted.node &&
    pod.uid === wanted.pod.uid &&
    pod.hostNetwork === wanted.pod.hostNetwork &&
    Bun.deepEquals(pod.containers, wanted.pod.containers)
  );
}

const unplacedStatus = (pod: Pod, now: number): PodStatus => ({
  namespace: pod.namespace,
  name: pod.name,
  uid: pod.uid,
  node: undefined,
  hostNetwork: pod.hostNetwork,
  phase: "Pending",
  ready: false,
  podIPs: [],
  containers: [],
  restarts: 0,
  since: now,
  error: "there is no node to put it on",
  hopeless: true,
  namespacePath: undefined,
  interface: undefined,
});
