/**
 * The pods of this node as the Kubernetes API has them: what names a workload, and what tells that its pod is gone.
 *
 * A static pod has two uids: the runtime, and with it CNI, knows it by a digest of its manifest, the API by the uid of
 * the mirror pod that the kubelet made. What people see, and what policies are made of, is the API's.
 */
import { News } from "@weft/base";
import type { Pod, PodAddressing, Workload } from "@weft/model";

export interface KnownPod extends Pick<Pod, "namespace" | "name" | "uid" | "runtimeUid"> {
  /** From where it gets its addresses; absent of one that asks for nothing in a cluster without pools. */
  readonly addressing?: PodAddressing;
}

export class KnownPods {
  readonly #byUid = new Map<string, KnownPod>();
  readonly #byName = new Map<string, KnownPod>();
  #current = false;
  readonly #news = new News();

  /** `current` is false while the API is away: names count on, absence says nothing. */
  take(pods: readonly KnownPod[], current: boolean): void {
    this.#byUid.clear();
    this.#byName.clear();
    for (const pod of pods) {
      this.#byUid.set(pod.uid, pod);
      if (pod.runtimeUid !== undefined) this.#byUid.set(pod.runtimeUid, pod);
      this.#byName.set(`${pod.namespace}/${pod.name}`, pod);
    }
    this.#current = current;
    this.#news.tell();
  }

  /** False while the API is away. */
  get current(): boolean {
    return this.#current;
  }

  /** The pod of a runtime's request; of one that gives no uid, by its name. */
  find({
    podUid,
    podNamespace,
    podName,
  }: Pick<Workload, "podUid" | "podNamespace" | "podName">): KnownPod | undefined {
    if (podUid !== undefined) return this.#byUid.get(podUid);
    return podName === undefined ? undefined : this.#byName.get(`${podNamespace}/${podName}`);
  }

  /** Resolves when pods are told anew, or after that many milliseconds. */
  news(most: number): Promise<void> {
    return this.#news.next(most);
  }

  /** The uid of its pod: as the API has it if that is known, else as the runtime does. */
  uidOf({ podUid }: Pick<Workload, "podUid">): string | undefined {
    return this.#byUid.get(podUid ?? "")?.uid ?? podUid;
  }

  /** The workload with its pod's uid as the API has it, if that is known. */
  named(workload: Workload): Workload {
    const podUid = this.uidOf(workload);
    return podUid === workload.podUid ? workload : { ...workload, podUid };
  }

  /** True when the API answers and has no such pod. A runtime that gives no uid is asked by name. */
  isGone({ podUid, podNamespace, podName }: Workload): boolean {
    if (!this.#current || podName === undefined) return false;
    if (podUid !== undefined) return !this.#byUid.has(podUid);
    return !this.#byName.has(`${podNamespace}/${podName}`);
  }
}
