/** Nodes that come up with Weft, and the ways it has between them. */
import assert from "node:assert/strict";
import { until } from "../command.ts";
import { changeSettings, type WeftSettings, weftStatus } from "../networks/weft.ts";
import { standing } from "./common.ts";
import { allReachAll, deletePods, pod, runPods } from "./pods.ts";
import type { Case } from "./suite.ts";

interface NodeObject {
  readonly status: { readonly conditions: readonly { type: string; status: string; message: string }[] };
}

/** The third node stands in the other rack, so that there are two kinds of peers from here on. */
export const becomesReady: Case = {
  name: "a node that joins is not ready without Weft, is with it, and then reaches the others",
  async run(cluster) {
    const node = await cluster.addBareNode(2);
    const condition = async () => {
      const { status } = await cluster.get<NodeObject>("node", node.name);
      return status.conditions.find((c) => c.type === "Ready");
    };
    await until(`${node.name} says what it waits for`, 20, async () =>
      /cni plugin not initialized/.test((await condition())?.message ?? "") ? true : undefined,
    );
    assert.equal((await condition())?.status, "False");
    await cluster.network.install(cluster, node);
    await cluster.untilReady();
    const pods = await runPods(cluster, ...cluster.nodes.map(({ name }) => pod(`joined-${name}`, name)));
    await until("every node reaches the new one", 20, () => allReachAll(cluster, pods).then(() => true));
    const status = await weftStatus(node);
    assert.deepEqual(
      new Set(status.peers.map((p) => p.backend)),
      new Set(["vxlan"]),
      "all peers are in another rack",
    );
    await deletePods(cluster, ...pods.map((p) => p.metadata.name));
  },
};

export const changesBackend = (backend: WeftSettings["backend"]): Case => ({
  name: `backend changed to ${backend} under running pods`,
  async run(cluster) {
    const pods = await standing(cluster);
    await changeSettings(cluster, { backend });
    for (const node of cluster.nodes) {
      await until(`${node.name} uses ${backend}`, 40, async () => {
        const status = await weftStatus(node);
        const settled = status.plan.every((t) => t.errors === 0) && status.problems.length === 0;
        const expected = (peer: string): string => {
          const sameRack = cluster.node(peer).rack === node.rack;
          return backend === "auto" ? (sameRack ? "direct" : "vxlan") : backend;
        };
        const right = status.peers.every((p) => p.backend === expected(p.node));
        return status.settings.backend === backend && settled && right ? true : undefined;
      });
    }
    await until("all pods reach each other", 20, () => allReachAll(cluster, pods).then(() => true));
  },
});
