/**
 * What a node should say of its network, from what it says and how its agent is. Pure.
 *
 *   agent ready                     NetworkUnavailable False, WeftIsReady; the start-up taint goes
 *   not ready, for less than grace  as it is: an agent that is replaced or restarted leaves the network standing
 *   not ready for longer            NetworkUnavailable True, WeftIsNotReady: Kubernetes then taints the node
 *                                   node.kubernetes.io/network-unavailable:NoSchedule by itself
 *
 *   label weft.network/network      of another network: it is left alone (apps/install/migrate)
 *   "other"
 *
 * A node that is new has no such condition; until its agent is ready its kubelet reports that there is no CNI
 * configuration, which keeps pods away as well.
 */

import type { IpAddress, Prefix } from "@weft/base";

/** A node may be registered with this taint (kubelet --register-with-taints): no pod comes before its network. */
export const STARTUP_TAINT = "weft.network/agent-not-ready";
export const CONDITION = "NetworkUnavailable";

/** The parts of a Node that matter here. */
export interface NodeRow {
  readonly name: string;
  readonly uid: string | undefined;
  readonly network: { readonly status: string; readonly reason: string } | undefined;
  readonly hasStartupTaint: boolean;
  /** Another network serves its pods, and speaks for it. */
  readonly isOthers: boolean;
  /** Its podCIDRs, and all of its addresses: no pool may overlap them. */
  readonly ranges: readonly Prefix[];
  readonly addresses: readonly IpAddress[];
}

export interface Wanted {
  /** Undefined: the condition is as it should be. */
  readonly condition?: {
    readonly status: "True" | "False";
    readonly reason: string;
    readonly message: string;
  };
  readonly removeTaint: boolean;
  /** Milliseconds after which to look again, though nothing may have changed by then. */
  readonly lookAgain?: number;
}

const READY = {
  status: "False",
  reason: "WeftIsReady",
  message: "Weft's agent serves this node's pods",
} as const;

const notReady = (grace: number) =>
  ({
    status: "True",
    reason: "WeftIsNotReady",
    message: `Weft's agent on this node has not been ready for ${Math.round(grace / 1000)} s; see its pod's log`,
  }) as const;

/**
 * `notReadyFor` is undefined when the agent is ready, else for how many milliseconds it has been seen not to be.
 */
export function wantedOf(node: NodeRow, notReadyFor: number | undefined, grace: number): Wanted {
  if (node.isOthers) return { removeTaint: false };
  if (notReadyFor === undefined) {
    return { removeTaint: node.hasStartupTaint, ...(same(node, READY) ? {} : { condition: READY }) };
  }
  if (notReadyFor < grace) return { removeTaint: false, lookAgain: grace - notReadyFor };
  const wanted = notReady(grace);
  return { removeTaint: false, ...(same(node, wanted) ? {} : { condition: wanted }) };
}

const same = ({ network }: NodeRow, wanted: { status: string; reason: string }): boolean =>
  network?.status === wanted.status && network.reason === wanted.reason;
