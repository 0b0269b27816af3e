/**
 * The race around the real server: twenty engines with real ledgers, each with a client and watches of its own through a
 * proxy that loses replies, answers conflicts, and drops, repeats and delays events.
 *
 *   WEFT_RACE_NODES=20 WEFT_RACE_POOL=10.0.0.0/26:28,fd00::/122:124 WEFT_RACE_SEED=1 WEFT_RACE_TURNS=1500
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { seededRandom } from "@weft/base";
import {
  decodeBlock,
  decodePool,
  IP_BLOCKS,
  IP_POOLS,
  pathOf,
  type ResourceWatch,
  watchResource,
} from "@weft/cluster/client";
import { capacityOf, race, World } from "@weft/ipam/pools/testing";
import type { IpBlock, IpPool } from "@weft/model";
import { PoolServer } from "../testing/pool-server.ts";

setDefaultTimeout(400_000);

const NODES = Number(process.env["WEFT_RACE_NODES"] ?? 20);
const TURNS = Number(process.env["WEFT_RACE_TURNS"] ?? 900);
const SEED = Number(process.env["WEFT_RACE_SEED"] ?? 1);
/** Pools of one race, separated by commas; races by spaces. */
const SHAPES = (
  process.env["WEFT_RACE_POOL"] ?? "10.0.0.0/26:28 fd00::/123:126 10.0.0.0/26:29,fd00::/122:124"
).split(" ");

const FAULTS = {
  busy: 0.01,
  fail: 0.01,
  conflict: 0.03,
  "lose-request": 0.02,
  "lose-reply": 0.04,
  late: 0.01,
  "cut-reply": 0.02,
  slow: 0.1,
  duplicate: 0.02,
  repeat: 0.02,
  hold: 0.1,
  drop: 0.02,
  cut: 0.02,
  gone: 0.005,
} as const;

test.each(SHAPES)(`${NODES} nodes and a pool of %s`, async (shape) => {
  const random = seededRandom(SEED);
  const server = await PoolServer.start({ seed: SEED });
  const pools: IpPool[] = [];
  for (const [i, one] of shape.split(",").entries()) {
    const [cidr = "", size = ""] = one.split(/:(?=\d+$)/);
    pools.push(await server.makePool(`pool-${i}`, cidr, Number(size)));
  }
  const world = new World({
    nodes: NODES,
    api: () => server.api(),
    snapshot: () => server.snapshot(),
    tells: false,
    random,
    times: { answer: 1_500, poll: 100 },
  });
  const watches = world.nodes.flatMap((node) => watchesOf(node, server));
  try {
    await Promise.all(watches.map((w) => w.ready));
    server.faults(FAULTS);
    const report = await race({
      world,
      pools,
      turns: TURNS,
      kills: 0.06,
      random,
      calm: () => server.faults({}),
      disable: async () => {
        for (const { name } of pools) await server.disable(name);
      },
    });
    console.log(
      `${shape}: ${JSON.stringify(report)}, faults ${JSON.stringify(countOf(server.proxy.injected))}`,
    );
    // Where nodes are more than addresses, the ends of tunnels may leave none for pods.
    if (Math.min(...pools.map(capacityOf)) > NODES) expect(report.given).toBeGreaterThan(20);
    // A node that is alone neither lends nor borrows.
    expect(Object.keys(report.kills).length).toBeGreaterThan(Math.min(NODES, 3));
  } finally {
    await world.end();
    await Promise.all(watches.map((w) => w.stop()));
    await server.stop();
  }
});

/** What one node is told: two watches, neither of which knows of the other. */
function watchesOf(node: World["nodes"][number], server: PoolServer): ResourceWatch[] {
  const pools = new Map<string, IpPool>();
  const blocks = new Map<string, IpBlock>();
  const tell = (): void => {
    if (pools.size > 0 || blocks.size > 0)
      node.take({ pools: [...pools.values()], blocks: [...blocks.values()] });
  };
  const follow = <Row extends { readonly name: string }>(
    rows: Map<string, Row>,
    path: string,
    decode: (object: Parameters<typeof decodePool>[0]) => Row,
  ): ResourceWatch =>
    watchResource<Row>({
      client: server.through(),
      path,
      decode: (object) => decode(object),
      onChange({ reset, changes }) {
        if (reset) rows.clear();
        for (const { key, after } of changes) {
          if (after === undefined) rows.delete(key);
          else rows.set(key, after);
        }
        tell();
      },
      backoff: { first: 5, cap: 50 },
    });
  return [
    follow(pools, pathOf(IP_POOLS), decodePool),
    follow(blocks, pathOf(IP_BLOCKS), (object) => decodeBlock(object)),
  ];
}

function countOf(injected: readonly { readonly fault: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { fault } of injected) counts[fault] = (counts[fault] ?? 0) + 1;
  return counts;
}
