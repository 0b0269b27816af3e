/**
 * The two writes to a Node. The condition by a strategic merge, which touches no other condition; the taints by a merge
 * that replaces their list, and therefore only if nobody changed the node since it was read.
 */
import { hasCode, isNotFound } from "@weft/base";
import { type ApiClient, getObject, type KubernetesObject, NODES, patchObject } from "@weft/cluster/client";
import { taintsOf } from "./decode.ts";
import { CONDITION, STARTUP_TAINT, type Wanted } from "./node-state.ts";

export interface WriteContext {
  readonly client: ApiClient;
  readonly signal: AbortSignal;
  /** RFC 3339, in seconds. */
  readonly now: string;
}

export async function writeCondition(
  { client, signal, now }: WriteContext,
  node: string,
  wanted: NonNullable<Wanted["condition"]>,
): Promise<void> {
  const condition = { type: CONDITION, ...wanted, lastTransitionTime: now, lastHeartbeatTime: now };
  const options = { subresource: "status", fieldManager: "weft-controller", signal };
  await patchObject(
    client,
    NODES,
    { name: node },
    "strategic",
    { status: { conditions: [condition] } },
    options,
  );
}

const TRIES = 5;

/** True when it was there. A node that is gone has none. */
export async function removeStartupTaint({ client, signal }: WriteContext, node: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      const object = await getObject<KubernetesObject>(client, NODES, { name: node }, { signal });
      const taints = taintsOf(object);
      const kept = taints.filter((t) => t["key"] !== STARTUP_TAINT);
      if (kept.length === taints.length) return false;
      const { resourceVersion } = object.metadata;
      const patch = { metadata: { resourceVersion }, spec: { taints: kept.length === 0 ? null : kept } };
      await patchObject(client, NODES, { name: node }, "merge", patch, {
        fieldManager: "weft-controller",
        signal,
      });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      if (attempt === TRIES || !hasCode(error, "conflict")) throw error;
    }
  }
}
