/**
 * Three nodes and a pool of two blocks go through everything that an engine does: claims, loans, a block that vanishes,
 * drains. At each of its steps one of them is killed and started again, and at each call of the server one fails, or is
 * done and not answered. Whatever happens, no address has two holders, all can be had, and in the end nothing is left.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { contains } from "@weft/base";
import { blockName, type IpPool } from "@weft/model";
import { type FakeCall, FakePoolApi } from "./fake.ts";
import { POOL_STEPS } from "./parts.ts";
import { addressingOf, Killed, poolOf, World, type WorldNode } from "./testing/world.ts";

setDefaultTimeout(400_000);

const POOL = poolOf("p", "10.0.0.0/27", 28);
const YOUNG = poolOf("young", "10.1.0.0/26", 28, { created: 2 });

function build(): { api: FakePoolApi; world: World } {
  const api = new FakePoolApi();
  api.pools.set(POOL.name, POOL);
  const world = new World({
    nodes: 3,
    api: () => api,
    snapshot: () => ({ pools: [...api.pools.values()], blocks: [...api.blocks.values()] }),
    times: { answer: 300 },
  });
  return { api, world };
}

/** Until it is done, whoever is killed meanwhile. */
async function addSurely(world: World, node: WorldNode, id: string, pool: IpPool): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    if (node.alive) {
      try {
        if (node.ledger.get(id) === undefined)
          await node.add(id, addressingOf([pool]), AbortSignal.timeout(2_000));
        return;
      } catch {
        // Killed, full for a moment, or the server has failed: it is tried again, as a kubelet does.
      }
    }
    if (performance.now() > end) throw new Error(`${id} gets no address\n${world.describe()}`);
    await Bun.sleep(10);
  }
}

async function wholeLife(world: World, api: FakePoolApi): Promise<void> {
  const { nodes } = world;
  world.start();
  await world.telling(async () => {
    await world.until("all are served", () =>
      nodes.every((n) => n.alive && n.engine.waitingFor === undefined),
    );
    await Promise.all(
      nodes.flatMap((n) => [1, 2, 3].map((i) => addSurely(world, n, `${n.name}-${i}`, POOL))),
    );
    // Somebody deletes a block that pods have addresses of.
    const victim = [...api.blocks.values()].find((b) => b.loans.length > 0);
    if (victim === undefined) throw new Error("nobody borrowed");
    api.blocks.delete(victim.name);
    await world.until(
      "it is claimed anew",
      () => api.blocks.get(blockName(victim.prefix))?.node === victim.node,
    );
    for (const node of nodes) {
      await world.until("it lives", () => node.alive);
      node.del(`${node.name}-1`);
    }
    await Promise.all(nodes.map((n) => addSurely(world, n, `${n.name}-4`, POOL)));
    // A pool that has a block for everybody takes its place, and with it the ends of tunnels.
    api.pools.set(YOUNG.name, YOUNG);
    api.pools.set(POOL.name, { ...POOL, disabled: true });
    const moved = (n: WorldNode): boolean =>
      n.alive && n.ledger.pools.held().some((h) => h.loan === undefined && contains(YOUNG.cidr, h.address));
    await world.until("tunnels have moved", () => nodes.every(moved));
    // From here on nobody may get any.
    api.pools.set(YOUNG.name, { ...YOUNG, disabled: true });
    await world.until("all live", () => nodes.every((n) => n.alive));
    for (const node of nodes) for (const i of [2, 3, 4]) node.del(`${node.name}-${i}`);
    await world.until("nothing is left", () => {
      // Those that were killed before they had heard of a deletion free it now.
      for (const node of nodes) {
        if (node.alive) for (const { workload } of node.ledger.workloads()) node.del(workload.id);
      }
      return (
        nodes.every((n) => n.alive) &&
        api.blocks.size === 0 &&
        nodes.every((n) => n.ledger.pools.blocks().length === 0 && n.ledger.pools.held().length === 0)
      );
    });
  });
  expect(world.faults).toEqual([]);
}

test.each(POOL_STEPS)("killed at %s", async (step) => {
  const { api, world } = build();
  let kills = 0;
  for (const node of world.nodes) {
    node.atStep = (at) => {
      if (at !== step || kills >= 2) return;
      kills++;
      node.kill();
      setTimeout(() => node.start(), 30);
      throw new Killed();
    };
  }
  try {
    await wholeLife(world, api);
    expect(kills).toBeGreaterThan(0);
  } finally {
    await world.end();
  }
});

const CALLS: readonly FakeCall[] = ["pool", "block", "create", "replace", "remove", "writeStatus"];
test.each(CALLS.flatMap((call) => (["before", "after"] as const).map((when) => [call, when] as const)))(
  "%s fails, %s it is done: the first three times, and every third one",
  async (call, when) => {
    const { api, world } = build();
    let calls = 0;
    api.fault = (at) => {
      if (at !== call) return undefined;
      calls++;
      return calls <= 3 || calls % 3 === 0 ? when : undefined;
    };
    try {
      await wholeLife(world, api);
      expect(calls).toBeGreaterThan(0);
    } finally {
      await world.end();
    }
  },
);
