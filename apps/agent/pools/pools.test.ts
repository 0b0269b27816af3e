/** Whole executables around `weft server`: pods of nodes get addresses of pools, lend and borrow them, and keep them. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { deleteObject, IP_BLOCKS } from "@weft/cluster/client";
import { type ClusterPod, PoolCluster, type PoolNode } from "../testing/pool-cluster.ts";
import { eventually } from "../testing/wait.ts";

setDefaultTimeout(400_000);

let cluster: PoolCluster;
afterEach(() => cluster.close());

const ADDRESSES = "weft.network/addresses";
const POOLS = "weft.network/pools";

async function started(names: readonly string[]): Promise<PoolNode[]> {
  const nodes: PoolNode[] = [];
  for (const name of names) nodes.push(await cluster.addNode(name));
  await Promise.all(nodes.map((n) => n.start()));
  return nodes;
}

test("both families: a block each at the start, addresses of them, a copy for people; a DEL frees", async () => {
  cluster = await PoolCluster.start();
  await cluster.addPool("four", "10.250.0.0/24", 28);
  await cluster.addPool("six", "fd00:250::/112", 124);
  const [node] = (await started(["node1"])) as [PoolNode];
  const pod = await cluster.run(node);
  expect(pod.container.addresses).toHaveLength(2);
  expect(pod.container.addresses[0]).toStartWith("10.250.0.");
  expect(pod.container.addresses[1]).toStartWith("fd00:250::");
  pod.container.sh("ping -c1 -W20 172.30.0.11");
  pod.container.sh("ping -c1 -W20 fd00:30::11");
  await node.settled();
  const { pools, context, blocks } = await node.status();
  expect(pools?.blocks.map((b) => [b.pool, b.state, b.used])).toEqual([
    ["four", "open", 2],
    ["six", "open", 2],
  ]);
  expect(context?.blocks.map((b) => b.pool).sort()).toEqual(["four", "six"]);
  expect(blocks.map((b) => b.used)).toEqual([2, 2]);
  const named = async () =>
    (await cluster.blocks()).map((b) => b.allocations.filter((a) => a.pod === `default/${pod.name}`).length);
  await eventually("both blocks name the pod", async () => (await named()).join() === "1,1");
  await cluster.del(pod);
  await eventually("they do not any more", async () => (await named()).join() === "0,0");
  expect((await node.status()).pools?.blocks.map((b) => b.used)).toEqual([1, 1]);
  await eventually("the claims are told of", async () =>
    (await cluster.events()).some((e) => e.reason === "BlockClaimed" && e.regarding === "Node"),
  );
});

test("a pool that comes live serves new pods; a full block claims another; old pods keep what they have", async () => {
  cluster = await PoolCluster.start();
  const node = await cluster.addNode("node1", ["10.240.1.0/24"]);
  await node.start();
  const old = await cluster.run(node);
  expect(old.container.addresses).toEqual(["10.240.1.2"]);
  expect((await node.status()).pools).toMatchObject({ enabled: false, blocks: [] });
  await cluster.addPool("p", "10.250.0.0/28", 30);
  await eventually("a block is claimed", async () => (await cluster.blocks()).length === 1);
  const pods = [];
  for (let i = 0; i < 9; i++) pods.push(await cluster.run(node));
  expect(pods.every((p) => p.container.addresses[0]?.startsWith("10.250.0."))).toBe(true);
  expect((await cluster.blocks()).length).toBe(3);
  old.container.sh("ping -c1 -W20 172.30.0.11");
  for (const pod of pods) pod.container.sh("ping -c1 -W20 172.30.0.11");
  await node.settled();
  // After a restart everything is as it was.
  await node.stop();
  await node.start();
  expect((await node.status()).workloads).toHaveLength(10);
  await cluster.run(node);
  await cluster.del(old);
  // Without podCIDRs' tunnel there would be one in a block.
  expect((await cluster.blocks()).every((b) => b.tunnelAddress === undefined)).toBe(true);
});

test("in a cluster without pools a pod that asks for one, or for an address, waits for it", async () => {
  cluster = await PoolCluster.start();
  const node = await cluster.addNode("node1", ["10.240.1.0/24"]);
  await node.start();
  const [named, fixed] = (await Promise.all([
    cluster.addPod(node, { [POOLS]: "p" }),
    cluster.addPod(node, { [ADDRESSES]: "10.250.0.7" }),
  ])) as [ClusterPod, ClusterPod];
  expect((await cluster.call("ADD", named)).error).toMatchObject({
    msg: expect.stringContaining(`pod default/${named.name}: there is no pool p`),
    details: expect.stringContaining("The cluster has no IPPool"),
  });
  expect((await cluster.call("ADD", fixed)).error).toMatchObject({
    msg: expect.stringContaining("there is no pool that has 10.250.0.7"),
  });
  expect((await cluster.run(node)).container.addresses).toEqual(["10.240.1.2"]);
  await cluster.addPool("p", "10.250.0.0/28", 30);
  await eventually("a block is claimed", async () => (await cluster.blocks()).length === 1);
  expect((await cluster.add(named))[0]).toStartWith("10.250.0.");
  expect(await cluster.add(fixed)).toEqual(["10.250.0.7"]);
});

describe("two nodes and one block", () => {
  test("the second borrows for its tunnel and its pods; a full pool says so; what comes back is given again", async () => {
    cluster = await PoolCluster.start();
    await cluster.addPool("p", "10.250.0.0/29", 29);
    const nodes = await started(["node1", "node2"]);
    const [block] = await cluster.blocks();
    const [rich, poor] = (block?.node === "node1" ? nodes : nodes.reverse()) as [PoolNode, PoolNode];
    expect(block?.loans.map((l) => [l.node, l.tunnel])).toEqual([[poor.name, true]]);
    // Six addresses, two of them the tunnels'.
    const pods = [
      await cluster.run(poor),
      await cluster.run(rich),
      await cluster.run(poor),
      await cluster.run(poor),
    ];
    for (const pod of pods) pod.container.sh(`ping -c1 -W20 172.30.0.${pod.node.name === "node1" ? 11 : 12}`);
    expect((await poor.status()).pools?.borrowed).toHaveLength(4);
    await poor.settled();
    const over = await cluster.addPod(poor);
    const { error } = await cluster.call("ADD", over);
    expect(error?.code).toBe(102);
    expect(error?.msg).toContain("pool p");
    expect(error?.details).toContain("weft ipam show");
    const reasons = async () => (await cluster.events()).map((e) => `${e.type} ${e.reason} ${e.regarding}`);
    await eventually("it is told of", async () => (await reasons()).includes("Warning PoolExhausted IPPool"));
    expect(await reasons()).toContain("Normal AddressBorrowed Node");
    await cluster.del(pods[1] as (typeof pods)[number]);
    await cluster.add(over);
    expect(over.container.addresses).toEqual((pods[1] as (typeof pods)[number]).container.addresses);
    for (const pod of [pods[0], pods[2], pods[3], over]) await cluster.del(pod as (typeof pods)[number]);
    await eventually("all but the tunnel's are back", async () => {
      const [now] = await cluster.blocks();
      return now?.loans.length === 1 && now.loans[0]?.tunnel === true;
    });
    // The pool is drained: everything goes.
    await cluster.changePool("p", { disabled: true });
    await eventually("no block is left", async () => (await cluster.blocks()).length === 0);
    for (const node of nodes) {
      await eventually("and nothing of it", async () => {
        const { pools } = await node.status();
        return pools?.blocks.length === 0 && pools.borrowed.length === 0;
      });
    }
  });
});

test("an address that is asked for moves with its pod; who has it is said", async () => {
  cluster = await PoolCluster.start();
  await cluster.addPool("p", "10.250.0.0/24", 28);
  const [a, b] = (await started(["node1", "node2"])) as [PoolNode, PoolNode];
  const wanted = { [ADDRESSES]: "10.250.0.77" };
  const first = await cluster.addPod(a, wanted, "web-0");
  expect(await cluster.add(first)).toEqual(["10.250.0.77"]);
  const second = await cluster.addPod(b, wanted, "web-0-again");
  const { error } = await cluster.call("ADD", second);
  expect(error?.code).toBe(110);
  expect(error?.msg).toContain("10.250.0.77 is in use by pod default/web-0 on node node1");
  await cluster.del(first);
  expect(await cluster.add(second)).toEqual(["10.250.0.77"]);
  second.container.sh("ping -c1 -W20 172.30.0.12");
  await cluster.del(second);
  await eventually("it is home", async () => (await cluster.blocks()).every((x) => x.loans.length === 0));
  const third = await cluster.addPod(a, wanted);
  expect(await cluster.add(third)).toEqual(["10.250.0.77"]);
  // Annotations that cannot be.
  const code = async (annotations: Record<string, string>) =>
    (await cluster.call("ADD", await cluster.addPod(a, annotations))).error;
  expect((await code({ [ADDRESSES]: "10.99.0.1" }))?.msg).toMatch(/10\.99\.0\.1/);
  expect((await code({ [ADDRESSES]: "10.250.0.255" }))?.msg).toContain("end of pool");
  expect((await code({ [ADDRESSES]: "nonsense" }))?.msg).toContain(ADDRESSES);
  expect((await code({ [POOLS]: "nowhere" }))?.msg).toContain("nowhere");
  expect((await a.status()).workloads).toHaveLength(1);
});

test("the server is away: pods start while blocks have room, also after a restart; what changed is caught up with", async () => {
  cluster = await PoolCluster.start();
  await cluster.addPool("p", "10.250.0.0/24", 29);
  const [node] = (await started(["node1"])) as [PoolNode];
  const before = await cluster.run(node);
  const named: ClusterPod[] = [];
  for (let i = 0; i < 8; i++) named.push(await cluster.addPod(node));
  await eventually("the agent knows its pods", async () =>
    (await node.status()).source.endsWith(": watching"),
  );
  // Copies of what changes all the time are written a while later.
  const copy = (name: string): string => {
    const file = `${node.root}/var/lib/weft/${name}`;
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  await eventually(
    "what it knows is kept",
    () =>
      named.every((pod) => copy("cluster-pools.json").includes(`"${pod.name}"`)) &&
      copy("cluster.json").includes("10.250.0."),
  );
  await cluster.stopServer();
  await eventually("it is away", async () => /away since/.test((await node.status()).source));
  const free = (await node.status()).pools?.blocks[0]?.free as number;
  const [one, ...others] = named;
  await cluster.add(one as (typeof named)[number]);
  await node.stop("SIGKILL");
  await node.start();
  for (const pod of others.slice(0, free - 1)) await cluster.add(pod);
  const next = others[free - 1] as (typeof named)[number];
  const { error } = await cluster.call("ADD", next);
  expect(error?.code).toBe(107);
  await cluster.del(before);
  await cluster.startServer();
  await eventually("it is back", async () => (await node.status()).pools?.current === true);
  await cluster.add(next);
  const last = await cluster.run(node);
  expect(last.container.addresses).toHaveLength(1);
  await eventually("what was freed is told", async () =>
    (await cluster.blocks()).every((b) => b.allocations.every((x) => x.pod !== `default/${before.name}`)),
  );
});

test("a block that somebody deletes is claimed anew while pods have addresses of it", async () => {
  cluster = await PoolCluster.start();
  await cluster.addPool("p", "10.250.0.0/24", 29);
  const [node] = (await started(["node1"])) as [PoolNode];
  const pod = await cluster.run(node);
  const [block] = await cluster.blocks();
  await deleteObject(cluster.client, IP_BLOCKS, { name: block?.name as string });
  await eventually("it is there again", async () => {
    const [again] = await cluster.blocks();
    return (
      again !== undefined &&
      again.uid !== block?.uid &&
      again.prefix === block?.prefix &&
      again.node === "node1"
    );
  });
  pod.container.sh("ping -c1 -W20 172.30.0.11");
  await cluster.run(node);
  await node.settled();
});
