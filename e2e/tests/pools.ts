/** Address pools on a real cluster, beside podCIDRs: by namespace, fixed addresses, drains, faults, and their end. */
import assert from "node:assert/strict";
import { contains } from "@weft/base";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { killAgent, weftStatus } from "../networks/weft.ts";
import { say } from "../progress.ts";
import { killAgents, MANIFEST, mirrorGone, mirrorOf, serverBack } from "./faults.ts";
import {
  addressesOfPod,
  allReachAll,
  deletePods,
  deployment,
  inPod,
  type PodObject,
  pod,
  readyOfLabel,
  runPods,
  serviceOf,
} from "./pods.ts";
import type { Case } from "./suite.ts";

const RANGE4 = "10.99.0.0/24";
const RANGE6 = "fd00:99::/116";
const FIXED = ["10.99.0.77", "fd00:99::77"];

interface Block {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly node?: string; readonly cidr: string; readonly loans?: readonly object[] };
}
const blocks = async (cluster: Cluster): Promise<readonly Block[]> =>
  (await cluster.get<{ items: Block[] }>("ipblocks")).items;

const pool = (name: string, cidr: string): object => ({
  apiVersion: "weft.network/v1alpha1",
  kind: "IPPool",
  metadata: { name },
  spec: {
    cidr,
    blockSize: cidr.includes(":") ? 124 : 28,
    namespaceSelector: { matchLabels: { pooled: "yes" } },
  },
});

/** Every address is of the pool of its family. */
function ofPools(pods: readonly PodObject[]): void {
  for (const p of pods) {
    const addresses = addressesOfPod(p);
    assert.equal(addresses.length, 2, p.metadata.name);
    for (const a of addresses) {
      const range = a.includes(":") ? RANGE6 : RANGE4;
      assert(contains(range, `${a}/${a.includes(":") ? 128 : 32}`), `${p.metadata.name} has ${a}`);
    }
  }
  const all = pods.flatMap(addressesOfPod);
  assert.equal(new Set(all).size, all.length, "no address twice");
}

const onEach = (cluster: Cluster, prefix: string): object[] =>
  cluster.nodes.map(({ name }) => pod(`${prefix}-${name}`, name));

export const added: Case = {
  name: "pools added live: new pods of their namespaces get addresses of them, old ones keep theirs, all reach all",
  async run(cluster) {
    const old = await runPods(cluster, ...onEach(cluster, "old"));
    await cluster.kubectl(["label", "namespace", "default", "pooled=yes"]);
    await cluster.apply(pool("four", RANGE4), pool("six", RANGE6));
    const words = ["wait", "--for=condition=Ready", "ippools", "--all", "--timeout=30s"];
    await cluster.kubectl(words, { timeout: 40_000 });
    await until("agents know the pools", 30, async () => {
      const [first] = await runPods(cluster, pod("first", cluster.nodes[0]?.name));
      const known = addressesOfPod(first as PodObject).every((a) => /^(10\.99|fd00:99)/.test(a));
      await deletePods(cluster, "first");
      return known ? true : undefined;
    });
    const fresh = await runPods(cluster, ...onEach(cluster, "new"));
    ofPools(fresh);
    await allReachAll(cluster, [...old, ...fresh]);
    const owners = new Set((await blocks(cluster)).map((b) => b.spec.node));
    assert.deepEqual(
      [...owners].sort(),
      cluster.nodes.map((n) => n.name),
    );
    say(`  ${(await cluster.kubectl(["get", "ippools,ipblocks"])).trim().split("\n").join("\n  ")}`);
    // Two pools that overlap: the older one has it.
    await cluster.apply(pool("late", "10.99.0.0/25"));
    const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}';
    await until("it is refused", 20, async () =>
      (await cluster.kubectl(["get", "ippool", "late", "-o", path])) === "OverlapsPool" ? true : undefined,
    );
    await cluster.kubectl(["delete", "ippool", "late", "--timeout=20s"]);
    await deletePods(cluster, ...old.map((p) => p.metadata.name));
  },
};

const fixed = (node: string): object => {
  const made = pod("fixed", node) as { metadata: object };
  return {
    ...made,
    metadata: { ...made.metadata, annotations: { "weft.network/addresses": FIXED.join(",") } },
  };
};

export const fixedAddress: Case = {
  name: "a pod with fixed addresses moves from node to node with them, and is reached wherever it is",
  async run(cluster) {
    const names = cluster.nodes.map(({ name }) => `new-${name}`);
    const standing = await Promise.all(names.map((n) => cluster.get<PodObject>("pod", n)));
    for (const node of [...cluster.nodes, ...cluster.nodes.slice(0, 1)]) {
      const [here] = await runPods(cluster, fixed(node.name));
      assert.deepEqual(addressesOfPod(here as PodObject).toSorted(), FIXED.toSorted());
      await until("all reach it", 20, () =>
        allReachAll(cluster, [...standing, here as PodObject]).then(() => true),
      );
      await deletePods(cluster, "fixed");
    }
    // Somebody has it: another one that asks for it says so, and starts when it is free.
    const [first, second] = cluster.nodes as [Node, Node];
    await runPods(cluster, fixed(first.name));
    const again = fixed(second.name) as { metadata: object };
    await cluster.apply({ ...again, metadata: { ...again.metadata, name: "waits" } });
    await until("it is told", 60, async () => {
      const said = await cluster.kubectl(["get", "events", "--field-selector=involvedObject.name=waits"]);
      return said.includes(FIXED[0] as string) ? true : undefined;
    });
    await deletePods(cluster, "fixed");
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod/waits", "--timeout=90s"], {
      timeout: 100_000,
    });
    await deletePods(cluster, "waits");
  },
};

const LINGER = 8;

export const drained: Case = {
  name: "a node is drained under load, while agents are killed: no request fails, and addresses stay unique",
  async run(cluster) {
    const node = cluster.nodes[1] as Node;
    await cluster.apply(
      deployment("moving", 12, { linger: LINGER }),
      {
        apiVersion: "policy/v1",
        kind: "PodDisruptionBudget",
        metadata: { name: "moving" },
        spec: { minAvailable: 8, selector: { matchLabels: { app: "moving" } } },
      },
      serviceOf("moving"),
    );
    ofPools(await readyOfLabel(cluster, "app=moving", 12, 90));
    const { spec: service } = await cluster.get<{ spec: { clusterIP: string } }>("service", "moving");
    const asker = `new-${cluster.nodes[0]?.name}`;
    const url = `http://${urlHost(service.clusterIP)}/hostname`;
    await until("the service answers", 20, () => inPod(cluster, asker, `netexec get ${url}`));
    const script = `n=0; bad=0
      while [ ! -e /stop ] && [ $n -lt 20000 ]; do
        n=$((n + 1)); netexec get ${url} > /dev/null 2>> /errors || bad=$((bad + 1))
      done
      echo $n $bad; tail -n 3 /errors; rm -f /stop`;
    const asking = inPod(cluster, asker, script, 180_000);
    const killing = killAgents(cluster);
    try {
      const flags = ["--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=120s"];
      await cluster.kubectl(["drain", node.name, ...flags], { timeout: 130_000 });
    } finally {
      say(`  agents were killed ${await killing.stop()} times`);
    }
    ofPools(await readyOfLabel(cluster, "app=moving", 12, 90));
    await inPod(cluster, asker, "touch /stop");
    const [counts, ...errors] = (await asking).trim().split("\n");
    say(`  requests, and failed ones: ${counts}`);
    assert.match(counts as string, /^[0-9]{2,} 0$/, errors.join("; "));
    await cluster.kubectl(["uncordon", node.name]);
    await cluster.kubectl(["delete", "deployment,service,pdb", "moving", "--wait"]);
    await runPods(cluster, pod(`new-${node.name}`, node.name));
  },
};

export const serverAway: Case = {
  name: "API server away and the agent killed: a pod starts with an address of the node's block, and is counted later",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    const api = cluster.controlPlane.running("kube-apiserver");
    await api.stop();
    try {
      assert(await killAgent(node), "there was no agent");
      await node.machine.write(MANIFEST, pod("static", undefined));
      const workload = await until("the static pod has addresses", 60, async () =>
        (await weftStatus(node)).workloads.find((w) => w.podName?.startsWith("static")),
      );
      for (const a of workload.addresses) assert.match(a, /^(10\.99|fd00:99)/);
    } finally {
      api.start();
    }
    await serverBack(cluster);
    const mirror = await mirrorOf(cluster, `static-${node.name}`);
    const names = cluster.nodes.map(({ name }) => `new-${name}`);
    const others = await Promise.all(names.map((n) => cluster.get<PodObject>("pod", n)));
    ofPools([mirror, ...others]);
    await until("all reach all", 30, () => allReachAll(cluster, [mirror, ...others]).then(() => true));
    node.machine.remove(MANIFEST);
    await mirrorGone(cluster, `static-${node.name}`);
  },
};

export const removed: Case = {
  name: "pools are deleted: they stay until their last pod is gone, then nothing of them is left",
  async run(cluster) {
    await cluster.kubectl(["delete", "ippools", "--all", "--wait=false"]);
    const path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}';
    await until("they say what they wait for", 20, async () =>
      (await cluster.kubectl(["get", "ippools", "-o", path])) === "Deleting Deleting" ? true : undefined,
    );
    // Whoever starts now gets what there was before.
    const [plain] = await runPods(cluster, pod("plain", cluster.nodes[0]?.name));
    for (const a of addressesOfPod(plain as PodObject)) assert.doesNotMatch(a, /^(10\.99|fd00:99)/);
    await deletePods(cluster, "plain", ...cluster.nodes.map(({ name }) => `new-${name}`));
    await until("pools and blocks are gone", 120, async () => {
      const left = await cluster.kubectl(["get", "ippools,ipblocks", "-o", "name"]);
      return left.trim() === "" ? true : undefined;
    });
    for (const { machine } of cluster.nodes) {
      for (const family of ["-4", "-6"]) {
        const routes = await machine.exec(["ip", family, "route", "show", "table", "all", "proto", "87"]);
        assert.doesNotMatch(routes, /10\.99\.|fd00:99:/);
      }
    }
    await cluster.kubectl(["label", "namespace", "default", "pooled-"]);
  },
};
