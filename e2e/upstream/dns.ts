/**
 * CoreDNS as the cluster's DNS, as kubeadm deploys it: two pods behind the service kube-dns, at the address that
 * kubelet gives to pods. Only names of the cluster are answered: these machines have no other name server.
 */
import type { Cluster } from "../cluster.ts";
import { COREDNS_IMAGE } from "./images.ts";

const NAMESPACE = "kube-system";
const LABELS = { "k8s-app": "kube-dns" };
const REPLICAS = 2;
const RBAC = "rbac.authorization.k8s.io";

const COREFILE = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
    }
    cache 30
    reload
    loadbalance
}
`;

/** Deploys it and waits until it is ready. */
export async function deployDNS(cluster: Cluster): Promise<void> {
  await cluster.apply(...rights(), configuration(), deployment(), service(cluster.ranges.dnsServices));
  const wait = ["rollout", "status", "deployment/coredns", "-n", NAMESPACE, "--timeout=120s"];
  await cluster.kubectl(wait, { timeout: 130_000 });
}

const named = (name: string): object => ({ name, namespace: NAMESPACE });

const rights = (): object[] => [
  { apiVersion: "v1", kind: "ServiceAccount", metadata: named("coredns") },
  {
    apiVersion: `${RBAC}/v1`,
    kind: "ClusterRole",
    metadata: { name: "system:coredns" },
    rules: [
      { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: ["list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
    ],
  },
  {
    apiVersion: `${RBAC}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "system:coredns" },
    roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: "system:coredns" },
    subjects: [{ kind: "ServiceAccount", ...named("coredns") }],
  },
];

const configuration = (): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: named("coredns"),
  data: { Corefile: COREFILE },
});

const deployment = (): object => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { ...named("coredns"), labels: LABELS },
  spec: {
    replicas: REPLICAS,
    selector: { matchLabels: LABELS },
    template: {
      metadata: { labels: LABELS },
      spec: {
        serviceAccountName: "coredns",
        dnsPolicy: "Default",
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: "coredns",
            image: COREDNS_IMAGE,
            args: ["-conf", "/etc/coredns/Corefile"],
            readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
            volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
          },
        ],
        volumes: [{ name: "config", configMap: { name: "coredns" } }],
      },
    },
  },
});

const service = (addresses: readonly string[]): object => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { ...named("kube-dns"), labels: LABELS },
  spec: {
    selector: LABELS,
    clusterIP: addresses[0],
    clusterIPs: addresses,
    ipFamilyPolicy: addresses.length > 1 ? "RequireDualStack" : "SingleStack",
    ports: [
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "dns-tcp", port: 53, protocol: "TCP" },
    ],
  },
});
