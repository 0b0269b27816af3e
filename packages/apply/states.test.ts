/** Any state to any state: the kernel is the same whether a node came to a plan from another one or began with it. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { familyOf } from "@weft/base";
import type { PlanRow } from "@weft/model";
import { TestNode } from "./testing/node.ts";
import { readBack } from "./testing/read-back.ts";
import { type Container, fakeWorld, type MakeWorld, realWorld, type World } from "./testing/worlds.ts";

interface GoldenPlan {
  readonly mtu: number;
  readonly uplink: readonly string[];
  readonly rows: readonly PlanRow[];
}

/** Plans that the compiler made; its own test holds the file to what it makes now. */
const PLANS: Readonly<Record<string, GoldenPlan>> = {
  "nothing at all": { mtu: 1500, uplink: ["198.18.1.11/24"], rows: [] },
  ...JSON.parse(readFileSync(`${import.meta.dir}/../compile/golden/plans.golden.json`, "utf8")),
};
const NAMES = Object.keys(PLANS);

/** A world with a container for each that any plan has, and a node that moves from plan to plan. */
class Journey {
  readonly world: World;
  readonly containers = new Map<string, Container>();
  node: TestNode;

  constructor(make: MakeWorld) {
    this.world = make();
    for (const plan of Object.values(PLANS))
      for (const row of plan.rows)
        if (row.kind === "attachment" && !this.containers.has(row.namespacePath))
          this.containers.set(row.namespacePath, this.world.newContainer());
    this.node = new TestNode(this.world);
  }

  rows(name: string): PlanRow[] {
    return (PLANS[name] as GoldenPlan).rows.map((row) => {
      if (row.kind !== "attachment") return row;
      const { path, identity } = this.containers.get(row.namespacePath) as Container;
      return { ...row, namespacePath: path, namespaceIdentity: identity };
    });
  }

  async go(name: string): Promise<void> {
    const { mtu, uplink } = PLANS[name] as GoldenPlan;
    this.world.setUplink(mtu, uplink);
    await this.node.go(this.rows(name));
    // What the change of the uplink took away, and what had to wait for it.
    await this.node.later();
  }

  read(name: string): string[] {
    const six = new Set<string>();
    const { rows } = PLANS[name] as GoldenPlan;
    for (const row of rows)
      if (row.kind === "attachment" && row.addresses.some((a) => familyOf(a) === 6))
        six.add(row.namespacePath);
    return readBack(
      this.world,
      [...this.containers].map(([key, container]) => ({ container, ipv6: six.has(key) })),
    );
  }

  async end(): Promise<void> {
    await this.node.stop();
    this.world.close();
  }
}

async function fresh(make: MakeWorld, name: string): Promise<string[]> {
  const journey = new Journey(make);
  try {
    await journey.go(name);
    expect([name, journey.node.errors()]).toEqual([name, []]);
    expect([name, await journey.node.drift()]).toEqual([name, []]);
    return journey.read(name);
  } finally {
    await journey.end();
  }
}

/** Each ordered pair of names once, as one walk: a circuit of the complete graph. */
function walkOfAllPairs(names: readonly string[]): string[] {
  const left = new Map(names.map((from) => [from, names.filter((to) => to !== from)]));
  const stack = [names[0] as string];
  const walk: string[] = [];
  while (stack.length > 0) {
    const next = left.get(stack.at(-1) as string)?.pop();
    if (next === undefined) walk.push(stack.pop() as string);
    else stack.push(next);
  }
  return walk.reverse();
}

async function follow(make: MakeWorld, walk: readonly string[]): Promise<void> {
  const wanted = new Map<string, string[]>();
  for (const name of new Set(walk)) wanted.set(name, await fresh(make, name));
  const journey = new Journey(make);
  try {
    let from = "the beginning";
    for (const name of walk) {
      await journey.go(name);
      const move = `${from} -> ${name}`;
      expect({ move, errors: journey.node.errors() }).toEqual({ move, errors: [] });
      expect({ move, kernel: journey.read(name) }).toEqual({ move, kernel: wanted.get(name) as string[] });
      expect({ move, drift: await journey.node.drift() }).toEqual({ move, drift: [] });
      from = name;
    }
  } finally {
    await journey.end();
  }
}

test("in memory: from every state to every other", async () => {
  const walk = walkOfAllPairs(NAMES);
  expect(walk).toHaveLength(NAMES.length * (NAMES.length - 1) + 1);
  await follow(fakeWorld, walk);
}, 120_000);

test("Linux: a walk that visits every state", async () => {
  // Steps of different lengths through the list: neighbours in it differ in little, others in much.
  const walk = [1, 8].flatMap((step) => NAMES.map((_, i) => NAMES[(i * step) % NAMES.length] as string));
  await follow(realWorld, walk);
}, 120_000);

for (const [kind, make] of [
  ["in memory", fakeWorld],
  ["Linux", realWorld],
] as const) {
  describe(kind, () => {
    test("a restart writes nothing", async () => {
      const journey = new Journey(make);
      try {
        for (const name of ["three peers, mixed", "vxlan over IPv6", "direct only", "one pod, IPv6"]) {
          await journey.go(name);
          await journey.node.stop();
          journey.world.writes.length = 0;
          journey.node = new TestNode(journey.world);
          await journey.node.go(journey.rows(name));
          await journey.node.later();
          expect([name, journey.world.writes]).toEqual([name, []]);
          expect(journey.node.errors()).toEqual([]);
        }
      } finally {
        await journey.end();
      }
    });
  });
}
