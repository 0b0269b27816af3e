/** Pods as the cases make them, and questions asked from inside of them. */
import assert from "node:assert/strict";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster } from "../cluster.ts";
import { until } from "../command.ts";
import { WORKLOAD_IMAGE } from "../images/images.ts";

export const HTTP = 8080;
export const UDP = 8081;
export const ECHO = 8082;

export interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[];
  };
}

type Fields = Readonly<Record<string, unknown>>;

/** A Pod that runs `netexec serve`; `spec` and `container` go over what is usual. */
export function pod(
  name: string,
  node: string | undefined,
  spec: Fields = {},
  container: Fields = {},
): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: {
      // Not by nodeName alone: the scheduler then never sees the pod.
      ...(node !== undefined && { nodeSelector: { "kubernetes.io/hostname": node } }),
      ...podSpec(container),
      ...spec,
    },
  };
}

export const podSpec = (container: Fields = {}): Fields => ({
  terminationGracePeriodSeconds: 1,
  dnsPolicy: "Default",
  containers: [
    {
      name: "workload",
      image: WORKLOAD_IMAGE,
      args: ["serve"],
      readinessProbe: { httpGet: { path: "/healthz", port: HTTP }, periodSeconds: 1 },
      ...container,
    },
  ],
});

export interface DeploymentFields {
  /** Seconds that a pod serves on after it was told to end; none by default. */
  readonly linger?: number;
  readonly rollingUpdate?: Fields;
}

/** A Deployment of such pods, whose label `app` is its name. */
export function deployment(
  name: string,
  replicas: number,
  { linger, rollingUpdate }: DeploymentFields = {},
): object {
  const spec =
    linger === undefined
      ? podSpec()
      : {
          ...podSpec({ lifecycle: { preStop: { sleep: { seconds: linger } } } }),
          terminationGracePeriodSeconds: linger + 10,
        };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      ...(rollingUpdate === undefined ? {} : { strategy: { rollingUpdate } }),
      template: { metadata: { labels: { app: name } }, spec },
    },
  };
}

/** A Service in front of the pods with this label `app`, which it has as well; port 80. */
export const serviceOf = (app: string, name = app): object => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, labels: { app } },
  spec: { selector: { app }, ports: [{ port: 80, targetPort: HTTP }] },
});

/** Creates pods and gives them when all are ready. */
export async function runPods(cluster: Cluster, ...pods: readonly object[]): Promise<PodObject[]> {
  await cluster.apply(...pods);
  const names = pods.map((p) => (p as PodObject).metadata.name);
  return await readyPods(cluster, names);
}

export async function readyPods(
  cluster: Cluster,
  names: readonly string[],
  seconds = 60,
): Promise<PodObject[]> {
  const wait = ["wait", "--for=condition=Ready", `--timeout=${seconds}s`, ...names.map((n) => `pod/${n}`)];
  await cluster.kubectl(wait, { timeout: (seconds + 10) * 1000 });
  return await Promise.all(names.map((name) => cluster.get<PodObject>("pod", name)));
}

/** Deletes them and waits until they are gone from the API server. */
export async function deletePods(cluster: Cluster, ...names: readonly string[]): Promise<void> {
  const words = ["delete", "pod", "--ignore-not-found", "--wait", "--timeout=60s", ...names];
  await cluster.kubectl(words, { timeout: 70_000 });
}

export const addressesOfPod = (p: PodObject): string[] => (p.status.podIPs ?? []).map(({ ip }) => ip);

/** A shell command in a pod. Throws when it fails. */
export function inPod(cluster: Cluster, name: string, script: string, timeout = 60_000): Promise<string> {
  return cluster.kubectl(["exec", name, "--", "sh", "-c", script], { timeout });
}

/**
 * From every pod to all addresses of every other, HTTP and UDP. Each must answer, and must have seen the asker's own
 * address: pods reach pods without translation.
 */
export async function allReachAll(cluster: Cluster, pods: readonly PodObject[]): Promise<void> {
  for (const p of pods)
    assert.equal(addressesOfPod(p).length, cluster.ranges.families.length, "one address a family");
  await Promise.all(
    pods.map(async (asker) => {
      const targets = pods.filter((p) => p !== asker).flatMap(addressesOfPod);
      await reaches(cluster, asker, targets);
    }),
  );
}

/** From one pod to addresses where netexec serves, which must see the pod's own address. */
export async function reaches(cluster: Cluster, asker: PodObject, targets: readonly string[]): Promise<void> {
  const script = targets
    .map((target) => {
      const host = urlHost(target);
      return `echo "${target} http $(netexec get http://${host}:${HTTP}/clientip 2>&1)"
        echo "${target} udp $(netexec udp ${host}:${UDP} clientip 2>&1)"`;
    })
    .join("\n");
  const own = addressesOfPod(asker);
  const seen = (await inPod(cluster, asker.metadata.name, script)).trim().split("\n");
  const wanted = targets.flatMap((target) => {
    const source = own.find((a) => a.includes(":") === target.includes(":"));
    return [`${target} http ${source}`, `${target} udp ${source}`];
  });
  assert.deepEqual(seen, wanted, `${asker.metadata.name} (${own}) wants ${describe(wanted, seen)}`);
}

function describe(wanted: readonly string[], seen: readonly string[]): string {
  const wrong = wanted.flatMap((line, i) => (seen[i] === line ? [] : [`"${line}", not "${seen[i]}"`]));
  return `${wrong.slice(0, 4).join("; ")} (${wrong.length} of ${wanted.length} wrong)`;
}

/** Waits until the cluster has exactly these pods of a label, ready; gives them. */
export async function readyOfLabel(
  cluster: Cluster,
  label: string,
  count: number,
  seconds: number,
): Promise<PodObject[]> {
  return await until(
    `${count} pods of ${label} ready`,
    seconds,
    async () => {
      const { items } = await cluster.get<{ items: PodObject[] }>("pods", "-l", label);
      return items.length === count && items.every(isReady) ? items : undefined;
    },
    500,
  );
}

export const isReady = (p: PodObject): boolean =>
  p.metadata.deletionTimestamp === undefined &&
  (p.status.conditions ?? []).some((c) => c.type === "Ready" && c.status === "True");
