/** The race around a server in memory that loses requests and answers: many seeds, each short. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { seededRandom } from "@weft/base";
import type { IpPool } from "@weft/model";
import { FakePoolApi } from "./fake.ts";
import { race } from "./testing/race.ts";
import { poolOf, World } from "./testing/world.ts";

setDefaultTimeout(240_000);

const SEEDS = process.env["WEFT_RACE_SEED"]?.split(",").map(Number) ?? [1, 2, 3];
const SHAPES: readonly (readonly [string, number, readonly IpPool[]])[] = [
  ["six nodes, two blocks", 6, [poolOf("p", "10.0.0.0/27", 28)]],
  ["eight nodes, five addresses more than blocks", 8, [poolOf("p", "10.0.0.0/28", 30)]],
  ["blocks enough, that come and go", 6, [poolOf("p", "10.0.0.0/26", 30)]],
  ["IPv6, seven nodes", 7, [poolOf("p", "fd00::/123", 125)]],
  ["both families", 5, [poolOf("four", "10.0.0.0/27", 29), poolOf("six", "fd00::/123", 126)]],
  ["blocks of one address", 4, [poolOf("p", "10.0.0.0/28", 32)]],
];

test.each(SEEDS.flatMap((seed) => SHAPES.map((shape) => [seed, ...shape] as const)))(
  "seed %d: %s",
  async (seed, _, nodes, pools) => {
    const random = seededRandom(seed);
    const api = new FakePoolApi();
    for (const pool of pools) api.pools.set(pool.name, pool);
    let calm = false;
    api.fault = () => {
      if (calm || random() > 0.06) return undefined;
      return random() < 0.5 ? "before" : "after";
    };
    const world = new World({
      nodes,
      api: () => api,
      snapshot: () => ({ pools: [...api.pools.values()], blocks: [...api.blocks.values()] }),
      random,
      times: { answer: 200, poll: 20 },
    });
    world.deaf = 0.4;
    try {
      const report = await race({
        world,
        pools,
        turns: 500,
        kills: 0.06,
        random: () => random(),
        calm: () => {
          calm = true;
        },
        disable: async () => {
          for (const [name, pool] of api.pools) api.pools.set(name, { ...pool, disabled: true });
        },
      });
      expect(report.given).toBeGreaterThan(10);
      if (process.env["WEFT_RACE_REPORT"] !== undefined) console.log(JSON.stringify(report));
    } finally {
      await world.end();
    }
  },
);
