/** Objects for tests: what matters is said, the rest is as a server would fill it in. */
import type {
  DeploymentObject,
  NodeObject,
  PodObject,
  ReplicaSetObject,
  ServiceObject,
  Taint,
} from "../objects.ts";
import { timestamp } from "../objects.ts";

export const NOW = Date.parse("2026-01-02T03:04:05Z");
export const ago = (seconds: number): string => timestamp(NOW - seconds * 1000);

interface PodChoice {
  readonly node?: string;
  readonly labels?: Record<string, string>;
  readonly phase?: string;
  readonly ready?: boolean;
  readonly readySince?: number;
  readonly age?: number;
  readonly ips?: readonly string[];
  readonly owner?: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly deleting?: boolean;
  readonly restarts?: number;
  readonly annotations?: Record<string, string>;
  readonly spec?: Partial<PodObject["spec"]>;
}

export function pod(name: string, choice: PodChoice = {}): PodObject {
  const { node, labels, phase = "Running", ready = phase === "Running", ips = [], owner } = choice;
  return {
    metadata: {
      name,
      namespace: "default",
      uid: `uid-${name}`,
      creationTimestamp: ago(choice.age ?? 100),
      ...(labels === undefined ? {} : { labels }),
      ...(choice.annotations === undefined ? {} : { annotations: choice.annotations }),
      ...(choice.deleting === true ? { deletionTimestamp: ago(0) } : {}),
      ...(owner === undefined
        ? {}
        : { ownerReferences: [{ apiVersion: "apps/v1", ...owner, controller: true }] }),
    },
    spec: {
      containers: [{ name: "c", image: "weft/pause" }],
      ...(node === undefined ? {} : { nodeName: node }),
      ...choice.spec,
    },
    status: {
      phase,
      podIPs: ips.map((ip) => ({ ip })),
      conditions: [
        { type: "Ready", status: ready ? "True" : "False", lastTransitionTime: ago(choice.readySince ?? 50) },
      ],
      containerStatuses: [
        {
          name: "c",
          image: "weft/pause",
          imageID: "",
          ready,
          started: true,
          restartCount: choice.restarts ?? 0,
          state: {},
          lastState: {},
        },
      ],
    },
  };
}

export function node(
  name: string,
  choice: {
    readonly ready?: string | undefined;
    readonly unschedulable?: boolean;
    readonly taints?: readonly Taint[];
    readonly labels?: Record<string, string>;
    readonly networkUnavailable?: boolean;
  } = {},
): NodeObject {
  const { ready = "True", unschedulable, taints } = choice;
  return {
    metadata: { name, uid: `uid-${name}`, labels: { "kubernetes.io/hostname": name, ...choice.labels } },
    spec: {
      ...(unschedulable === undefined ? {} : { unschedulable }),
      ...(taints === undefined ? {} : { taints }),
    },
    status: {
      conditions: [
        { type: "Ready", status: ready, lastTransitionTime: ago(50) },
        ...(choice.networkUnavailable === true ? [{ type: "NetworkUnavailable", status: "True" }] : []),
      ],
    },
  };
}

const TEMPLATE = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "c", image: "weft/echo:1" }] },
};

export const replicaSet = (
  name: string,
  spec: Partial<ReplicaSetObject["spec"]> = {},
  rest: Partial<ReplicaSetObject> = {},
): ReplicaSetObject => ({
  metadata: { name, namespace: "default", uid: `uid-${name}`, generation: 1, resourceVersion: "1" },
  spec: { replicas: 1, selector: { matchLabels: { app: "web" } }, template: TEMPLATE, ...spec },
  ...rest,
});

export const deployment = (spec: Partial<DeploymentObject["spec"]> = {}): DeploymentObject => ({
  metadata: { name: "web", namespace: "default", uid: "uid-web", generation: 1, resourceVersion: "1" },
  spec: { replicas: 4, selector: { matchLabels: { app: "web" } }, template: TEMPLATE, ...spec },
});

export const service = (spec: Partial<ServiceObject["spec"]> = {}): ServiceObject => ({
  metadata: { name: "web", namespace: "default", uid: "uid-svc" },
  spec: { selector: { app: "web" }, ipFamilies: ["IPv4"], ports: [{ port: 80, targetPort: 8080 }], ...spec },
});
