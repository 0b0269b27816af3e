/** Nodes that are drained, renumbered, taken away, or that claim what another one has. */
import assert from "node:assert/strict";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { type WeftStatus, weftStatus } from "../networks/weft.ts";
import { nothingLeft, pair, removePair } from "./faults.ts";
import { allReachAll, deletePods, deployment, type PodObject, pod, readyOfLabel, runPods } from "./pods.ts";
import type { Case } from "./suite.ts";

/** Waits until every node's agent says of itself what `right` wants; `right` may throw what is missing. */
export async function everyAgent(
  cluster: Cluster,
  what: string,
  right: (status: WeftStatus, node: Node) => boolean,
): Promise<void> {
  for (const node of cluster.nodes) {
    await until(`${node.name}: ${what}`, 60, async () =>
      right(await weftStatus(node), node) ? true : undefined,
    );
  }
}

const onEach = (cluster: Cluster): object[] => cluster.nodes.map(({ name }) => pod(`on-${name}`, name));

export const drain: Case = {
  name: "a drained node holds nothing, its pods go on elsewhere, and it takes pods again afterwards",
  async run(cluster) {
    const node = cluster.nodes[1] as Node;
    await cluster.apply(deployment("moving", 6));
    await readyOfLabel(cluster, "app=moving", 6, 90);
    const flags = ["--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
    await cluster.kubectl(["drain", node.name, ...flags], { timeout: 100_000 });
    const pods = await readyOfLabel(cluster, "app=moving", 6, 90);
    assert(pods.every((p) => p.spec.nodeName !== node.name));
    await allReachAll(cluster, pods);
    await nothingLeft(cluster);
    assert.deepEqual((await weftStatus(node)).workloads, []);
    await cluster.kubectl(["uncordon", node.name]);
    const [back] = await runPods(cluster, pod("back", node.name));
    await allReachAll(cluster, [...pods.slice(0, 2), back as PodObject]);
    await cluster.kubectl(["delete", "deployment", "moving", "--wait"]);
    await deletePods(cluster, "back");
    await nothingLeft(cluster);
  },
};

export const renumbered: Case = {
  name: "a node's addresses change, and change back, under running pods: its peers and itself follow",
  async run(cluster) {
    const pods = await runPods(cluster, ...onEach(cluster));
    const number = cluster.numberOf(cluster.nodes[1] as Node);
    for (const [from, to] of [
      [number, number + 100],
      [number + 100, number],
    ] as const) {
      const before = cluster.nodes[1] as Node;
      const node = await cluster.renumberNode(before, from, to);
      await until(`the API has the addresses of ${node.name}`, 60, async () => {
        const path = "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}";
        const said = await cluster.kubectl(["get", "node", node.name, "-o", path]);
        return said === node.addresses.join(" ") ? true : undefined;
      });
      await everyAgent(cluster, "no row and no peer of the former address", (status) => {
        assert.deepEqual(status.problems, []);
        assert(status.plan.every((t) => t.errors === 0));
        return !status.peers.some((p) => before.addresses.includes(p.via ?? ""));
      });
      for (const { machine } of cluster.nodes) {
        await until(`${machine.name}: no route has a former address`, 30, async () => {
          const routes = await Promise.all(
            ["-4", "-6"].map((family) =>
              machine.exec(["ip", family, "route", "show", "table", "all", "proto", "87"]),
            ),
          );
          const words = routes.join(" ").split(/\s+/);
          return before.addresses.some((a) => words.includes(a)) ? undefined : true;
        });
      }
      await cluster.untilReady();
      await until("all pods reach each other", 60, () => allReachAll(cluster, pods).then(() => true));
    }
    const { items } = await cluster.get<{ items: PodObject[] }>("pods", "-l", "app");
    assert(items.every((p) => p.status.containerStatuses?.every((c) => c.restartCount === 0)));
    await deletePods(cluster, ...pods.map((p) => p.metadata.name));
    await nothingLeft(cluster);
  },
};

export const takenRange: Case = {
  name: "a node object with another node's range: the older one keeps it; status and an Event name both",
  async run(cluster) {
    const pods = await pair(cluster);
    const [owner] = cluster.nodes as [Node];
    // By its name it would come first.
    await cluster.apply({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "aaa" },
      spec: { podCIDR: owner.podCIDRs[0], podCIDRs: owner.podCIDRs },
    });
    const addresses = [{ type: "InternalIP", address: "172.31.1.250" }];
    const patch = ["--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { addresses } })];
    await cluster.kubectl(["patch", "node", "aaa", ...patch]);
    await everyAgent(cluster, "says who has the range", ({ sourceErrors, peers }, node) => {
      const told = sourceErrors.filter((e) => e.includes("Node aaa") && e.includes(`of Node ${owner.name}`));
      const ways = peers.filter((p) => p.node === owner.name).length;
      return (
        told.length === owner.podCIDRs.length &&
        ways === (node.name === owner.name ? 0 : owner.podCIDRs.length) &&
        peers.every((p) => p.node !== "aaa")
      );
    });
    await until("an Event names both", 30, async () => {
      const said = await cluster.kubectl([
        "get",
        "events",
        "-A",
        "--field-selector",
        "reason=RangeTaken",
        "-o",
        "json",
      ]);
      const { items } = JSON.parse(said) as {
        items: { message: string; involvedObject: { name: string } }[];
      };
      const right = items.filter(
        (e) => e.involvedObject.name === "aaa" && e.message.includes(`of node ${owner.name}`),
      );
      return right.length > 0 ? true : undefined;
    });
    await allReachAll(cluster, pods);
    await cluster.kubectl(["delete", "node", "aaa"]);
    await everyAgent(cluster, "the matter is settled", ({ sourceErrors }) => sourceErrors.length === 0);
    await allReachAll(cluster, pods);
    await removePair(cluster);
  },
};

export const removed: Case = {
  name: "a node that is taken away leaves no route and no tunnel at its peers, and another one takes its place",
  async run(cluster) {
    const gone = await cluster.addNode(1);
    await cluster.untilReady();
    const pods = await runPods(cluster, ...onEach(cluster));
    await until("every node reaches the new one", 30, () => allReachAll(cluster, pods).then(() => true));
    await cluster.removeNode(gone);
    const name = `on-${gone.name}`;
    await cluster.kubectl(["delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found"]);
    await everyAgent(cluster, "the node is no peer", (s) => s.peers.every((p) => p.node !== gone.name));
    for (const { machine } of cluster.nodes) {
      await until(`${machine.name} holds nothing of ${gone.name}`, 30, async () => {
        const said = await Promise.all(
          [
            ["ip", "-4", "route", "show", "table", "all"],
            ["ip", "-6", "route", "show", "table", "all"],
            ["bridge", "fdb", "show"],
          ].map(async (command) => (await machine.attempt(command)).stdout),
        );
        const words = said.join(" ").split(/\s+/);
        const former = [...gone.podCIDRs, ...gone.addresses, ...gone.addresses.map((a) => `${a}/32`)];
        return former.some((f) => words.includes(f)) ? undefined : true;
      });
    }
    const left = pods.filter((p) => p.metadata.name !== name);
    await allReachAll(cluster, left);
    // It may get the range of the one that is gone.
    const fresh = await cluster.addNode(1);
    await cluster.untilReady();
    const [born] = await runPods(cluster, pod("born", fresh.name));
    const all = [...left, born as PodObject];
    await until("every node reaches the newest one", 30, () => allReachAll(cluster, all).then(() => true));
    await deletePods(cluster, ...all.map((p) => p.metadata.name));
    await nothingLeft(cluster);
  },
};

export const reregistered: Case = {
  name: "a node's object deleted and made anew by its kubelet: whatever range it gets, pods there are reached",
  async run(cluster) {
    const node = cluster.nodes[1] as Node;
    const pods = await pair(cluster);
    const kubelet = node.machine.running("kubelet");
    await kubelet.stop();
    await cluster.kubectl(["delete", "node", node.name]);
    // Somebody else may take its range meanwhile, and does here.
    const thief = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "thief" },
      spec: { podCIDR: node.podCIDRs[0], podCIDRs: node.podCIDRs },
    };
    await cluster.apply(thief);
    await everyAgent(cluster, "the node is no peer", (s, { name }) =>
      name === node.name ? s.ready : s.peers.every((p) => p.node !== node.name),
    );
    kubelet.start();
    const podCIDRs = await until(`${node.name} has ranges again`, 60, async () => {
      const said = await cluster.kubectl(["get", "node", node.name, "-o", "jsonpath={.spec.podCIDRs[*]}"]);
      return said === "" ? undefined : said.split(" ");
    });
    assert.notDeepEqual(podCIDRs, node.podCIDRs);
    cluster.nodes[1] = { ...node, podCIDRs };
    await cluster.kubectl(["wait", "--for=condition=Ready", `node/${node.name}`, "--timeout=60s"]);
    await cluster.kubectl(["delete", "node", "thief"]);
    await everyAgent(cluster, "has the node's new ranges", (s, { name }) =>
      podCIDRs.every((range) =>
        name === node.name
          ? s.blocks.some((b) => b.prefix === range)
          : s.peers.some((p) => p.node === node.name && p.block === range),
      ),
    );
    const [fresh] = await runPods(cluster, pod("fresh", node.name));
    const { podIPs = [] } = (fresh as PodObject).status;
    assert.equal(podIPs.length, podCIDRs.length);
    const near = pods[0] as PodObject;
    await until("the new pod is reached", 30, () =>
      allReachAll(cluster, [near, fresh as PodObject]).then(() => true),
    );
    await cluster.kubectl(["delete", "pod", "far", "--force", "--grace-period=0", "--ignore-not-found"]);
    await deletePods(cluster, "near", "fresh");
    await nothingLeft(cluster);
  },
};
