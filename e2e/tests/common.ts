/** What must hold with every network. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { attempt, until } from "../command.ts";
import { OUTSIDE } from "../machines/underlay.ts";
import { PROGRAMS } from "../paths.ts";
import {
  addressesOfPod,
  allReachAll,
  deletePods,
  HTTP,
  inPod,
  type PodObject,
  pod,
  readyPods,
  runPods,
} from "./pods.ts";
import type { Case } from "./suite.ts";

const onNodes = (cluster: Cluster): object[] =>
  cluster.nodes.flatMap(({ name }) => [pod(`a-${name}`, name), pod(`b-${name}`, name)]);

const everywhere = (cluster: Cluster): string[] =>
  cluster.nodes.flatMap(({ name }) => [`a-${name}`, `b-${name}`]);

/** The pods that the first case has made and the last removes. */
export const standing = (cluster: Cluster): Promise<PodObject[]> => readyPods(cluster, everywhere(cluster));

export const podsReachPods: Case = {
  name: "pods reach all pods of their own and of other nodes, untranslated",
  async run(cluster) {
    await allReachAll(cluster, await runPods(cluster, ...onNodes(cluster)));
  },
};

export const nodesReachPods: Case = {
  name: "every node reaches all pods, and a pod on its host's network does",
  async run(cluster) {
    const pods = await standing(cluster);
    const targets = pods.flatMap(addressesOfPod).map((a) => `http://${urlHost(a)}:${HTTP}/hostname`);
    for (const { machine } of cluster.nodes) {
      for (const url of targets) {
        // Node and kubelet are one namespace: what probes need.
        const { code, stderr } = await machine.attempt([
          "curl",
          "-sS",
          "--max-time",
          "3",
          "-o",
          "/dev/null",
          url,
        ]);
        assert.equal(code, 0, `${machine.name} to ${url}: ${stderr}`);
      }
    }
    const [first, other] = cluster.nodes;
    assert(first !== undefined && other !== undefined);
    const [host] = await runPods(cluster, pod("host", first.name, { hostNetwork: true }));
    assert(host !== undefined);
    assert.deepEqual(addressesOfPod(host), first.addresses);
    const far = pods.find((p) => p.spec.nodeName === other.name) as PodObject;
    for (const address of first.addresses) {
      const seen = await inPod(
        cluster,
        far.metadata.name,
        `netexec get http://${urlHost(address)}:${HTTP}/hostname`,
      );
      assert.equal(seen, first.name);
    }
    for (const address of addressesOfPod(far)) {
      const seen = await inPod(cluster, "host", `netexec get http://${urlHost(address)}:${HTTP}/hostname`);
      assert.equal(seen, far.metadata.name);
    }
    await deletePods(cluster, "host");
  },
};

export const execLogsPortForward: Case = {
  name: "exec, logs and port-forward",
  async run(cluster) {
    const [target] = await standing(cluster);
    const name = target?.metadata.name as string;
    assert.equal(await inPod(cluster, name, "hostname"), `${name}\n`);
    assert.match(await cluster.kubectl(["logs", name]), /serving/);
    const forwarded = cluster.controlPlane.service("port-forward", [
      ...[
        "kubectl",
        "--kubeconfig=/etc/kubernetes/admin.conf",
        "port-forward",
        `pod/${name}`,
        `18080:${HTTP}`,
      ],
    ]);
    forwarded.start();
    try {
      const answer = await until("forwarded port answers", 10, async () => {
        const { code, stdout } = await cluster.controlPlane.attempt([
          ...["curl", "-sS", "--max-time", "2", "http://127.0.0.1:18080/hostname"],
        ]);
        return code === 0 ? stdout : undefined;
      });
      assert.equal(answer, name);
    } finally {
      await forwarded.stop();
    }
  },
};

export const probes: Case = {
  name: "probes: readiness follows HTTP and TCP, a failing liveness probe restarts the container",
  async run(cluster) {
    const node = cluster.nodes[0]?.name;
    const quick = { periodSeconds: 1, failureThreshold: 2 };
    const never = { readinessProbe: { httpGet: { path: "/none", port: HTTP }, periodSeconds: 1 } };
    const dying = { livenessProbe: { tcpSocket: { port: 9 }, ...quick } };
    await cluster.apply(
      pod("tcp-ready", node, {}, { readinessProbe: { tcpSocket: { port: HTTP }, periodSeconds: 1 } }),
      pod("never-ready", node, {}, never),
      pod("dying", node, {}, dying),
    );
    await readyPods(cluster, ["tcp-ready"]);
    await until("the dying container restarted", 30, async () => {
      const { status } = await cluster.get<PodObject>("pod", "dying");
      return (status.containerStatuses?.[0]?.restartCount ?? 0) > 0 ? true : undefined;
    });
    const { status } = await cluster.get<PodObject>("pod", "never-ready");
    assert.equal(status.phase, "Running");
    assert.equal(status.containerStatuses?.[0]?.ready, false);
    await deletePods(cluster, "tcp-ready", "never-ready", "dying");
  },
};

export const services: Case = {
  name: "services: cluster addresses from pods, node ports from outside",
  async run(cluster) {
    const pods = await standing(cluster);
    const { families } = cluster.ranges;
    const backends = pods.filter((p) => p.metadata.name.startsWith("a-")).map((p) => p.metadata.name);
    await cluster.kubectl(["label", "--overwrite", "pod", ...backends, "role=backend"]);
    await cluster.apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "backend" },
      spec: {
        type: "NodePort",
        selector: { role: "backend" },
        ipFamilyPolicy: families.length > 1 ? "RequireDualStack" : "SingleStack",
        ports: [{ port: 80, targetPort: HTTP, nodePort: 30080 }],
      },
    });
    const service = await cluster.get<{ spec: { clusterIPs: string[] } }>("service", "backend");
    assert.equal(service.spec.clusterIPs.length, families.length);
    const asker = pods.find((p) => p.metadata.name.startsWith("b-")) as PodObject;
    const urls = service.spec.clusterIPs.map((a) => `http://${urlHost(a)}/hostname`);
    for (const url of urls) {
      await until(`${url} answered by every backend`, 20, async () => {
        const script = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do netexec get ${url} || exit 1; echo; done`;
        const names = new Set((await inPod(cluster, asker.metadata.name, script)).trim().split("\n"));
        return backends.every((b) => names.has(b)) && names.size === backends.length ? true : undefined;
      });
    }
    for (const address of cluster.nodes[0]?.addresses ?? []) {
      const url = `http://${urlHost(address)}:30080/hostname`;
      await until(`${url} from outside`, 20, async () => {
        const { code, stdout } = await cluster.outside(["curl", "-sS", "--max-time", "3", url]);
        return code === 0 && backends.includes(stdout) ? true : undefined;
      });
    }
    await cluster.kubectl(["delete", "service", "backend"]);
  },
};

/** Only a cluster that translates what leaves it can pass: nobody outside knows the way to a pod. */
export const outgoing: Case = {
  name: "pods reach the API server through its service, and the world outside",
  skip: async ({ network, nodes }) =>
    (await network.masquerades(nodes[0] as Node))
      ? undefined
      : "this network translates nothing that leaves the cluster",
  async run(cluster) {
    const [asker] = await standing(cluster);
    const name = asker?.metadata.name as string;
    const [api] = cluster.ranges.apiServices;
    const ask = `netexec get http://${urlHost(api as string)}:443/ 2>&1 | grep 'HTTP request to an HTTPS server'`;
    await inPod(cluster, name, ask);
    const space = cluster.underlay.namespace("outside");
    const server = Bun.spawn(["nsenter", `--net=/run/netns/${space}`, join(PROGRAMS, "netexec"), "serve"], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "inherit",
    });
    try {
      const node = cluster.node(asker?.spec.nodeName as string);
      for (const [i, family] of cluster.ranges.families.entries()) {
        const url = `http://${urlHost(OUTSIDE[family])}:${HTTP}/clientip`;
        const seen = await until(`${url} answers`, 10, () => inPod(cluster, name, `netexec get ${url}`));
        assert.equal(seen, node.addresses[i], "the world sees the node's address");
      }
    } finally {
      server.kill("SIGKILL");
      await server.exited;
    }
  },
};

export const deletion: Case = {
  name: "deleted pods leave no link, no route and no address on their nodes",
  async run(cluster) {
    await deletePods(cluster, ...everywhere(cluster));
    for (const { machine } of cluster.nodes) {
      await until(`${machine.name} has no pod left`, 20, async () => {
        const left = (await machine.exec(["ip", "-o", "link"])).split("\n").filter((l) => isPodLink(l));
        const spaces = (await machine.exec(["ls", "/run/netns"])).trim();
        return left.length === 0 && spaces === "" ? true : undefined;
      });
      const kept = await attempt(["find", machine.path("/var/lib/cni/networks"), "-name", "1*"]);
      assert.equal(kept.code === 0 ? kept.stdout : "", "", "addresses that host-local has not freed");
    }
  },
};

/** The node's end of a pod's pair: "veth..." of the bridge plugin, "weft<11 hex digits>" of Weft. */
export const isPodLink = (line: string): boolean => /^[0-9]+: (veth[0-9a-f]+|weft[0-9a-f]{11})@/.test(line);

export const COMMON: readonly Case[] = [
  podsReachPods,
  nodesReachPods,
  execLogsPortForward,
  probes,
  services,
  outgoing,
];
