/**
 * All pods that nodes of the lab have been given: what the API asks for against what runs. One change of a pod at a time.
 *
 *   bound, not ended           runs
 *   deletionTimestamp          ended within its grace, then deleted for good (its uid is a condition of that)
 *   gone, or another uid       ended at once; of another uid the new one follows
 */
import { hasCode } from "@weft/base";
import { type ApiClient, deleteObject, PODS } from "@weft/cluster/client";
import type { PodObject } from "../controllers/objects.ts";
import type { PodStatus } from "../status.ts";
import { isMirror } from "./agent-pods.ts";
import type { KeepRunning } from "./keep-running.ts";
import type { NodeNetwork } from "./node-network.ts";
import { PodRunner, type PodRunnerOptions } from "./pod-runner.ts";
import { Backoff, pause } from "./wait.ts";

export interface PodsOptions extends Omit<PodRunnerOptions, "changed"> {
  readonly client: ApiClient;
  /** Something about the pod has changed that is to be said in the API, or to be kept on disk. */
  readonly changed: (key: string) => void;
}

interface Slot {
  wanted: PodObject | undefined;
  runner: PodRunner | undefined;
  settling: Promise<void> | undefined;
}

/** For a pod that was taken out of the API without being asked to end. */
const FORCED_MS = 2000;

export class Pods {
  readonly #nodes: ReadonlyMap<string, NodeNetwork>;
  readonly #options: PodsOptions;
  readonly #slots = new Map<string, Slot>();
  readonly #hurry = new AbortController();

  constructor(nodes: ReadonlyMap<string, NodeNetwork>, options: PodsOptions) {
    this.#nodes = nodes;
    this.#options = options;
  }

  /** The pod is this now; undefined: it is gone. */
  take(key: string, object: PodObject | undefined): void {
    if (this.#hurry.signal.aborted) return;
    const isOurs = object !== undefined && this.#nodes.has(object.spec.nodeName ?? "") && !isMirror(object);
    const slot = this.#slots.get(key) ?? { wanted: undefined, runner: undefined, settling: undefined };
    slot.wanted = isOurs ? object : undefined;
    if (slot.wanted === undefined && slot.runner === undefined && slot.settling === undefined) return;
    this.#slots.set(key, slot);
    this.#hasten(slot);
    slot.settling ??= this.#settle(key, slot);
  }

  runner(key: string): PodRunner | undefined {
    return this.#slots.get(key)?.runner;
  }

  /** Of what runs, in any order. */
  status(): PodStatus[] {
    return [...this.#slots.values()].flatMap((slot) => slot.runner?.status() ?? []);
  }

  processes(): { name: string; process: KeepRunning }[] {
    return [...this.#slots.values()].flatMap((slot) => slot.runner?.processes() ?? []);
  }

  /** Stops all containers and leaves the networks as they are. */
  async stop(): Promise<void> {
    this.#hurry.abort();
    const slots = [...this.#slots.values()];
    for (const { runner } of slots) if (runner?.isTerminating === true) runner.hasten(FORCED_MS);
    await Promise.all(
      slots.map(async (slot) => {
        await slot.settling;
        await slot.runner?.stop();
      }),
    );
  }

  /** A shorter grace than the one that is running, or none. */
  #hasten({ runner, wanted }: Slot): void {
    if (runner?.isTerminating !== true) return;
    if (wanted?.metadata.uid !== runner.uid) runner.hasten(FORCED_MS);
    else if ((wanted.metadata.deletionGracePeriodSeconds ?? 30) <= 1) runner.hasten(1000);
  }

  async #settle(key: string, slot: Slot): Promise<void> {
    // So that `settling` is set by the time it is cleared below.
    await null;
    let seen: PodObject | undefined;
    do {
      seen = slot.wanted;
      // What is told between the end of a step and here has found `settling` set, and counts on this.
    } while (!this.#hurry.signal.aborted && ((await this.#step(key, slot)) || slot.wanted !== seen));
    slot.settling = undefined;
    if (slot.runner === undefined && slot.wanted === undefined) this.#slots.delete(key);
    this.#options.changed(key);
  }

  /** False when everything is as it should be. */
  async #step(key: string, slot: Slot): Promise<boolean> {
    const { runner, wanted } = slot;
    const { signal } = this.#hurry;
    if (runner !== undefined) {
      const isSame = wanted?.metadata.uid === runner.uid;
      if (isSame && wanted.metadata.deletionTimestamp === undefined) return false;
      const grace = isSame ? (wanted.metadata.deletionGracePeriodSeconds ?? 30) * 1000 : FORCED_MS;
      await runner.terminate(grace, signal);
      if (signal.aborted) return false;
      if (isSame) await this.#finish(wanted);
      slot.runner = undefined;
      return true;
    }
    if (wanted === undefined) return false;
    if (wanted.metadata.deletionTimestamp !== undefined) {
      await this.#finish(wanted);
      // Until the watch tells that it is gone, there is nothing more to do.
      return slot.wanted !== wanted;
    }
    if (wanted.status?.phase === "Succeeded" || wanted.status?.phase === "Failed") return false;
    const node = this.#nodes.get(wanted.spec.nodeName ?? "");
    if (node === undefined) return false;
    const options = { ...this.#options, changed: () => this.#options.changed(key) };
    slot.runner = new PodRunner(wanted, node, options);
    slot.runner.start();
    return true;
  }

  /** Deletes it for good: nothing of it runs. Tries until the server has heard it. */
  async #finish(pod: PodObject): Promise<void> {
    const { namespace = "default", name, uid } = pod.metadata;
    const { client, clock } = this.#options;
    const backoff = new Backoff(50, 2000);
    while (!this.#hurry.signal.aborted) {
      try {
        const condition = uid === undefined ? {} : { uid };
        await deleteObject(client, PODS, { namespace, name }, { ...condition, gracePeriodSeconds: 0 });
        return;
      } catch (error) {
        // Another one has its name.
        if (hasCode(error, "conflict") || hasCode(error, "not-found")) return;
        await pause(clock, backoff.next(), this.#hurry.signal);
      }
    }
  }
}

/** One that has no node of the lab, and so no runner. */
export function unplacedStatus(pod: PodObject, now: number): PodStatus {
  const { namespace = "default", name, uid = "" } = pod.metadata;
  const { nodeName, hostNetwork = false } = pod.spec;
  const unscheduled = pod.status?.conditions?.find((c) => c.type === "PodScheduled" && c.status === "False");
  const { phase = "Pending" } = pod.status ?? {};
  const isOver = phase === "Succeeded" || phase === "Failed";
  const nowhere = nodeName === undefined ? unscheduled?.message : `the lab has no node "${nodeName}"`;
  return {
    namespace,
    name,
    uid,
    node: nodeName,
    hostNetwork,
    phase: pod.metadata.deletionTimestamp !== undefined ? "Terminating" : (phase as PodStatus["phase"]),
    ready: false,
    podIPs: [],
    containers: [],
    restarts: 0,
    since: Date.parse(pod.metadata.creationTimestamp ?? "") || now,
    error: isOver ? undefined : (nowhere ?? "waits for a node"),
    hopeless: !isOver && nowhere !== undefined,
    namespacePath: undefined,
    interface: undefined,
  };
}
