/**
 * The agents: one pod a node, on the node's own network. What it is given of the node:
 *
 *   /run/weft            its socket, for the plugin
 *   /var/lib/weft        its ledger: attachments and addresses, which outlive the pod
 *   /etc/cni/net.d       the network configuration, written when the node can serve pods
 *   /run/netns           pods' network namespaces; mounts that the runtime makes later must show up in here
 *   /proc/sys/net        sysctls for writing: a container's own /proc/sys is for reading only. Which namespace's
 *                        sysctls it shows follows the thread that opens a file, so one mount serves all pods.
 *   /sys/fs/cgroup       for reading: which sandboxes live, for those that a runtime has forgotten
 *   /opt/cni/bin         to the init container alone, which places the plugin
 *
 * No host PID namespace: runtimes that speak CRI name pods' namespaces by files below /run/netns.
 */
import type { KubernetesObject } from "@weft/cluster/client";
import { NETWORK_LABEL } from "@weft/model";
import { CAPABILITIES, securityContext } from "../capabilities.ts";
import type { InstallOptions } from "../options.ts";
import { NAMES, selectorOf } from "./labels.ts";
import { apiServerEnvironment, SECURITY, TEMPORARY } from "./pod.ts";

/** Where the agent finds the node's /proc/sys. */
const SYSCTLS = "/host/proc/sys";

export function agentObject(options: InstallOptions): KubernetesObject {
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: NAMES.agent, namespace: options.namespace, labels: selectorOf("agent") },
    spec: {
      selector: { matchLabels: selectorOf("agent") },
      // The kernel goes on forwarding while an agent is replaced; only pods that start there wait.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      template: { metadata: { labels: selectorOf("agent") }, spec: podSpec(options) },
    },
  };
}

/** Nodes of a cluster on the move to Weft that have not been moved are another network's (migrate/labels.ts). */
const NOT_OTHERS = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: NETWORK_LABEL, operator: "NotIn", values: ["other"] }] },
      ],
    },
  },
};

function podSpec(options: InstallOptions): object {
  return {
    serviceAccountName: NAMES.agent,
    hostNetwork: true,
    dnsPolicy: "Default",
    nodeSelector: { "kubernetes.io/os": "linux" },
    affinity: NOT_OTHERS,
    // A node without its network is of no use, whatever it is tainted with.
    priorityClassName: "system-node-critical",
    tolerations: [{ operator: "Exists" }],
    terminationGracePeriodSeconds: 10,
    securityContext: SECURITY,
    initContainers: [placeContainer(options)],
    containers: [agentContainer(options)],
    volumes: [
      hostPath("run", "/run/weft", "DirectoryOrCreate"),
      hostPath("state", "/var/lib/weft", "DirectoryOrCreate"),
      hostPath("cni-conf", options.cniConfDir, "DirectoryOrCreate"),
      hostPath("cni-bin", options.cniBinDir, "DirectoryOrCreate"),
      hostPath("netns", "/run/netns", "DirectoryOrCreate"),
      hostPath("sysctls", "/proc/sys/net", "Directory"),
      hostPath("cgroups", "/sys/fs/cgroup", "Directory"),
      { name: "settings", configMap: { name: NAMES.settings, optional: true } },
      TEMPORARY.volume,
    ],
  };
}

const placeContainer = ({ image, imagePullPolicy }: InstallOptions): object => ({
  name: "place-plugin",
  image,
  imagePullPolicy,
  command: ["/bin/weft", "agent", "place", "--to", "/host/opt/cni/bin", "--shim", "/opt/weft/weft"],
  terminationMessagePolicy: "FallbackToLogsOnError",
  securityContext: securityContext(CAPABILITIES.place),
  resources: { requests: { cpu: "10m", memory: "32Mi" } },
  volumeMounts: [{ name: "cni-bin", mountPath: "/host/opt/cni/bin" }],
});

const agentContainer = (options: InstallOptions): object => ({
  name: "agent",
  image: options.image,
  imagePullPolicy: options.imagePullPolicy,
  command: ["/bin/weft", "agent", "--node", "$(NODE_NAME)", "--sysctls", SYSCTLS],
  env: [
    { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
    ...apiServerEnvironment(options),
  ],
  terminationMessagePolicy: "FallbackToLogsOnError",
  securityContext: securityContext(CAPABILITIES.agent),
  resources: { requests: { cpu: "100m", memory: "128Mi" } },
  readinessProbe: {
    exec: { command: ["/bin/weft", "agent", "ready"] },
    periodSeconds: 5,
    timeoutSeconds: 10,
    failureThreshold: 2,
  },
  // Only an agent that answers nothing at all for two minutes is started anew: to wait for something is no fault.
  livenessProbe: {
    exec: { command: ["/bin/weft", "agent", "alive"] },
    initialDelaySeconds: 30,
    periodSeconds: 30,
    timeoutSeconds: 15,
    failureThreshold: 4,
  },
  volumeMounts: [
    { name: "run", mountPath: "/run/weft" },
    { name: "state", mountPath: "/var/lib/weft" },
    { name: "cni-conf", mountPath: "/etc/cni/net.d" },
    { name: "netns", mountPath: "/run/netns", mountPropagation: "HostToContainer", readOnly: true },
    { name: "sysctls", mountPath: `${SYSCTLS}/net` },
    {
      name: "cgroups",
      mountPath: "/host/sys/fs/cgroup",
      mountPropagation: "HostToContainer",
      readOnly: true,
    },
    { name: "settings", mountPath: "/etc/weft", readOnly: true },
    TEMPORARY.mount,
  ],
});

export const hostPath = (name: string, path: string, type: string): object => ({
  name,
  hostPath: { path, type },
});
