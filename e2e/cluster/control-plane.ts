/** etcd, API server, controller manager and scheduler, on a machine of their own. */
import { until } from "../command.ts";
import type { Machine } from "../machines/machine.ts";
import { type Authority, type Certificate, kubeconfig } from "./pki.ts";
import { type Ranges, urlHost } from "./ranges.ts";

const DIRECTORY = "/etc/kubernetes";
const ETCD = "http://127.0.0.1:2379";
export const API_PORT = 6443;

export interface ControlPlaneOptions {
  readonly machine: Machine;
  readonly addresses: readonly string[];
  readonly authority: Authority;
  readonly ranges: Ranges;
}

/** Starts all of it and gives the API server's URL once it answers. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<string> {
  const { machine, addresses } = options;
  const server = `https://${urlHost(addresses[0] as string)}:${API_PORT}`;
  await writeFiles(options, server);
  machine
    .service("etcd", [
      ...["etcd", "--data-dir=/run/etcd", "--unsafe-no-fsync", "--log-level=error"],
      ...[
        `--listen-client-urls=${ETCD}`,
        `--advertise-client-urls=${ETCD}`,
        "--listen-peer-urls=http://127.0.0.1:2380",
      ],
    ])
    .start();
  machine.service("kube-apiserver", apiServer(options)).start();
  await until("API server ready", 60, async () => {
    const { code } = await machine.attempt([...KUBECTL, "get", "--raw", "/readyz"]);
    return code === 0 ? true : undefined;
  });
  machine.service("kube-controller-manager", controllerManager(options.ranges)).start();
  machine.service("kube-scheduler", scheduler()).start();
  return server;
}

/** As the cluster's administrator. */
export const KUBECTL = ["kubectl", `--kubeconfig=${DIRECTORY}/admin.conf`] as const;

async function writeFiles(
  { machine, addresses, authority, ranges }: ControlPlaneOptions,
  server: string,
): Promise<void> {
  const put = (name: string, content: string | object): Promise<void> =>
    machine.write(`${DIRECTORY}/${name}`, content);
  const pair = (name: string, { certificate, key }: Certificate): Promise<unknown> =>
    Promise.all([put(`${name}.crt`, certificate), put(`${name}.key`, key)]);
  const user = async (name: string, commonName: string, organization?: string): Promise<void> => {
    const certificate = await authority.issue({ name, commonName, ...(organization && { organization }) });
    await put(`${name}.conf`, kubeconfig(server, authority, certificate));
  };
  const dns = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  const ips = [...addresses, ...ranges.apiServices, "127.0.0.1", "::1"];
  const names = [...dns.map((d) => `DNS:${d}`), ...ips.map((a) => `IP:${a}`)];
  await put("ca.crt", authority.certificate);
  await Promise.all([
    authority
      .issue({ name: "apiserver", commonName: "kube-apiserver", names })
      .then((c) => pair("apiserver", c)),
    authority
      .issue({ name: "apiserver-kubelet-client", commonName: "apiserver", organization: "system:masters" })
      .then((c) => pair("apiserver-kubelet-client", c)),
    authority
      .issue({ name: "service-accounts", commonName: "service-accounts" })
      .then((c) => pair("service-accounts", c)),
    user("admin", "admin", "system:masters"),
    user("controller-manager", "system:kube-controller-manager"),
    user("scheduler", "system:kube-scheduler"),
  ]);
}

function apiServer({ addresses, ranges }: ControlPlaneOptions): string[] {
  return [
    "kube-apiserver",
    `--etcd-servers=${ETCD}`,
    `--secure-port=${API_PORT}`,
    `--advertise-address=${addresses[0]}`,
    "--bind-address=::",
    `--client-ca-file=${DIRECTORY}/ca.crt`,
    `--tls-cert-file=${DIRECTORY}/apiserver.crt`,
    `--tls-private-key-file=${DIRECTORY}/apiserver.key`,
    `--kubelet-certificate-authority=${DIRECTORY}/ca.crt`,
    `--kubelet-client-certificate=${DIRECTORY}/apiserver-kubelet-client.crt`,
    `--kubelet-client-key=${DIRECTORY}/apiserver-kubelet-client.key`,
    "--kubelet-preferred-address-types=InternalIP",
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${DIRECTORY}/service-accounts.crt`,
    `--service-account-signing-key-file=${DIRECTORY}/service-accounts.key`,
    `--service-cluster-ip-range=${ranges.services.join(",")}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged",
    "--profiling=false",
  ];
}

function controllerManager(ranges: Ranges): string[] {
  const sizes = { ipv4: 24, ipv6: 64 };
  const size = (family: "ipv4" | "ipv6"): string =>
    ranges.families.length === 1
      ? `--node-cidr-mask-size=${sizes[family]}`
      : `--node-cidr-mask-size-${family}=${sizes[family]}`;
  return [
    "kube-controller-manager",
    `--kubeconfig=${DIRECTORY}/controller-manager.conf`,
    "--allocate-node-cidrs",
    `--cluster-cidr=${ranges.pods.join(",")}`,
    ...ranges.families.map(size),
    `--service-cluster-ip-range=${ranges.services.join(",")}`,
    "--use-service-account-credentials",
    `--service-account-private-key-file=${DIRECTORY}/service-accounts.key`,
    `--root-ca-file=${DIRECTORY}/ca.crt`,
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
  ];
}

function scheduler(): string[] {
  return [
    "kube-scheduler",
    `--kubeconfig=${DIRECTORY}/scheduler.conf`,
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
  ];
}
