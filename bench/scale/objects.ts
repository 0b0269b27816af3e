/**
 * Nodes and pods of a simulated cluster, by number. They are of the size of real ones (a node some 16 KB with the
 * images that it holds, a pod some 4 KB), because what an agent must read and forget is most of them.
 */

/** Number of a node whose agent is measured. */
export const OWN = 0;

export const nodeName = (i: number): string => `node-${i}`;
/** In 198.18.0.0/15, which is for benchmarks (RFC 2544); 198.18.0.1 is the API server's. */
export const nodeAddress = (i: number): string => `198.18.${1 + Math.floor(i / 250)}.${1 + (i % 250)}`;
export const podRange = (i: number): string => `10.${128 + (i >> 8)}.${i & 255}.0/24`;

const hex = (i: number, length: number): string => i.toString(16).padStart(length, "0");
const uid = (kind: string, i: number): string => `${kind}-4000-8000-0000-${hex(i, 12)}`;
const time = (n: number): string => new Date(1_800_000_000_000 + n * 1000).toISOString();

const managed = (manager: string, fields: number): object => ({
  manager,
  operation: "Update",
  apiVersion: "v1",
  fieldsType: "FieldsV1",
  fieldsV1: Object.fromEntries(
    Array.from({ length: fields }, (_, k) => [`f:field-${k}`, { ".": {}, "f:inner": {} }]),
  ),
});

/** `beat`: how often its kubelet has reported; changes what only the status has. */
export function node(i: number, version: number, beat = 0): object {
  const range = podRange(i);
  const condition = (type: string): object => ({
    type,
    status: type === "Ready" ? "True" : "False",
    lastHeartbeatTime: time(beat * 300 + i),
    lastTransitionTime: time(0),
    reason: `Kubelet${type}`,
    message: "kubelet is posting ready status",
  });
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: nodeName(i),
      uid: uid("aaaaaaaa", i),
      resourceVersion: String(version),
      creationTimestamp: time(0),
      labels: {
        "kubernetes.io/hostname": nodeName(i),
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": `z${i % 3}`,
      },
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
      managedFields: [managed("kubelet", 30), managed("kube-controller-manager", 10)],
    },
    spec: { podCIDR: range, podCIDRs: [range], providerID: `bench:///${i}` },
    status: {
      addresses: [
        { type: "InternalIP", address: nodeAddress(i) },
        { type: "Hostname", address: nodeName(i) },
      ],
      capacity: { cpu: "64", memory: "263923100Ki", pods: "110" },
      allocatable: { cpu: "63", memory: "260000000Ki", pods: "110" },
      conditions: ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(condition),
      nodeInfo: { kernelVersion: "6.18.0", osImage: "Debian GNU/Linux 12", kubeletVersion: "v1.34.0" },
      // A kubelet reports 50 at most.
      images: Array.from({ length: 50 }, (_, k) => ({
        names: [
          `registry.example.com/team-${k % 7}/image-${k}@sha256:${hex(k * 7919 + i, 64)}`,
          `registry.example.com/team-${k % 7}/image-${k}:v1.${k}`,
        ],
        sizeBytes: 100_000_000 + k,
      })),
    },
  };
}

export const podName = (i: number): string => `deployment-${i % 500}-7c9f8d6b5-${hex(i, 5)}`;

/** Pod `i` of as many nodes: it is on node i % nodes. `round`: how often it has changed; labels stay. */
export function pod(i: number, nodes: number, version: number, round = 0): object {
  const on = i % nodes;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(i),
      namespace: `namespace-${i % 50}`,
      uid: uid("bbbbbbbb", i),
      resourceVersion: String(version),
      creationTimestamp: time(i),
      labels: { app: `deployment-${i % 500}`, "pod-template-hash": "7c9f8d6b5" },
      managedFields: [managed("kube-controller-manager", 25), managed("kubelet", 15)],
    },
    spec: {
      nodeName: nodeName(on),
      serviceAccountName: "default",
      containers: ["main", "side"].map((name) => ({
        name,
        image: `registry.example.com/team-${i % 7}/image-${i % 30}:v1`,
        env: Array.from({ length: 8 }, (_, k) => ({ name: `VARIABLE_${k}`, value: `value-${k}` })),
        ports: [{ containerPort: 8080, protocol: "TCP" }],
        volumeMounts: [{ name: "token", mountPath: "/var/run/secrets" }],
      })),
      volumes: Array.from({ length: 4 }, (_, k) => ({ name: `v${k}`, configMap: { name: `config-${k}` } })),
      tolerations: Array.from({ length: 2 }, (_, k) => ({
        key: `key-${k}`,
        operator: "Exists",
        effect: "NoExecute",
      })),
    },
    status: {
      phase: "Running",
      podIP: `10.${128 + (on >> 8)}.${on & 255}.${2 + Math.floor(i / nodes)}`,
      hostIP: nodeAddress(on),
      conditions: ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
        type,
        status: "True",
        lastTransitionTime: time(round),
      })),
      containerStatuses: ["main", "side"].map((name) => ({ name, ready: true, restartCount: round })),
    },
  };
}
