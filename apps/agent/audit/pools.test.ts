/**
 * The audit of nodes with pools, on whole executables around `weft server`: in order, it finds nothing; an address that
 * is borrowed leaks, comes back, and goes home; and what the command line says of all that.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { contains, type Prefix } from "@weft/base";
import type { IpBlock, NodeAddresses } from "@weft/model";
import { type ClusterPod, PoolCluster, type PoolNode } from "../testing/pool-cluster.ts";
import { eventually } from "../testing/wait.ts";
import { compare, type OwnRange } from "./compare.ts";

setDefaultTimeout(400_000);

let cluster: PoolCluster;
let rich: PoolNode;
let poor: PoolNode;
let pods: ClusterPod[];
beforeAll(async () => {
  cluster = await PoolCluster.start();
  await cluster.addPool("p", "10.250.0.0/28", 28);
  const nodes = [await cluster.addNode("node1"), await cluster.addNode("node2")];
  await Promise.all(nodes.map((n) => n.start()));
  const [block] = await cluster.blocks();
  [rich, poor] = (block?.node === "node1" ? nodes : nodes.reverse()) as [PoolNode, PoolNode];
  pods = [await cluster.run(rich), await cluster.run(poor), await cluster.run(poor)];
});
afterAll(() => cluster.close());

/** What a round would find now, were everything of it settled. */
function found(node: NodeAddresses, blocks: readonly IpBlock[]): string[] {
  const entries = node.leases.map((l) => ({
    state: l.state,
    workload: {
      id: l.id,
      network: "weft",
      containerId: l.origin.containerId ?? "",
      interface: "eth0",
      namespacePath: l.namespacePath,
      namespaceIdentity: "",
      podNamespace: "default",
      podName: l.origin.pod?.split("/")[1],
      podUid: l.origin.podUid,
      addresses: [l.address],
      hostPorts: [],
      mac: "02:00:00:00:00:01" as never,
      hostLink: l.hostLink,
      since: l.origin.since ?? 0,
    },
  }));
  return compare({
    node: node.node,
    entries,
    busy: new Set(),
    stuck: new Map(),
    suspects: [],
    links: new Set(node.leases.map((l) => l.hostLink)),
    strayRoutes: new Map(),
    inside: new Map(),
    ranges: node.ranges as readonly OwnRange[],
    held: node.held,
    blocks: blocks.filter((b) => b.node === node.node || b.loans.some((l) => l.node === node.node)),
    paused: false,
  }).map((f) => `${f.code} ${f.object}: ${f.message}`);
}

const report = (node: PoolNode): Promise<NodeAddresses> => node.get<NodeAddresses>("/v1/ipam");
const weft = (...words: string[]): { code: number; out: string } =>
  rich.node.try(rich.executable, "ipam", ...words);
const api = (...words: string[]) => weft(...words, "--kubeconfig", cluster.kubeconfig);

test("nothing is found where all is in order, in ledgers, objects and copies of either", async () => {
  for (const node of [rich, poor]) {
    await eventually(
      "nothing is found",
      async () => found(await report(node), await cluster.blocks()).length === 0,
      60_000,
      () => node.log(),
    );
    expect((await node.status()).audit?.findings).toEqual([]);
  }
  const { leases, ranges } = await report(poor);
  expect(ranges.every((r) => r.lentFrom === ("10.250.0.0/28" as Prefix))).toBe(true);
  expect(leases.every((l) => ranges.some((r) => contains(r.prefix, l.address)))).toBe(true);
  expect((await report(rich)).ranges).toMatchObject([{ pool: "p", used: 5, size: 14, lent: 3 }]);
});

test("the command line tells of pools, blocks, loans and whose they are", async () => {
  const check = api("check");
  expect([check.code, check.out]).toEqual([
    0,
    expect.stringContaining("everything fits together: 3 pods, 2 nodes, 1 pools and 1 blocks"),
  ]);
  await eventually("the copy is written", async () =>
    (await cluster.blocks()).some((b) => b.allocations.length === 5),
  );
  const use = JSON.parse(api("show", "--json").out) as { pools: object[] };
  expect(use.pools).toMatchObject([{ pool: "p", used: 5, size: 14, blocks: 1, loans: 3, nodes: 1 }]);
  const [address] = (pods[1] as ClusterPod).container.addresses;
  const who = api("show", address as string);
  expect(who.out).toContain(`${address}: in use, of 10.250.0.0/28 (pool p), which is node ${rich.name}'s`);
  expect(who.out).toMatch(new RegExp(`default/${pods[1]?.name} +${poor.name} +on loan`));
  const mine = weft("show", address as string, "--socket", poor.options.socket);
  expect(mine.out).toContain("ready, borrowed");
  const theirs = weft("release", address as string, "--socket", rich.options.socket, "--force");
  expect([theirs.code, theirs.out]).toEqual([1, expect.stringContaining(`on loan to node ${poor.name}`)]);
  const elsewhere = api("release", address as string);
  expect([elsewhere.code, elsewhere.out]).toEqual([1, expect.stringContaining("is to release it")]);
});

test("a borrowed address that leaks comes back to its node, and then to its lender", async () => {
  const lost = pods[1] as ClusterPod;
  const [address] = lost.container.addresses;
  poor.removePod(lost.container);
  await eventually("it is free", async () => !(await report(poor)).leases.some((l) => l.address === address));
  await eventually("and at home", async () => !(await report(rich)).held.some((h) => h.address === address));
  const events = await eventually("an event", async () => {
    const all = (await cluster.events()).filter((e) => e.reason === "AddressReclaimed");
    return all.length === 2 ? all : undefined;
  });
  expect(events.map((e) => e.regarding).sort()).toEqual(["Node", "Pod"]);
  expect(events[0]?.note).toContain(`${address} of pod default/${lost.name}`);
  expect((await report(poor)).former[0]).toMatchObject({ address, why: "its network namespace is gone" });
  await eventually(
    "nothing is found",
    async () => found(await report(rich), await cluster.blocks()).length === 0,
  );
});
