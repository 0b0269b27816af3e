/** What happens to nodes: rollouts, killed agents, restarts of runtime and kubelet, static pods, reboots. */
import assert from "node:assert/strict";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { killAgent, weftStatus } from "../networks/weft.ts";
import { isPodLink } from "./common.ts";
import {
  addressesOfPod,
  allReachAll,
  deletePods,
  deployment,
  ECHO,
  HTTP,
  inPod,
  type PodObject,
  pod,
  reaches,
  readyOfLabel,
  readyPods,
  runPods,
} from "./pods.ts";
import type { Case } from "./suite.ts";

const REPLICAS = 50;

/** Old and new ones stand side by side: addresses and links come and go at once. */
const many = (replicas: number): object =>
  deployment("many", replicas, { rollingUpdate: { maxSurge: 20, maxUnavailable: 20 } });

/** Every node holds the pods that exist, and no other workload, address or link. */
export async function nothingLeft(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    await until(`${node.name} holds nothing of deleted pods`, 30, async () => {
      const { items } = await cluster.get<{ items: PodObject[] }>("pods");
      const existing = items.filter((p) => p.spec.nodeName === node.name).length;
      const { workloads, blocks } = await weftStatus(node);
      const links = (await node.machine.exec(["ip", "-o", "link"])).split("\n").filter(isPodLink);
      const held = { workloads: workloads.length, links: links.length, used: blocks.map((b) => b.used) };
      const wanted = { workloads: existing, links: existing, used: blocks.map(() => existing) };
      assert.deepEqual(held, wanted);
      return true;
    });
  }
}

async function removeMany(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["delete", "deployment", "many", "--wait"]);
  await until("the deployment's pods are gone", 90, async () => {
    const { items } = await cluster.get<{ items: PodObject[] }>("pods", "-l", "app=many");
    return items.length === 0 ? true : undefined;
  });
  await nothingLeft(cluster);
}

export const rollout: Case = {
  name: `rollout of ${REPLICAS} pods, each reachable, none leaves anything`,
  async run(cluster) {
    await cluster.apply(many(REPLICAS));
    const pods = await readyOfLabel(cluster, "app=many", REPLICAS, 120);
    const addresses = pods.flatMap(addressesOfPod);
    assert.equal(new Set(addresses).size, addresses.length, "no address twice");
    const [asker, ...others] = pods;
    await reaches(cluster, asker as PodObject, others.flatMap(addressesOfPod));
    await removeMany(cluster);
  },
};

/** Ends the agents one after the other, each time without warning, until told to stop; gives how often. */
export function killAgents(cluster: Cluster): { stop: () => Promise<number> } {
  let going = true;
  let killed = 0;
  const loop = (async () => {
    while (going) {
      for (const node of cluster.nodes) {
        if (await killAgent(node)) killed++;
        // The kubelet takes seconds to start it: without waiting, all would be away nearly all of the time.
        await until(
          `the agent on ${node.name} is back`,
          60,
          async () => (await weftStatus(node)).ready || undefined,
        );
        await Bun.sleep(500);
        if (!going) break;
      }
    }
  })();
  return {
    stop: async () => {
      going = false;
      await loop;
      return killed;
    },
  };
}

export const agentsKilled: Case = {
  name: `agents killed over and over during a rollout of ${REPLICAS} pods, its restart and its end`,
  async run(cluster) {
    const [near, far] = await pair(cluster);
    const talk = hold(cluster, near, far, 20);
    const killing = killAgents(cluster);
    try {
      await cluster.apply(many(REPLICAS));
      await readyOfLabel(cluster, "app=many", REPLICAS, 180);
      await cluster.kubectl(["rollout", "restart", "deployment/many"]);
      await cluster.kubectl(["rollout", "status", "deployment/many", "--timeout=180s"], { timeout: 190_000 });
    } finally {
      assert((await killing.stop()) > 5, "the agents were hardly ever killed");
    }
    await talk;
    const pods = await readyOfLabel(cluster, "app=many", REPLICAS, 60);
    await reaches(cluster, near, pods.flatMap(addressesOfPod));
    await removePair(cluster);
    const again = killAgents(cluster);
    await cluster.kubectl(["scale", "deployment/many", "--replicas=0"]);
    await Bun.sleep(4000);
    await again.stop();
    await removeMany(cluster);
  },
};

/** Two pods on different nodes. */
export async function pair(cluster: Cluster): Promise<[PodObject, PodObject]> {
  const [first, second] = cluster.nodes as [Node, Node];
  const made = await runPods(cluster, pod("near", first.name), pod("far", second.name));
  return made as [PodObject, PodObject];
}
export const removePair = (cluster: Cluster): Promise<void> => deletePods(cluster, "near", "far");

/** Keeps one connection of each family busy for that long, or until there is a file of that name in the pod. Throws when one line of it is lost. */
export async function hold(
  cluster: Cluster,
  near: PodObject,
  far: PodObject,
  seconds: number,
  until = "",
): Promise<void> {
  await Promise.all(
    addressesOfPod(far).map(async (address) => {
      const script = `netexec hold ${urlHost(address)}:${ECHO} ${seconds} ${until}`;
      const said = await inPod(cluster, near.metadata.name, script, (seconds + 30) * 1000);
      const [, sent, received] = /([0-9]+) sent, ([0-9]+) received/.exec(said) ?? [];
      assert(sent !== undefined && Number(sent) > 0 && sent === received, `to ${address}: ${said}`);
    }),
  );
}

export const runtimeRestarts: Case = {
  name: "kubelet and containerd restarted under traffic: nothing is lost, and pods come and go as before",
  async run(cluster) {
    const [near, far] = await pair(cluster);
    const { machine } = cluster.nodes[1] as Node;
    const talk = hold(cluster, near, far, 12);
    await Bun.sleep(1000);
    await machine.running("kubelet").restart("SIGKILL");
    await Bun.sleep(2000);
    // kubectl exec of the talk runs through the other node's runtime.
    await machine.running("containerd").restart("SIGKILL");
    await talk;
    await cluster.untilReady();
    const [fresh] = await runPods(cluster, pod("fresh", machine.name));
    await allReachAll(cluster, [near, far, fresh as PodObject]);
    const after = await readyPods(cluster, ["far"]);
    assert.equal(after[0]?.status.containerStatuses?.[0]?.restartCount, 0);
    assert.deepEqual(addressesOfPod(after[0] as PodObject), addressesOfPod(far));
    await deletePods(cluster, "fresh");
    await removePair(cluster);
    await nothingLeft(cluster);
  },
};

export const MANIFEST = "/etc/kubernetes/manifests/fixed.yaml";

/** Kubelet makes it once the API server hears it. */
export async function mirrorOf(cluster: Cluster, name: string): Promise<PodObject> {
  await until(`the mirror pod ${name} exists`, 60, async () => await cluster.get("pod", name), 500);
  // After an outage a kubelet asks for its pods again only by and by.
  const [mirror] = await readyPods(cluster, [name], 120);
  return mirror as PodObject;
}

/** Kubelet takes it away once its manifest has gone. */
export async function mirrorGone(cluster: Cluster, name: string): Promise<void> {
  await until(`the mirror pod ${name} is gone`, 60, async () => {
    const { code } = await cluster.attempt(["get", "pod", name]);
    return code === 0 ? undefined : true;
  });
}

/** After the API server was started again. */
export async function serverBack(cluster: Cluster): Promise<void> {
  await until("API server back", 60, async () => {
    const { code } = await cluster.attempt(["get", "--raw", "/readyz"]);
    return code === 0 ? true : undefined;
  });
}

export const staticPod: Case = {
  name: "static pod: reachable while its manifest is there, gone with it",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    const mirror = `fixed-${node.name}`;
    await node.machine.write(MANIFEST, pod("fixed", undefined));
    const fixed = await mirrorOf(cluster, mirror);
    const [asker] = await runPods(cluster, pod("asker", cluster.nodes[1]?.name));
    await reaches(cluster, asker as PodObject, addressesOfPod(fixed));
    node.machine.remove(MANIFEST);
    await mirrorGone(cluster, mirror);
    await deletePods(cluster, "asker");
    await nothingLeft(cluster);
  },
};

export const apiServerAway: Case = {
  name: "API server away: pods talk on, and a static pod starts with what is known",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    const pods = await pair(cluster);
    const api = cluster.controlPlane.running("kube-apiserver");
    await api.stop();
    try {
      assert(await killAgent(node), "there was no agent");
      await node.machine.write(MANIFEST, pod("fixed", undefined));
      const workload = await until("the static pod has addresses", 40, async () =>
        (await weftStatus(node)).workloads.find((w) => w.podName?.startsWith("fixed")),
      );
      for (const { machine } of cluster.nodes) {
        for (const address of [...workload.addresses, ...pods.flatMap(addressesOfPod)]) {
          const url = `http://${urlHost(address)}:${HTTP}/healthz`;
          await until(`${machine.name} reaches ${url}`, 20, async () => {
            const { code } = await machine.attempt([
              "curl",
              "-sS",
              "--max-time",
              "2",
              "-o",
              "/dev/null",
              url,
            ]);
            return code === 0 ? true : undefined;
          });
        }
      }
    } finally {
      api.start();
    }
    await serverBack(cluster);
    await mirrorOf(cluster, `fixed-${node.name}`);
    node.machine.remove(MANIFEST);
    await removePair(cluster);
    await nothingLeft(cluster);
  },
};

export const reboot: Case = {
  name: "a node loses its power and boots again: its pods come back with addresses that nobody else has",
  async run(cluster) {
    const [near, far] = await pair(cluster);
    const node = cluster.nodes[1] as Node;
    await cluster.reboot(node);
    const back = await until(
      "the pod on the rebooted node is ready again",
      120,
      async () => {
        const now = await cluster.get<PodObject>("pod", "far");
        const restarted = (now.status.containerStatuses?.[0]?.restartCount ?? 0) > 0;
        const ready = (now.status.conditions ?? []).some((c) => c.type === "Ready" && c.status === "True");
        return restarted && ready ? now : undefined;
      },
      500,
    );
    await cluster.untilReady();
    const [fresh] = await runPods(cluster, pod("fresh", node.name));
    await allReachAll(cluster, [near, back, fresh as PodObject]);
    assert.equal(far.metadata.uid, back.metadata.uid, "the pod is the same object");
    await deletePods(cluster, "fresh");
    await removePair(cluster);
    await nothingLeft(cluster);
  },
};
