/**
 * Services of a simulated cluster by number, as an API server has them: each one TCP port and endpoints of its own, with
 * the fields that the controllers write, because what a reader must skip is most of an object.
 */

/** Ranges of the cluster; those of packets that a run sends stay in its own namespaces. */
export const SERVICE_RANGE = "10.96.0.0/12";
export const POD_RANGE = "10.128.0.0/9";
/** This node's pods; no endpoint is among them. */
export const OWN_RANGE = "10.255.0.0/24";
export const NODE = "node-0";
export const NODE_ADDRESS = "198.18.1.1";
export const SERVICE_PORT = 80;
export const ENDPOINT_PORT = 8080;

/** Endpoints that a service can come to have. */
export const MOST_ENDPOINTS = 8;

const address = (first: number, n: number): string =>
  `10.${first + ((n >> 16) & 255)}.${(n >> 8) & 255}.${n & 255}`;
export const serviceAddress = (i: number): string => address(96, i + 256);
export const endpointAddress = (i: number, k: number): string => address(128, i * MOST_ENDPOINTS + k + 256);

const hex = (i: number, length: number): string => i.toString(16).padStart(length, "0");
const uid = (kind: string, i: number): string => `${kind}-4000-8000-0000-${hex(i, 12)}`;
const time = (n: number): string => new Date(1_800_000_000_000 + n * 1000).toISOString().replace(".000", "");
const namespaceOf = (i: number): string => `namespace-${i % 50}`;
const nameOf = (i: number): string => `service-${i}`;

const managed = (manager: string, spec: object): object => ({
  manager,
  operation: "Update",
  apiVersion: "v1",
  time: time(0),
  fieldsType: "FieldsV1",
  fieldsV1: spec,
});

export function service(i: number, version: number): object {
  const ip = serviceAddress(i);
  return {
    metadata: {
      name: nameOf(i),
      namespace: namespaceOf(i),
      uid: uid("cccccccc", i),
      resourceVersion: String(version),
      creationTimestamp: time(i),
      labels: { "app.kubernetes.io/name": nameOf(i), "app.kubernetes.io/managed-by": "Helm" },
      managedFields: [
        managed("helm", {
          "f:metadata": { "f:labels": { ".": {}, "f:app.kubernetes.io/name": {} } },
          "f:spec": { "f:internalTrafficPolicy": {}, "f:ports": {}, "f:selector": {}, "f:type": {} },
        }),
      ],
    },
    spec: {
      ports: [{ name: "http", protocol: "TCP", port: SERVICE_PORT, targetPort: ENDPOINT_PORT }],
      selector: { "app.kubernetes.io/name": nameOf(i) },
      clusterIP: ip,
      clusterIPs: [ip],
      type: "ClusterIP",
      sessionAffinity: "None",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      internalTrafficPolicy: "Cluster",
    },
    status: { loadBalancer: {} },
  };
}

export function slice(i: number, endpoints: number, version: number): object {
  return {
    metadata: {
      name: `${nameOf(i)}-${hex(i * 7919, 5).slice(-5)}`,
      generateName: `${nameOf(i)}-`,
      namespace: namespaceOf(i),
      uid: uid("dddddddd", i),
      resourceVersion: String(version),
      generation: version,
      creationTimestamp: time(i),
      labels: {
        "app.kubernetes.io/name": nameOf(i),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": nameOf(i),
      },
      annotations: { "endpoints.kubernetes.io/last-change-trigger-time": time(i) },
      ownerReferences: [
        {
          apiVersion: "v1",
          kind: "Service",
          name: nameOf(i),
          uid: uid("cccccccc", i),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        managed("kube-controller-manager", {
          "f:addressType": {},
          "f:endpoints": {},
          "f:metadata": { "f:labels": { ".": {}, "f:kubernetes.io/service-name": {} } },
          "f:ports": {},
        }),
      ],
    },
    addressType: "IPv4",
    endpoints: Array.from({ length: endpoints }, (_, k) => ({
      addresses: [endpointAddress(i, k)],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: {
        kind: "Pod",
        namespace: namespaceOf(i),
        name: `${nameOf(i)}-7c9f8d6b5-${hex(k, 5)}`,
        uid: uid("bbbbbbbb", i * MOST_ENDPOINTS + k),
      },
      nodeName: `node-${1 + ((i + k) % 500)}`,
      zone: `z${(i + k) % 3}`,
    })),
    ports: [{ name: "http", protocol: "TCP", port: ENDPOINT_PORT }],
  };
}

export const node = (version: number): object => ({
  metadata: {
    name: NODE,
    uid: uid("aaaaaaaa", 0),
    resourceVersion: String(version),
    creationTimestamp: time(0),
    labels: { "kubernetes.io/hostname": NODE, "topology.kubernetes.io/zone": "z0" },
  },
  spec: { podCIDR: OWN_RANGE, podCIDRs: [OWN_RANGE] },
  status: { addresses: [{ type: "InternalIP", address: NODE_ADDRESS }] },
});

export const range = (version: number): object => ({
  metadata: {
    name: "kubernetes",
    uid: uid("eeeeeeee", 0),
    resourceVersion: String(version),
    creationTimestamp: time(0),
  },
  spec: { cidrs: [SERVICE_RANGE] },
});
