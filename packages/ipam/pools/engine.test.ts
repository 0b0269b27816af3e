/** Engines of a few nodes around a server in memory: claims, loans, tunnels, and what goes back. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { IpAddress, Prefix } from "@weft/base";
import { WeftError } from "@weft/base";
import { blockName, type IpPool } from "@weft/model";
import { FakePoolApi } from "./fake.ts";
import type { PoolTimes } from "./parts.ts";
import { addressingOf, poolOf, World, type WorldNode } from "./testing/world.ts";

setDefaultTimeout(240_000);

let world: World;
let api: FakePoolApi;
afterEach(async () => {
  expect(world.faults).toEqual([]);
  await world.end();
});

async function build(
  nodes: number,
  pools: readonly IpPool[],
  times: Partial<PoolTimes> = {},
): Promise<WorldNode[]> {
  api = new FakePoolApi();
  for (const pool of pools) api.pools.set(pool.name, pool);
  world = new World({
    nodes,
    api: () => api,
    snapshot: () => ({ pools: [...api.pools.values()], blocks: [...api.blocks.values()] }),
    times,
  });
  let told = false;
  api.changed = () => {
    if (told) return;
    told = true;
    setTimeout(() => {
      told = false;
      void world.deliver(true);
    }, 1);
  };
  world.start();
  await world.deliver(true);
  return world.nodes;
}

const claims = (): number => api.calls.filter((c) => c.startsWith("create")).length;
const blocksOf = (node: string): string[] =>
  [...api.blocks.values()].filter((b) => b.node === node).map((b) => b.prefix);
const everyBlock = () => [...api.blocks.values()];
async function failure(work: Promise<unknown>): Promise<WeftError> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof WeftError) return error;
  throw new Error(`no WeftError: ${error}`);
}

describe("claims", () => {
  test("a node has a block of each family at its start, with the end of its tunnel in it", async () => {
    const pools = [poolOf("four", "10.0.0.0/24", 28), poolOf("six", "fd00::/112", 124)];
    const [a] = await build(1, pools);
    await world.until(
      "both are there",
      () => a?.engine.waitingFor === undefined && everyBlock().length === 2,
    );
    for (const block of everyBlock()) {
      expect(block.node).toBe("n0");
      expect(block.tunnelAddress).toBeDefined();
    }
    expect(a?.ledger.pools.held().map((h) => h.loan)).toEqual([undefined, undefined]);
    expect(await a?.add("p", addressingOf(pools))).toHaveLength(2);
  });

  test("fifty ADDs at once are one claim", async () => {
    const pool = poolOf("p", "10.0.0.0/16", 26, {
      namespaceSelector: [{ key: "x", operator: "Exists", values: [] }],
    });
    const [a] = (await build(1, [pool])) as [WorldNode];
    const given = await Promise.all(
      Array.from({ length: 50 }, (_, i) => a.add(`p${i}`, addressingOf([pool]))),
    );
    expect(new Set(given.flat()).size).toBe(50);
    expect(claims()).toBe(1);
    const more = await Promise.all(
      Array.from({ length: 100 }, (_, i) => a.add(`q${i}`, addressingOf([pool]))),
    );
    expect(new Set([...given, ...more].flat()).size).toBe(150);
    expect(claims()).toBe(3);
  });

  test("no call is made while a block has room, and none is needed while the server is away", async () => {
    const pool = poolOf("p", "10.0.0.0/24", 26);
    const [a] = (await build(1, [pool], { report: 60_000 })) as [WorldNode];
    await world.until("a block is there", () => a.engine.waitingFor === undefined);
    // Nothing of the claim is under way any more.
    let before = -1;
    while (before !== api.calls.length) {
      before = api.calls.length;
      await Bun.sleep(200);
    }
    a.engine.take({ ...world.viewOf("n0"), current: false });
    api.fault = () => "before";
    const free = a.engine.status().blocks[0]?.free as number;
    for (let i = 0; i < free; i++) await a.add(`p${i}`, addressingOf([pool]));
    expect(api.calls.length).toBe(before);
    const error = await failure(a.add("more", addressingOf([pool])));
    expect(error.code).toBe("unavailable");
  });

  test("a lost answer is found out, and the block is used", async () => {
    const pool = poolOf("p", "10.0.0.0/24", 28);
    let lost = 0;
    const nodes = build(1, [pool]);
    api.fault = (call) => (call === "create" && lost++ === 0 ? "after" : undefined);
    const [a] = (await nodes) as [WorldNode];
    await world.until("it is ours", () => a.engine.waitingFor === undefined);
    expect(everyBlock()).toHaveLength(1);
    expect(lost).toBe(1);
  });

  test.each([
    ["is gone", (pool: IpPool) => void api.pools.delete(pool.name)],
    ["is another now", (pool: IpPool) => void api.pools.set(pool.name, { ...pool, uid: "another" })],
    ["was disabled", (pool: IpPool) => void api.pools.set(pool.name, { ...pool, disabled: true })],
  ])("a claim is taken back when the pool %s in the meantime", async (_, happen) => {
    const pool = poolOf("p", "10.0.0.0/24", 28, {
      namespaceSelector: [{ key: "x", operator: "Exists", values: [] }],
    });
    const [a] = (await build(1, [pool])) as [WorldNode];
    a.atStep = (step) => {
      if (step === "claim:created") happen(pool);
    };
    const error = await failure(a.add("p", addressingOf([pool])));
    expect(error.code).toBe("unavailable");
    expect(a.ledger.workloads()).toEqual([]);
    await world.until(
      "nothing is left",
      () => everyBlock().length === 0 && a.ledger.pools.blocks().length === 0,
    );
  });
});

describe("loans", () => {
  test("a node without a block gets addresses one by one, and gives them back", async () => {
    const pool = poolOf("p", "10.0.0.0/27", 28);
    const [a, b, c] = (await build(3, [pool])) as [WorldNode, WorldNode, WorldNode];
    await world.until("all have an end for their tunnels", () =>
      world.nodes.every((n) => n.engine.waitingFor === undefined),
    );
    const poor = [a, b, c].find((n) => blocksOf(n.name).length === 0) as WorldNode;
    expect(poor.ledger.pools.held()).toHaveLength(1);
    const given = await Promise.all(
      Array.from({ length: 10 }, (_, i) => poor.add(`p${i}`, addressingOf([pool]))),
    );
    expect(new Set(given.flat()).size).toBe(10);
    const lent = () => everyBlock().flatMap((x) => x.loans.filter((l) => l.node === poor.name));
    expect(lent().filter((l) => !l.tunnel)).toHaveLength(10);
    expect(poor.events.filter((e) => e.type === "borrowed").length).toBe(11);
    for (let i = 0; i < 10; i++) poor.del(`p${i}`);
    await world.until("all but the tunnel's are back", () => lent().length === 1);
    expect(
      world.nodes.flatMap((n) => n.ledger.pools.held().filter((h) => h.loan !== undefined)),
    ).toHaveLength(1);
  });

  test("a pool that is full says so, and every address can be had", async () => {
    const pool = poolOf("p", "10.0.0.0/27", 28);
    const [a, b] = (await build(2, [pool])) as [WorldNode, WorldNode];
    await world.until("both have one", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
    // 30 addresses, two of them the tunnels'.
    const given = await Promise.all(
      Array.from({ length: 28 }, (_, i) => a.add(`p${i}`, addressingOf([pool]))),
    );
    expect(new Set(given.flat()).size).toBe(28);
    const error = await failure(b.add("more", addressingOf([pool])));
    expect(error.code).toBe("exhausted");
    expect(error.message).toMatch(/of pool p \d+ of 30 addresses are in use/);
    expect(error.hint).toContain("weft ipam show");
    a.del("p3");
    await world.until("it is to be had", () =>
      b.add("more", addressingOf([pool])).then(
        () => true,
        () => false,
      ),
    );
  });

  test("a lender that does not answer is left, and what was asked of it comes back", async () => {
    const pool = poolOf("p", "10.0.0.0/27", 28);
    const [a, b, c] = (await build(3, [pool], { answer: 150 })) as [WorldNode, WorldNode, WorldNode];
    await world.until("all have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
    const poor = [a, b, c].find((n) => blocksOf(n.name).length === 0) as WorldNode;
    const [dead, other] = [a, b, c].filter((n) => n !== poor) as [WorldNode, WorldNode];
    dead.kill();
    for (let i = 0; i < 5; i++) await poor.add(`p${i}`, addressingOf([pool]));
    expect(
      everyBlock()
        .find((x) => x.node === other.name)
        ?.loans.filter((l) => l.address !== undefined && !l.returned).length,
    ).toBeGreaterThanOrEqual(5);
    dead.start();
    await world.until("no request is open", () =>
      everyBlock().every((x) => x.loans.every((l) => l.address !== undefined && !l.returned)),
    );
  });
});

test("an end of a pool is nobody's, whoever has its block", async () => {
  const pool = poolOf("p", "10.0.0.0/28", 28);
  const [a, b] = (await build(2, [pool])) as [WorldNode, WorldNode];
  await world.until("both have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
  for (const node of [a, b]) {
    for (const address of ["10.0.0.0", "10.0.0.15"] as IpAddress[]) {
      const error = await failure(node.add("p", addressingOf([pool], [address])));
      expect([error.code, error.message]).toEqual([
        "invalid",
        expect.stringContaining("is an end of pool p"),
      ]);
    }
  }
});

test("what is granted to an ADD that has given up goes back", async () => {
  const pool = poolOf("p", "10.0.0.0/28", 28);
  const [a, b] = (await build(2, [pool])) as [WorldNode, WorldNode];
  await world.until("both have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
  const [rich, poor] = blocksOf("n0").length > 0 ? [a, b] : [b, a];
  const gone = new AbortController();
  rich.atStep = (step) => {
    if (step === "lend:held") gone.abort(new WeftError("timeout", "the client went away"));
  };
  const [error] = await Promise.all([
    failure(poor.add("p", addressingOf([pool]), gone.signal)),
    // The same request asks for this one.
    poor.add("q", addressingOf([pool])),
  ]);
  expect(error.message).toContain("went away");
  rich.atStep = () => {};
  await world.until("one of the two is back", () => everyBlock()[0]?.loans.length === 2, 20_000);
  poor.del("q");
  await world.until("and the other one", () => everyBlock()[0]?.loans.length === 1, 20_000);
  expect(poor.ledger.pools.blocks()).toHaveLength(1);
});

test("an address that is taken is waited for as long as that may take, and then its holder is named", async () => {
  const pool = poolOf("p", "10.0.0.0/24", 28);
  const wish = (address: IpAddress) => addressingOf([pool], [address]);
  const [a] = (await build(1, [pool], { wanted: 5_500 })) as [WorldNode];
  const [address] = (await a.add("first", addressingOf([pool]))) as [IpAddress];
  const error = await failure(a.add("second", wish(address)));
  expect(error.message).toContain(`${address} is in use by pod default/first on node n0`);
}, 120_000);

test("what failed is no problem any more once it is not there", async () => {
  const pool = poolOf("p", "10.0.0.0/28", 28);
  const [a, b] = (await build(2, [pool])) as [WorldNode, WorldNode];
  await world.until("both have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
  const [rich, poor] = blocksOf("n0").length > 0 ? [a, b] : [b, a];
  await poor.add("p", addressingOf([pool]));
  api.fault = (call) => (call === "replace" ? "before" : undefined);
  poor.del("p");
  await world.until("it fails", () => poor.engine.status().problems.length > 0);
  // Somebody clears everything away meanwhile.
  rich.kill();
  for (const record of poor.ledger.pools.blocks()) {
    for (const held of poor.ledger.pools.held()) poor.ledger.pools.letGo(held.address);
    poor.ledger.pools.forget(record.prefix);
  }
  api.blocks.clear();
  api.pools.clear();
  await world.until("it is forgotten", () => poor.engine.status().problems.length === 0);
});

describe("an address that is asked for", () => {
  const pool = poolOf("p", "10.0.0.0/24", 28);
  const wanting = (address: string) => addressingOf([pool], [address as IpAddress]);

  test("comes from an own block, from one that is claimed for it, or from whoever has its block", async () => {
    const [a, b] = (await build(2, [pool])) as [WorldNode, WorldNode];
    await world.until("both have one", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
    const [mine] = a.ledger.pools.blocks();
    const inside = `10.0.0.${Number(mine?.prefix.split(/[./]/)[3]) + 9}`;
    expect(await a.add("own", wanting(inside))).toEqual([inside as IpAddress]);
    const error = await failure(b.add("taken", wanting(inside)));
    expect(error.code).toBe("busy");
    expect(error.message).toContain(`${inside} is in use by pod default/own on node n0`);
    const here = await failure(a.add("again", wanting(inside)));
    expect(here.message).toContain(`${inside} is in use by pod default/own on node n0`);
    const free = world
      .free(pool, 16, "x")
      .find((p) => p !== "10.0.0.0/28" && p !== "10.0.0.240/28") as Prefix;
    const claimed = `10.0.0.${Number(free.split(/[./]/)[3]) + 3}`;
    expect(await b.add("claimed", wanting(claimed))).toEqual([claimed as IpAddress]);
    expect(api.blocks.get(blockName(free))?.node).toBe("n1");
    a.del("own");
    expect(await b.add("moved", wanting(inside))).toEqual([inside as IpAddress]);
    b.del("moved");
    await world.until("it is back", () => everyBlock().every((x) => x.loans.length === 0));
    expect(await a.add("home", wanting(inside))).toEqual([inside as IpAddress]);
  });

  test("is refused outside of the pod's pools, and at a pool's ends", async () => {
    const [a] = (await build(1, [pool])) as [WorldNode];
    expect((await failure(a.add("x", wanting("10.9.9.9")))).code).toBe("invalid");
    expect((await failure(a.add("x", wanting("10.0.0.0")))).code).toBe("invalid");
    expect((await failure(a.add("x", wanting("10.0.0.255")))).code).toBe("invalid");
  });
});

describe("what goes back", () => {
  test("empty blocks but the last one; and all of them when the pool is disabled", async () => {
    const pool = poolOf("p", "10.0.0.0/24", 28);
    const [a] = (await build(1, [pool])) as [WorldNode];
    await Promise.all(Array.from({ length: 40 }, (_, i) => a.add(`p${i}`, addressingOf([pool]))));
    expect(blocksOf("n0")).toHaveLength(3);
    for (let i = 0; i < 40; i++) a.del(`p${i}`);
    await world.until("one is left", () => everyBlock().length === 1);
    await Bun.sleep(150);
    expect(everyBlock()).toHaveLength(1);
    await a.add("p", addressingOf([pool]));
    api.pools.set("p", { ...pool, disabled: true });
    await world.deliver(true);
    await Bun.sleep(100);
    expect(everyBlock()).toHaveLength(1);
    a.del("p");
    await world.until("none is left", () => everyBlock().length === 0);
    expect(a.ledger.pools.blocks()).toEqual([]);
  });

  test("the tunnel's end moves to the next pool when its own is drained", async () => {
    const old = poolOf("old", "10.0.0.0/24", 28);
    const [a] = (await build(1, [old])) as [WorldNode];
    await a.add("p", addressingOf([old]));
    const young = poolOf("young", "10.1.0.0/24", 28, { created: 2 });
    api.pools.set("young", young);
    api.pools.set("old", { ...old, disabled: true });
    await world.until("it is in the young one", () => {
      const ends = everyBlock().filter((b) => b.tunnelAddress !== undefined);
      return ends.length === 1 && ends[0]?.pool === "young";
    });
    expect(blocksOf("n0")).toHaveLength(2);
    a.del("p");
    await world.until("the old one is gone", () => everyBlock().length === 1);
    expect(a.ledger.pools.held()).toHaveLength(1);
  });

  test("a block that somebody asks for an address of while it is deleted is opened again", async () => {
    const pool = poolOf("p", "10.0.0.0/27", 28);
    const [a, b, c] = (await build(3, [pool])) as [WorldNode, WorldNode, WorldNode];
    await world.until("all have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
    const poor = [a, b, c].find((n) => blocksOf(n.name).length === 0) as WorldNode;
    for (let i = 0; i < 20; i++) {
      await poor.add("p", addressingOf([pool]));
      poor.del("p");
    }
    await world.until("quiet", () => everyBlock().flatMap((x) => x.loans).length === 1);
  });
});

describe("what happens to objects", () => {
  const pool = poolOf("p", "10.0.0.0/24", 28);

  test("a block that vanishes is claimed anew while pods have addresses of it, loans and all", async () => {
    const [a, b] = (await build(2, [poolOf("p", "10.0.0.0/28", 28)])) as [WorldNode, WorldNode];
    const small = api.pools.get("p") as IpPool;
    await world.until("both have an end", () => world.nodes.every((n) => n.engine.waitingFor === undefined));
    const [rich, poor] = blocksOf("n0").length > 0 ? [a, b] : [b, a];
    await rich.add("mine", addressingOf([small]));
    await poor.add("theirs", addressingOf([small]));
    const [gone] = everyBlock();
    if (gone === undefined) throw new Error("no block");
    api.blocks.delete(gone.name);
    await world.until("it is there again", () => {
      const again = api.blocks.get(gone.name);
      return (
        again !== undefined &&
        again.uid !== gone.uid &&
        again.loans.length === 2 &&
        again.loans.some((l) => l.tunnel)
      );
    });
    await world.until("both can go on", () =>
      world.nodes.every((n) => n.engine.status().problems.length === 0),
    );
    await rich.add("mine2", addressingOf([small]));
    poor.del("theirs");
    await world.until("it is back", () => api.blocks.get(gone.name)?.loans.length === 1);
  });

  test("a block that another node took gives nothing more, and status says for whom", async () => {
    const [a] = (await build(1, [pool])) as [WorldNode];
    const [address] = await a.add("mine", addressingOf([pool]));
    const [taken] = everyBlock();
    if (taken === undefined) throw new Error("no block");
    api.blocks.set(taken.name, {
      ...taken,
      uid: "theirs",
      node: "somebody",
      resourceVersion: "9000",
      loans: [],
      tunnelAddress: undefined,
    });
    await world.until("it is known", () => a.engine.status().problems.some((p) => p.includes("somebody")));
    expect(a.events.find((e) => e.type === "lost")).toMatchObject({
      pods: ["pod default/mine"],
      to: "somebody",
    });
    const [other] = await a.add("second", addressingOf([pool]));
    expect(other).not.toBe(address as IpAddress);
    expect(a.ledger.pools.block(taken.prefix)?.state).toBe("lost");
    a.del("mine");
    await world.until("it is forgotten", () => a.ledger.pools.block(taken.prefix) === undefined);
  });

  test("status of a block follows the ledger", async () => {
    const [a] = (await build(1, [pool])) as [WorldNode];
    await a.add("p", addressingOf([pool]));
    const pods = () => everyBlock()[0]?.allocations.map((x) => x.pod);
    await world.until("it is written", () => pods()?.includes("default/p") === true);
    a.del("p");
    await world.until("and again", () => pods()?.join() === "");
  });
});
