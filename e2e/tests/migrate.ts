/** From the reference plugins to Weft: node by node while pods talk, killed in the middle, back out, to the end. */
import assert from "node:assert/strict";
import { importImage } from "../cluster/node.ts";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { bridgeNetwork } from "../networks/bridge.ts";
import type { Network } from "../networks/network.ts";
import { WEFT_NAMESPACE, weftAttempt, weftInstall } from "../networks/weft.ts";
import { podsReachPods } from "./common.ts";
import { hold } from "./faults.ts";
import { allReachAll, deletePods, type PodObject, pod, podSpec, runPods } from "./pods.ts";
import type { Case, Suite } from "./suite.ts";

/** The reference, on nodes that have Weft's image and nothing else of it. */
function bridgeWithImage(): Network {
  const bridge = bridgeNetwork();
  return {
    ...bridge,
    async install(cluster, node) {
      await importImage(node.machine, cluster.programs.weftImage);
      await bridge.install(cluster, node);
    },
  };
}

const APP = { app: "moving" };
const workload = (kind: "Deployment" | "DaemonSet", name: string, more: object): object => ({
  apiVersion: "apps/v1",
  kind,
  metadata: { name },
  spec: {
    selector: { matchLabels: { ...APP, part: name } },
    template: { metadata: { labels: { ...APP, part: name } }, spec: podSpec() },
    ...more,
  },
});

/** All of the workload's pods, once they are as many as there are to be. */
async function movingPods(cluster: Cluster): Promise<PodObject[]> {
  for (const what of ["deployment/web", "daemonset/everywhere"]) {
    await cluster.kubectl(["rollout", "status", what, "--timeout=120s"], { timeout: 130_000 });
  }
  const { items } = await cluster.get<{ items: PodObject[] }>("pods", "-l", "app=moving");
  return items.filter((p) => p.metadata.deletionTimestamp === undefined);
}

async function migrate(cluster: Cluster, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await weftAttempt(cluster, "migrate", ...words);
  assert.equal(code, 0, `weft migrate ${words.join(" ")}: ${stdout}\n${stderr}`);
  return stdout;
}

interface Plan {
  readonly next: string;
  readonly nodes: readonly { readonly node: string; readonly state: string; readonly agent: string }[];
}
const plan = async (cluster: Cluster): Promise<Plan> =>
  JSON.parse(await migrate(cluster, "plan", "--json")) as Plan;

/** Whose links pods on a node hang on. */
async function links({ machine }: Node): Promise<{ bridge: number; weft: number }> {
  const said = await machine.exec(["ip", "-o", "link"]);
  const count = (pattern: RegExp): number => said.split("\n").filter((line) => pattern.test(line)).length;
  return { bridge: count(/ master cni0 /), weft: count(/: weft[0-9a-f]{11}@/) };
}

const begins: Case = {
  name: "plan, start and install leave a cluster on its own network",
  async run(cluster) {
    await cluster.apply(
      workload("Deployment", "web", { replicas: 4 }),
      workload("DaemonSet", "everywhere", {}),
    );
    const pods = await movingPods(cluster);
    assert.equal((await plan(cluster)).next, "weft migrate start");
    await migrate(cluster, "start");
    assert.equal((await plan(cluster)).next, "weft install --apply --no-wait");
    await weftInstall(cluster, "--no-wait");
    const name = cluster.nodes[0]?.name as string;
    await until("a move is what is next", 30, async () =>
      (await plan(cluster)).next === `weft migrate node ${name}` ? true : undefined,
    );
    const { items } = await cluster.get<{ items: unknown[] }>(
      ...["pods", "-n", WEFT_NAMESPACE, "-l", "app.kubernetes.io/component=agent"],
    );
    assert.deepEqual(items, []);
    await allReachAll(cluster, pods);
  },
};

/** More than a move takes; that the traffic ended last is not needed: it must only not break. */
const TALK_SECONDS = 60;

const moves: Case = {
  name: "a node is moved while others talk, then back, then forth again: all pods reach all at each stage",
  async run(cluster) {
    const [first, second, third] = cluster.nodes as [Node, Node, Node];
    const [near, far] = (await runPods(cluster, pod("near", second.name), pod("far", third.name))) as [
      PodObject,
      PodObject,
    ];
    const talk = hold(cluster, near, far, TALK_SECONDS);
    talk.catch(() => {});
    for (const [word, holder] of [
      ["node", "weft"],
      ["back", "bridge"],
      ["node", "weft"],
    ] as const) {
      await migrate(cluster, word, first.name, "--timeout", "120s");
      const pods = await movingPods(cluster);
      assert(
        pods.some((p) => p.spec.nodeName === first.name),
        `pods are on ${first.name} again`,
      );
      const found = await links(first);
      assert(found[holder] > 0, `${word}: ${JSON.stringify(found)}`);
      assert.equal(found[holder === "weft" ? "bridge" : "weft"], 0, `${word}: ${JSON.stringify(found)}`);
      await allReachAll(cluster, [near, far, ...pods]);
    }
    await talk;
    await deletePods(cluster, "near", "far");
  },
};

const killed: Case = {
  name: "a move that is killed is completed by the same command",
  async run(cluster) {
    const [, second] = cluster.nodes as [Node, Node];
    const command = ["timeout", "-s", "KILL", "4", "weft", "migrate", "node", second.name];
    const { code } = await cluster.controlPlane.attempt([
      ...command,
      "--kubeconfig",
      "/etc/kubernetes/admin.conf",
    ]);
    assert.notEqual(code, 0, "it was killed");
    assert.equal((await plan(cluster)).next, `weft migrate node ${second.name}`);
    await migrate(cluster, "node", second.name, "--timeout", "120s");
    assert.equal((await links(second)).bridge, 0);
    await allReachAll(cluster, await movingPods(cluster));
  },
};

const ends: Case = {
  name: "when the last node is moved, the labels go, and Weft is the network of every node",
  async run(cluster) {
    const early = await weftAttempt(cluster, "migrate", "finish");
    assert.equal(early.code, 1, early.stderr);
    const third = cluster.nodes[2] as Node;
    await migrate(cluster, "node", third.name, "--timeout", "120s");
    await migrate(cluster, "finish");
    const { items } = await cluster.get<{ items: { metadata: { labels: Record<string, string> } }[] }>(
      "nodes",
    );
    for (const { metadata } of items) assert.equal(metadata.labels["weft.network/network"], undefined);
    await allReachAll(cluster, await movingPods(cluster));
    await cluster.kubectl(["delete", "deployment/web", "daemonset/everywhere", "--wait"]);
    await podsReachPods.run(cluster);
  },
};

export const migrateSuite: Suite = {
  title: "migrate",
  cluster: () => ({ name: "migr", families: "dual", racks: [1, 1, 1], network: bridgeWithImage() }),
  cases: [begins, moves, killed, ends],
};
