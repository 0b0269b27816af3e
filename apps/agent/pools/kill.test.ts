/**
 * kill -9 of the agent at each step of an ADD, a DEL and of the engine of pools. A second node keeps running, has the only
 * other block, and lends. Afterwards nothing is left that nobody has, and every address can be had.
 */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { POOL_STEPS, type PoolStep } from "@weft/ipam";
import { STEPS } from "../steps.ts";
import { type ClusterPod, PoolCluster, type PoolNode } from "../testing/pool-cluster.ts";
import { eventually } from "../testing/wait.ts";

setDefaultTimeout(400_000);

/** Two blocks of four addresses: 1, 2, 3 and 4, 5, 6. */
const POOL = { name: "p", cidr: "10.250.0.0/29", size: 30 };

let cluster: PoolCluster;
let mortal: PoolNode;
let other: PoolNode;

beforeAll(async () => {
  cluster = await PoolCluster.start();
  mortal = await cluster.addNode("node1");
  other = await cluster.addNode("node2");
  await cluster.addPool(POOL.name, POOL.cidr, POOL.size);
  await Promise.all([mortal.start(), other.start()]);
});
afterAll(() => cluster.close());

/** Both nodes have a block with the end of their tunnel in it, and no pod. */
async function quiet(): Promise<void> {
  let seen = "";
  await eventually(
    "everything is given back",
    async () => {
      await revive();
      const blocks = await cluster.blocks();
      const states = await Promise.all([mortal, other].map((n) => n.status().catch(() => undefined)));
      seen = JSON.stringify([blocks, states.map((s) => [s?.waitingFor, s?.workloads, s?.pools])]);
      return (
        blocks.length === 2 &&
        blocks.every((b) => b.loans.length === 0 && b.tunnelAddress !== undefined) &&
        blocks.every((b) => b.allocations.every((a) => a.pod === undefined)) &&
        states.every(
          (s) =>
            s?.ready === true &&
            s.workloads.length === 0 &&
            s.pools?.blocks.map((b) => b.used).join() === "1" &&
            s.pools.borrowed.length + s.pools.problems.length === 0,
        )
      );
    },
    90_000,
    () => `${seen}\n${mortal.log(10)}\n${other.log(10)}`,
  );
}

/** Restarted by whoever runs it, as often as it ends. */
async function revive(): Promise<void> {
  if (mortal.agent?.exitCode === null && mortal.agent.signalCode === null) return;
  // It may be killed while it starts.
  await mortal.start("listening").catch(() => {});
}

/** A test that failed in the middle leaves the next one what it needs. */
beforeEach(async () => {
  mortal.writeFaults();
  await cluster.changePool(POOL.name, { disabled: false });
  await revive();
});

async function addSurely(pod: ClusterPod): Promise<void> {
  await eventually(
    `${pod.name} has an address`,
    async () => {
      await revive();
      const { exit, error, result } = await cluster.call("ADD", pod);
      if (exit === 0) {
        pod.container.addresses = (result.ips ?? []).map((ip) => ip.address.split("/")[0] as string);
        return true;
      }
      // What the runtime does with an ADD that failed.
      if (error?.code !== 106) await cluster.call("DEL", pod);
      return false;
    },
    90_000,
    () => mortal.log(10),
  );
}

async function delSurely(pod: ClusterPod): Promise<void> {
  await cluster.call("DEL", pod);
  await revive();
  pod.node.removePod(pod.container);
  await cluster.removePod(pod);
}

/** Five pods here: two from the own block, and three on loan, of which the second node has two to lend. */
async function fillAndEmpty(): Promise<void> {
  const pods: ClusterPod[] = [];
  for (let i = 0; i < 4; i++) pods.push(await cluster.addPod(mortal));
  for (const pod of pods) await addSurely(pod);
  expect(new Set(pods.flatMap((p) => p.container.addresses)).size).toBe(4);
  const over = await cluster.addPod(other);
  expect((await cluster.call("ADD", over)).error?.code).toBe(102);
  other.removePod(over.container);
  await cluster.removePod(over);
  for (const pod of pods) await delSurely(pod);
}

/** Steps that an ADD or DEL of this node comes by while it has its block and borrows. */
const HERE: readonly string[] = [
  ...STEPS,
  ...POOL_STEPS.filter((s) => s.startsWith("borrow:") || s.startsWith("return:")),
];

test("without a kill", async () => {
  await quiet();
  await fillAndEmpty();
  await quiet();
});

test.each(HERE)("the agent is killed at %s", async (step) => {
  mortal.writeFaults(`kill ${step}`);
  await fillAndEmpty();
  await eventually("it was killed there", async () => mortal.faultsLeft().length === 0);
  await revive();
  await quiet();
});

const LENDING: readonly PoolStep[] = ["lend:held", "lend:written", "lend:let-go"];
test.each(LENDING)("the lender is killed at %s", async (step) => {
  mortal.writeFaults(`kill ${step}`);
  const pods: ClusterPod[] = [];
  for (let i = 0; i < 3; i++) pods.push(await cluster.addPod(other));
  for (const pod of pods) await addSurely(pod);
  for (const pod of pods) await delSurely(pod);
  await eventually("it was killed there", async () => {
    await revive();
    return mortal.faultsLeft().length === 0;
  });
  await revive();
  await quiet();
});

/** A drain and a new start: everything goes, and comes again. */
const DRAINING = POOL_STEPS.filter((s) => s.startsWith("claim:") || s.startsWith("release:"));
test.each(DRAINING)("the agent is killed at %s", async (step) => {
  mortal.writeFaults(`kill ${step}`);
  await cluster.changePool(POOL.name, { disabled: true });
  await eventually(
    "all blocks are gone",
    async () => {
      await revive();
      return (await cluster.blocks()).length === 0;
    },
    90_000,
    () => mortal.log(10),
  );
  await cluster.changePool(POOL.name, { disabled: false });
  await eventually("it was killed there", async () => {
    if (mortal.faultsLeft().length > 0) return false;
    await revive();
    return true;
  });
  await quiet();
});

test("in the end all addresses are there", async () => {
  await fillAndEmpty();
  await quiet();
});
