/**
 * Compile and apply for every node of a large cluster, one node after another, each against a kernel in memory: what
 * a change of the cluster costs all of its agents together, without their kernels.
 */
import { createPlan, type Plan } from "@weft/apply";
import { parseIp, parseIpWithLength, parseMac, parsePrefix, silentLogger, systemClock } from "@weft/base";
import { createFabric, type Fabric, type Fact } from "@weft/compile";
import { createFakeKernel } from "@weft/kernel/fake";
import { type Block, DEFAULT_SETTINGS, type Node, type PlanRow } from "@weft/model";
import { nodeAddress, nodeName, podRange } from "./objects.ts";

export interface TablesResult {
  /** For each node: nothing to a whole table. */
  readonly whole: readonly Cost[];
  /** For each node: one more node in the cluster, to its rows applied. */
  readonly one: readonly Cost[];
  /** Rows of one node's plan. */
  readonly rows: number;
}

/** Milliseconds on the clock, and of CPU: on a busy machine only the latter says much. */
export interface Cost {
  readonly wall: number;
  readonly cpu: number;
}

/** `measured` of the `nodes` nodes, evenly over the cluster. */
export async function measureTables(nodes: number, measured: number): Promise<TablesResult> {
  const cluster = Array.from({ length: nodes + 1 }, (_, i) => i);
  const whole: Cost[] = [];
  const one: Cost[] = [];
  let rows = 0;
  for (let k = 0; k < measured; k++) {
    const self = Math.floor((k * nodes) / measured);
    const { fabric, plan } = nodeOf(self);
    whole.push(await timed(fabric, plan, cluster.slice(0, nodes)));
    one.push(await timed(fabric, plan, cluster));
    rows = plan.kinds.reduce((sum, kind) => sum + kind.table.size, 0);
    await plan.applier.stop();
  }
  return { whole, one, rows };
}

function nodeOf(self: number): { fabric: Fabric; plan: Plan } {
  const fake = createFakeKernel();
  const kernel = fake.kernel.self;
  const fabricEnd = fake.newNamespace();
  const [mac, other] = [parseMac("02:00:00:00:00:01"), parseMac("02:00:00:00:00:02")];
  kernel.createVeth({
    name: "eth0",
    mac,
    mtu: 1500,
    peer: { name: "p", mac: other, mtu: 1500, namespace: fabricEnd },
  });
  fabricEnd.changeLink("p", { up: true });
  kernel.changeLink("eth0", { up: true });
  const address = parseIpWithLength(`${nodeAddress(self)}/16`);
  kernel.replaceAddress({ link: "eth0", address });
  const fabric = createFabric((error, where) => {
    throw new Error(`${where}: ${error}`);
  });
  const plan = createPlan({
    kernel: fake.kernel,
    clock: systemClock,
    logger: silentLogger,
    repairInterval: () => 1e9,
  });
  for (const table of fabric.facts) {
    table.watch(({ changes }) => {
      const of = (fact: Fact | undefined): PlanRow[] => (fact?.type === "row" ? [fact.row] : []);
      plan.change(
        changes.flatMap(({ after }) => of(after)),
        changes.flatMap(({ before, after }) => (after === undefined ? of(before) : [])),
      );
    });
  }
  const capabilities = { kernel: "6.18.0", vxlan: true, brokenVxlanChecksumOffload: false };
  const settings = { ...DEFAULT_SETTINGS, backend: "vxlan" as const };
  fabric.database.write(() => {
    fabric.self.put({ key: "self", name: nodeName(self), settings, capabilities });
    fabric.underlay.put({
      name: "eth0",
      index: 2,
      mtu: 1500,
      up: true,
      addresses: [address],
      acceptsRouterAdvertisements: false,
    });
  });
  return { fabric, plan };
}

async function timed(fabric: Fabric, plan: Plan, cluster: readonly number[]): Promise<Cost> {
  const nodes = cluster.map((i): Node => {
    const name = nodeName(i);
    return { name, addresses: [parseIp(nodeAddress(i))], origin: { kind: "Node", name } };
  });
  const blocks = cluster.map((i): Block => {
    const name = nodeName(i);
    return { prefix: parsePrefix(podRange(i)), node: name, origin: { kind: "Node", name } };
  });
  const started = performance.now();
  const before = process.cpuUsage();
  fabric.database.write(() => {
    fabric.nodes.replaceAll(nodes);
    fabric.blocks.replaceAll(blocks);
  });
  plan.applier.start();
  await plan.applier.settled();
  const failed = plan.kinds.find((kind) => kind.reconciler.summary().done !== kind.table.size);
  if (failed !== undefined) throw new Error(`${failed.kind}: ${JSON.stringify(failed.reconciler.summary())}`);
  const { user, system } = process.cpuUsage(before);
  return { wall: performance.now() - started, cpu: (user + system) / 1000 };
}
