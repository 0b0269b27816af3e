/**
 * From where a pod gets its addresses. The cluster thread says so of every pod that it knows; a pod whose ADD is faster
 * than its watch is waited for briefly, and then asked for by name. While the API is away, what is known counts, and of
 * what is not, whatever a pod of its namespace gets that asks for nothing.
 */
import { isTimeout, isUnavailable, WeftError } from "@weft/base";
import type { PodAsks } from "@weft/cluster/client";
import { CniError, CODE } from "@weft/cni";
import { PLAIN, podAddressing, type Selection } from "@weft/compile";
import type { PoolView } from "@weft/ipam";
import type { IpPool, PodAddressing } from "@weft/model";
import type { AttachmentRequest } from "@weft/plugin-weft";
import type { KnownPod, KnownPods } from "../known-pods.ts";

/** How long a pod is waited for that the watch has not told of. */
const PATIENCE_MS = 1_000;
/** The same without pools, where nobody has to be in the API. */
const PLAIN_PATIENCE_MS = 200;

export interface AddressingOptions {
  readonly pods: KnownPods;
  readonly view: () => PoolView;
  readonly read: (
    place: { namespace: string; name: string },
    signal: AbortSignal,
  ) => Promise<PodAsks | undefined>;
}

type Named = Pick<AttachmentRequest, "podUid" | "podNamespace" | "podName">;

/** Throws "busy" for a pod that the API does not know, "invalid" for one that asks for what cannot be. */
export async function addressingOf(
  request: Named,
  { pods, view, read }: AddressingOptions,
  signal: AbortSignal,
): Promise<PodAddressing> {
  const { podName, podNamespace } = request;
  if (podName === undefined || podNamespace === undefined) return checked(view().otherwise, "the container");
  const what = `pod ${podNamespace}/${podName}`;
  const known = await soonKnown(request, pods, PATIENCE_MS, signal);
  if (known !== undefined) return checked(known.addressing ?? PLAIN, what);
  if (!pods.current) return checked(byNamespaceOf(view(), podNamespace), what);
  let found: PodAsks | undefined;
  try {
    found = await read({ namespace: podNamespace, name: podName }, signal);
  } catch (error) {
    // Away, and the watches have not noticed yet: a server that hangs leaves them open for minutes.
    if (signal.aborted || !(isUnavailable(error) || isTimeout(error))) throw error;
    return checked(byNamespaceOf(view(), podNamespace), what);
  }
  if (found === undefined) {
    throw new CniError(CODE.tryAgainLater, `${what} is not in the API server`, {
      hint: "It was deleted, or the server was restored from a backup. It is tried again.",
    });
  }
  return checked(podAddressing(selectionOf(view()), found.pod, found.namespace), what);
}

/**
 * In a cluster without pools: throws "invalid" for a pod that asks for some, or for an address. One that is not known in
 * time asks for nothing.
 */
export async function refuseWishes(request: Named, pods: KnownPods, signal: AbortSignal): Promise<void> {
  const { podName, podNamespace } = request;
  if (podName === undefined || !pods.current) return;
  const known = await soonKnown(request, pods, PLAIN_PATIENCE_MS, signal);
  const { wanted, problem } = known?.addressing ?? PLAIN;
  if (wanted.length === 0 && problem === undefined) return;
  const why = problem ?? `there is no pool that has ${wanted.join(" or ")}`;
  throw new WeftError("invalid", `pod ${podNamespace}/${podName}: ${why}`, {
    hint: "The cluster has no IPPool: make one, or remove the annotations weft.network/pools and weft.network/addresses.",
  });
}

/** The pod as the watch tells of it; undefined when it has not in that many milliseconds, or is away. */
async function soonKnown(
  request: Named,
  pods: KnownPods,
  patience: number,
  signal: AbortSignal,
): Promise<KnownPod | undefined> {
  const until = performance.now() + patience;
  for (;;) {
    signal.throwIfAborted();
    const known = pods.find(request);
    const left = until - performance.now();
    if (known !== undefined || !pods.current || left <= 0) return known;
    await pods.news(left);
  }
}

/** What a pod of that namespace gets which asks for nothing. */
function byNamespaceOf({ byNamespace = {}, otherwise }: PoolView, namespace: string): PodAddressing {
  return (Object.hasOwn(byNamespace, namespace) ? byNamespace[namespace] : undefined) ?? otherwise;
}

function checked(addressing: PodAddressing, what: string): PodAddressing {
  if (addressing.problem === undefined) return addressing;
  throw new WeftError("invalid", `${what}: ${addressing.problem}`, {
    hint: "Correct the annotations weft.network/pools and weft.network/addresses of the pod or its namespace, or the pool.",
  });
}

/** The node's labels are the cluster thread's: what it found usable here has this node, and everything else has not. */
function selectionOf({ pools, usable }: PoolView): Selection {
  const nobody: IpPool["nodeSelector"] = [{ key: "weft.network/none", operator: "Exists", values: [] }];
  return {
    labels: {},
    pools: pools.map((p) => ({ ...p, nodeSelector: usable.includes(p.name) ? [] : nobody })),
  };
}
