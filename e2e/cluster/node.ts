/** A worker: containerd, kubelet and kube-proxy on a machine. The network's own parts are not its business. */
import { cpSync, linkSync, mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Programs } from "../build/programs.ts";
import { until } from "../command.ts";
import { PAUSE_IMAGE } from "../images/images.ts";
import type { Machine } from "../machines/machine.ts";
import { type Authority, kubeconfig } from "./pki.ts";
import type { Ranges } from "./ranges.ts";

const KUBELET = "/var/lib/kubelet";
const SOCKET = "/run/containerd/containerd.sock";
const REFERENCE_PLUGINS = "/usr/lib/cni";
/** Of the reference plugins those that other networks call. */
const USED_PLUGINS = ["bridge", "host-local", "loopback", "portmap"];

export interface NodeOptions {
  readonly machine: Machine;
  readonly addresses: readonly string[];
  readonly server: string;
  readonly authority: Authority;
  readonly ranges: Ranges;
  readonly programs: Programs;
  readonly kubeProxy: boolean;
}

export async function startNode(options: NodeOptions): Promise<void> {
  const { machine, programs } = options;
  await writeFiles(options);
  machine.service("containerd", ["containerd"]).start();
  await until(`${machine.name}: containerd answers`, 30, async () => {
    const { code } = await machine.attempt(["ctr", "version"]);
    return code === 0 ? true : undefined;
  });
  for (const archive of programs.images) await importImage(machine, archive);
  startKubelet(options);
  if (!options.kubeProxy) return;
  machine.service("kube-proxy", ["kube-proxy", "--config=/var/lib/kube-proxy/config.yaml"]).start();
}

function startKubelet({ machine, addresses }: Pick<NodeOptions, "machine" | "addresses">): void {
  machine
    .service("kubelet", [
      ...["kubelet", `--config=${KUBELET}/config.yaml`, `--kubeconfig=${KUBELET}/kubeconfig`],
      ...[`--hostname-override=${machine.name}`, `--node-ip=${addresses.join(",")}`, "--v=1"],
    ])
    .start();
}

/** What an administrator does on a node whose addresses have changed: a certificate for them, and kubelet told. */
export async function readdressNode(
  options: Pick<NodeOptions, "machine" | "addresses" | "authority">,
): Promise<void> {
  await writeServingCertificate(options);
  await options.machine.running("kubelet").stop();
  startKubelet(options);
}

async function writeServingCertificate({
  machine,
  addresses,
  authority,
}: Pick<NodeOptions, "machine" | "addresses" | "authority">): Promise<void> {
  const { name } = machine;
  const names = [`DNS:${name}`, ...addresses.map((a) => `IP:${a}`)];
  const serving = await authority.issue({ name: `${name}-serving`, commonName: name, names });
  await machine.write(`${KUBELET}/serving.crt`, serving.certificate);
  await machine.write(`${KUBELET}/serving.key`, serving.key);
}

/** Makes an archive's image known to the node's runtime, as a pull from a registry would. */
export async function importImage(machine: Machine, archive: string): Promise<void> {
  const name = basename(archive);
  const inside = join(machine.directory, "opt", name);
  rmSync(inside, { force: true });
  linkSync(archive, inside);
  await machine.exec(["ctr", "-n", "k8s.io", "images", "import", "--no-unpack=false", `/opt/${name}`]);
}

async function writeFiles(options: NodeOptions): Promise<void> {
  const { machine, server, authority, ranges } = options;
  const { name } = machine;
  const put = (path: string, content: string | object): Promise<void> => machine.write(path, content);
  const plugins = join(machine.directory, "opt/cni/bin");
  mkdirSync(plugins, { recursive: true });
  for (const plugin of USED_PLUGINS) cpSync(join(REFERENCE_PLUGINS, plugin), join(plugins, plugin));

  const [kubelet, proxy] = await Promise.all([
    authority.issue({
      name: `${name}-kubelet`,
      commonName: `system:node:${name}`,
      organization: "system:nodes",
    }),
    authority.issue({ name: `${name}-proxy`, commonName: "system:kube-proxy" }),
    writeServingCertificate(options),
  ]);
  await put("/etc/kubernetes/ca.crt", authority.certificate);
  await put(`${KUBELET}/kubeconfig`, kubeconfig(server, authority, kubelet));
  await put("/var/lib/kube-proxy/kubeconfig", kubeconfig(server, authority, proxy));
  await put("/etc/containerd/config.toml", CONTAINERD);
  const dns = { clusterDNS: ranges.dnsServices, clusterDomain: "cluster.local" };
  await put(`${KUBELET}/config.yaml`, { ...KUBELET_CONFIGURATION, ...dns });
  await put("/var/lib/kube-proxy/config.yaml", proxyConfiguration(name, ranges));
  mkdirSync(machine.path("/etc/kubernetes/manifests"), { recursive: true });
}

/** Inside of a node's machine, containerd's own measurements: http://METRICS/v1/metrics. */
export const METRICS = "127.0.0.1:1338";

// Where CAP_SYS_RESOURCE is missing, lowering oom_score_adj fails, and with it every sandbox ("can't get final
// child's PID from pipe: EOF"): nothing may ask for it.
const CONTAINERD = `version = 2
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[metrics]
  address = "${METRICS}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
`;

const NEVER = "0%";

const KUBELET_CONFIGURATION = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  authentication: { x509: { clientCAFile: "/etc/kubernetes/ca.crt" }, anonymous: { enabled: false } },
  authorization: { mode: "Webhook" },
  tlsCertFile: `${KUBELET}/serving.crt`,
  tlsPrivateKeyFile: `${KUBELET}/serving.key`,
  containerRuntimeEndpoint: `unix://${SOCKET}`,
  staticPodPath: "/etc/kubernetes/manifests",
  volumePluginDir: `${KUBELET}/volume-plugins`,
  cgroupDriver: "cgroupfs",
  failCgroupV1: false,
  failSwapOn: false,
  oomScoreAdj: 0,
  maxOpenFiles: 20000,
  resolvConf: "",
  serializeImagePulls: false,
  // The disk and the memory are this host's, not the machine's: nothing may be evicted or removed for their sake.
  localStorageCapacityIsolation: false,
  evictionHard: {
    "memory.available": NEVER,
    "nodefs.available": NEVER,
    "nodefs.inodesFree": NEVER,
    "imagefs.available": NEVER,
    "imagefs.inodesFree": NEVER,
  },
  imageGCHighThresholdPercent: 100,
  imageGCLowThresholdPercent: 99,
  fileCheckFrequency: "2s",
  // How soon a changed ConfigMap shows up in its pods.
  syncFrequency: "5s",
  // Cases end agents again and again; five minutes of back-off would be all that they see.
  featureGates: { KubeletCrashLoopBackOffMax: true },
  crashLoopBackOff: { maxContainerRestartPeriod: "1s" },
};

const proxyConfiguration = (name: string, ranges: Ranges): object => ({
  apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
  kind: "KubeProxyConfiguration",
  mode: "nftables",
  hostnameOverride: name,
  clusterCIDR: ranges.pods.join(","),
  clientConnection: { kubeconfig: "/var/lib/kube-proxy/kubeconfig" },
  // The table's size is this host's.
  conntrack: { maxPerCore: 0, min: 0 },
  oomScoreAdj: 0,
});
