/** Pods out of the ordinary: static ones, stuck ones, and those that the cluster or the runtime has forgotten. */
import assert from "node:assert/strict";
import { urlHost } from "../cluster/ranges.ts";
import type { Node } from "../cluster.ts";
import { until } from "../command.ts";
import { type WeftStatus, weftStatus } from "../networks/weft.ts";
import { MANIFEST, mirrorOf, nothingLeft } from "./faults.ts";
import { addressesOfPod, allReachAll, deletePods, HTTP, type PodObject, pod, runPods } from "./pods.ts";
import type { Case } from "./suite.ts";

type HeldWorkload = WeftStatus["workloads"][number];

const workloadOf = async (node: Node, podName: string): Promise<HeldWorkload | undefined> =>
  (await weftStatus(node)).workloads.find((w) => w.podName === podName);

/** True when that machine gets an answer from all addresses. */
async function answers({ machine }: Node, addresses: readonly string[]): Promise<boolean> {
  for (const address of addresses) {
    const url = `http://${urlHost(address)}:${HTTP}/healthz`;
    const { code } = await machine.attempt(["curl", "-sS", "--max-time", "2", "-o", "/dev/null", url]);
    if (code !== 0) return false;
  }
  return true;
}

export const staticPodNamed: Case = {
  name: "a static pod is named in status, and in every row that it causes, as the API names it",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    await node.machine.write(MANIFEST, pod("fixed", undefined));
    const mirror = await mirrorOf(cluster, `fixed-${node.name}`);
    const { name, uid } = mirror.metadata;
    await until("status has the mirror pod's uid", 30, async () => {
      const status = await weftStatus(node);
      const held = status.workloads.find((w) => w.podName === name);
      assert.equal(held?.podUid, uid);
      assert.equal(held?.podNamespace, "default");
      const origins = status.plan.flatMap((t) => t.items.map((i) => i.origin)).filter((o) => o.name === name);
      assert(origins.length > 0);
      assert(origins.every((o) => o.uid === uid));
      return true;
    });
    node.machine.remove(MANIFEST);
    await until("the mirror pod is gone", 60, async () => {
      const { code } = await cluster.attempt(["get", "pod", name]);
      return code === 0 ? undefined : true;
    });
    await nothingLeft(cluster);
  },
};

export const finalizer: Case = {
  name: "a pod that a finalizer keeps in Terminating: its address is free once its sandbox is gone",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    const stuck = pod("stuck", node.name) as { metadata: object };
    const [made] = await runPods(cluster, {
      ...stuck,
      metadata: { ...stuck.metadata, finalizers: ["weft.network/e2e"] },
    });
    assert(await workloadOf(node, "stuck"));
    await cluster.kubectl(["delete", "pod", "stuck", "--wait=false"]);
    await until("its attachment is gone", 60, async () =>
      (await workloadOf(node, "stuck")) === undefined ? true : undefined,
    );
    const still = await cluster.get<PodObject>("pod", "stuck");
    assert(still.metadata.deletionTimestamp !== undefined);
    assert.deepEqual(addressesOfPod(still), addressesOfPod(made as PodObject));
    const [fresh] = await runPods(cluster, pod("fresh", node.name));
    assert(addressesOfPod(fresh as PodObject).length > 0);
    const none = JSON.stringify({ metadata: { finalizers: null } });
    await cluster.kubectl(["patch", "pod", "stuck", "--type=merge", "-p", none]);
    await deletePods(cluster, "stuck", "fresh");
    await nothingLeft(cluster);
  },
};

/** Takes a pod's containers out of the runtime behind its back; its network namespace stays pinned. */
async function forgetSandbox({ machine }: Node, { containerId, podName }: HeldWorkload): Promise<void> {
  const ctr = ["ctr", "-n", "k8s.io"];
  const ids = await machine.exec([
    ...ctr,
    "containers",
    "list",
    "-q",
    `labels."io.kubernetes.pod.name"==${podName}`,
  ]);
  assert(ids.includes(containerId));
  for (const id of ids.trim().split("\n")) {
    await machine.attempt([...ctr, "tasks", "delete", "--force", id]);
    await machine.exec([...ctr, "containers", "delete", id]);
  }
}

export const forgotten: Case = {
  name: "deleted by force while kubelet is down: who runs on keeps the address, who is forgotten by the runtime loses it",
  async run(cluster) {
    const node = cluster.nodes[1] as Node;
    const [kept, lost] = (await runPods(cluster, pod("kept", node.name), pod("lost", node.name))) as [
      PodObject,
      PodObject,
    ];
    const kubelet = node.machine.running("kubelet");
    await kubelet.stop();
    try {
      await forgetSandbox(node, (await workloadOf(node, "lost")) as HeldWorkload);
      await node.machine.running("containerd").restart("SIGKILL");
      const force = ["--force", "--grace-period=0", "--wait=false"];
      await cluster.kubectl(["delete", "pod", "kept", "lost", ...force]);
      // A minute of patience, which both get.
      await until("what was forgotten is free", 150, async () =>
        (await workloadOf(node, "lost")) === undefined ? true : undefined,
      );
      assert(!(await answers(cluster.nodes[0] as Node, addressesOfPod(lost))));
      assert.deepEqual((await workloadOf(node, "kept"))?.addresses, addressesOfPod(kept));
      assert(await answers(cluster.nodes[0] as Node, addressesOfPod(kept)), "who runs on is reached");
    } finally {
      kubelet.start();
    }
    await until("kubelet has ended what runs on", 90, async () =>
      (await workloadOf(node, "kept")) === undefined ? true : undefined,
    );
    await cluster.untilReady();
    await nothingLeft(cluster);
    const fresh = await runPods(cluster, pod("fresh", node.name), pod("asker", cluster.nodes[0]?.name));
    await allReachAll(cluster, fresh);
    await deletePods(cluster, "fresh", "asker");
    await nothingLeft(cluster);
  },
};
