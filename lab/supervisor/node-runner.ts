/**
 * What a kubelet is to its node, for each node of the lab: registers it, says whether it can take pods, renews its lease.
 *
 *   Node    made when it is not there; labels, taints and a cordon of its users stay as they are
 *   Ready   True while the network plugin's STATUS is well; one failure may be an agent that is being replaced, so it
 *           must last for some seconds before it counts
 *   Lease   kube-node-lease/NODE, every 10 s
 */

import { readFileSync } from "node:fs";
import { availableParallelism, release, totalmem } from "node:os";
import { LEASES, NODES } from "@weft/cluster/client";
import type { Cache } from "../controllers/cache.ts";
import { LEASE_NAMESPACE } from "../controllers/index.ts";
import {
  conditionOf,
  equal,
  type LeaseObject,
  type NodeObject,
  ownedBy,
  timestamp,
  withCondition,
} from "../controllers/objects.ts";
import { eventOf, type Outcome, type Write } from "../controllers/write.ts";
import { bootId } from "../processes.ts";
import type { PlannedNode } from "../topology.ts";

export const LEASE_EVERY_MS = 10_000;
/** A node's status that says the same is written again after this long. */
const HEARTBEAT_MS = 300_000;
const LEASE_SECONDS = 40;

/** What is known of a node's network: undefined while nothing is. */
export type NetworkFault = { readonly fault: string | undefined } | undefined;

export interface NodeView {
  readonly node: PlannedNode;
  /** Where other nodes reach it, IPv4 first. */
  readonly addresses: readonly string[];
  readonly network: NetworkFault;
}

export function reconcileNodeObject(view: NodeView, nodes: Cache<NodeObject>, now: number): Outcome {
  const held = nodes.get(view.node.name);
  const object = held ?? nodeOf(view.node);
  const status = nodeStatus(object, view, now);
  const isStale = heartbeatAge(object, now) >= HEARTBEAT_MS;
  if (held !== undefined && !isStale && equal(plain(status), plain(object.status))) return { writes: [] };
  const event = readyEvent(object, status);
  const write: Write = {
    verb: held === undefined ? "create" : "status",
    kind: NODES,
    object: { ...object, status },
  };
  return { writes: [event === undefined ? write : { ...write, event }] };
}

/** As it is when it is registered; after that its users may change what they like. */
function nodeOf({ name, rack, podCIDRs }: PlannedNode): NodeObject {
  return {
    metadata: {
      name,
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": ARCHITECTURE,
        "topology.kubernetes.io/zone": rack,
      },
    },
    spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
  };
}

const ARCHITECTURE = process.arch === "x64" ? "amd64" : process.arch;

function nodeStatus(
  object: NodeObject,
  { node, addresses: own, network }: NodeView,
  now: number,
): NonNullable<NodeObject["status"]> {
  const held = object.status ?? {};
  const addresses = [
    ...own.map((address) => ({ type: "InternalIP", address })),
    { type: "Hostname", address: node.name },
  ];
  const conditions =
    network === undefined
      ? held.conditions
      : withCondition(held.conditions, readyOf(network.fault, now), now);
  return {
    ...held,
    addresses,
    capacity: capacity(),
    allocatable: capacity(),
    nodeInfo: nodeInfo(),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

const readyOf = (fault: string | undefined, now: number) => ({
  type: "Ready",
  status: fault === undefined ? "True" : "False",
  reason: fault === undefined ? "KubeletReady" : "KubeletNotReady",
  message:
    fault === undefined
      ? "the lab's runner of this node takes pods"
      : `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: ${fault}`,
  lastHeartbeatTime: timestamp(now),
});

const heartbeatAge = (object: NodeObject, now: number): number =>
  now - (Date.parse(conditionOf(object, "Ready")?.lastHeartbeatTime ?? "") || now);

/** Without the time of the heartbeat, which alone is no reason to write. */
const plain = (status: NodeObject["status"]): unknown => ({
  ...status,
  conditions: status?.conditions?.map(({ lastHeartbeatTime: _, ...rest }) => rest),
});

function readyEvent(object: NodeObject, status: NonNullable<NodeObject["status"]>) {
  const before = conditionOf(object, "Ready")?.status;
  const after = conditionOf({ status }, "Ready")?.status;
  if (after === undefined || before === after) return undefined;
  const word = after === "True" ? "NodeReady" : "NodeNotReady";
  return eventOf(
    NODES,
    object,
    "Normal",
    word,
    "Monitoring",
    `Node ${object.metadata.name} status is now: ${word}`,
  );
}

/** The machine's own: its nodes share it, and nothing is measured out. */
const capacity = (): object => ({
  cpu: `${availableParallelism()}`,
  memory: `${Math.floor(totalmem() / 1024)}Ki`,
  pods: "110",
});

let known: object | undefined;
function nodeInfo(): object {
  known ??= {
    architecture: ARCHITECTURE,
    bootID: bootId(),
    containerRuntimeVersion: "weft-lab://1",
    kernelVersion: release(),
    kubeletVersion: "weft-lab",
    kubeProxyVersion: "",
    machineID: machineId(),
    operatingSystem: "linux",
    osImage: osImage(),
    systemUUID: "",
  };
  return known;
}

const machineId = (): string => textOf("/etc/machine-id").trim();
const osImage = (): string => /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(textOf("/etc/os-release"))?.[1] ?? "Linux";

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** The lease, renewed. */
export function renewal(lease: LeaseObject | undefined, node: NodeObject, now: number): Write {
  const { name } = node.metadata;
  const spec = {
    holderIdentity: name,
    leaseDurationSeconds: LEASE_SECONDS,
    renewTime: new Date(now).toISOString().replace(/Z$/, "000Z"),
  };
  if (lease !== undefined) {
    return { verb: "update", kind: LEASES, object: { ...lease, spec: { ...lease.spec, ...spec } } };
  }
  const { controller: _, blockOwnerDeletion: __, ...owner } = ownedBy(NODES, node);
  const object = { metadata: { name, namespace: LEASE_NAMESPACE, ownerReferences: [owner] }, spec };
  return { verb: "create", kind: LEASES, object };
}
