/** Every kind on both kernels: made, changed, read back, damaged, repaired, removed; and nobody else's touched. */
import { afterEach, describe, expect, test } from "bun:test";
import { familyOf } from "@weft/base";
import type { PlanRow } from "@weft/model";
import { planKey } from "@weft/model";
import { attachmentCase } from "../testing/attachment-case.ts";
import { CASES, type Case, UPLINK } from "../testing/cases.ts";
import { TestNode } from "../testing/node.ts";
import { readBack } from "../testing/read-back.ts";
import { type Container, type MakeWorld, WORLDS, type World } from "../testing/worlds.ts";

interface Bench {
  readonly world: World;
  readonly container: Container;
  readonly node: TestNode;
  readonly it: Case;
}

const open: Bench[] = [];
afterEach(async () => {
  for (const { node, world } of open.splice(0)) {
    await node.stop();
    world.close();
  }
});

function bench(make: MakeWorld, choose: (container: Container) => Case): Bench {
  const world = make();
  world.setUplink(1500, UPLINK);
  const container = world.newContainer();
  const made = { world, container, node: new TestNode(world), it: choose(container) };
  open.push(made);
  return made;
}

const hasSix = (row: PlanRow): boolean =>
  row.kind !== "attachment" || row.addresses.some((a) => familyOf(a) === 6);
const read = ({ world, container }: Bench, row: PlanRow): string[] =>
  readBack(world, [{ container, ipv6: hasSix(row) }]);

async function calm({ node }: Bench): Promise<void> {
  expect(node.errors()).toEqual([]);
  expect(await node.drift()).toEqual([]);
}

const CHOICES: readonly (readonly [name: string, choose: (container: Container) => Case])[] = [
  ...CASES.map((it) => [it.name, () => it] as const),
  ...(["IPv4", "IPv6", "dual"] as const).map(
    (family) => [`attachment, ${family}`, (c: Container) => attachmentCase(c, family)] as const,
  ),
];

for (const [kernel, make] of WORLDS) {
  for (const [name, choose] of CHOICES) {
    describe(`${kernel}: ${name}`, () => {
      test("is made, and not again when nothing changed", async () => {
        const b = bench(make, choose);
        const rows = [...b.it.needs, b.it.row];
        expect(await b.node.drift(rows)).toContain(`${b.it.row.kind} ${planKey(b.it.row)}: ${absent(b.it)}`);
        await b.node.go(rows);
        await calm(b);
        expect(b.node.warnings).toEqual([]);
        b.world.writes.length = 0;
        await b.node.later();
        await b.node.plan.applier.repair();
        expect(b.world.writes).toEqual([]);
        await b.node.stop();
        const restarted = new TestNode(b.world);
        open.push({ ...b, node: restarted });
        await restarted.go(rows);
        expect(b.world.writes).toEqual([]);
        expect(restarted.errors()).toEqual([]);
        expect(restarted.repairs()).toEqual({ repaired: 0, pruned: 0 });
      });

      test("each field can change, and the result is that of a fresh start", async () => {
        for (const field of Object.keys(bench(make, choose).it.variants)) {
          const fresh = bench(make, choose);
          const wanted = fresh.it.variants[field] as PlanRow;
          await fresh.node.go([...fresh.it.needs, wanted]);
          const moved = bench(make, choose);
          await moved.node.go([...moved.it.needs, moved.it.row]);
          const before = read(moved, wanted);
          await moved.node.go([...moved.it.needs, moved.it.variants[field] as PlanRow]);
          await calm(moved);
          expect({ field, holds: read(moved, wanted) }).toEqual({ field, holds: read(fresh, wanted) });
          if (wanted.kind !== "sysctl")
            expect({ field, holds: read(moved, wanted) }).not.toEqual({ field, holds: before });
          await moved.node.go([...moved.it.needs, moved.it.row]);
          await calm(moved);
          expect({ field, back: read(moved, wanted) }).toEqual({ field, back: before });
        }
      });

      test("goes with its row, and to remove what is gone already is no error", async () => {
        const b = bench(make, choose);
        await b.node.go(b.it.needs);
        const before = read(b, b.it.row);
        await b.node.go([...b.it.needs, b.it.row]);
        await b.node.go(b.it.needs);
        await calm(b);
        if (b.it.row.kind === "sysctl") return;
        // The tables stay when their last element goes.
        expect(read(b, b.it.row)).toEqual(before);
        for (const [, damage] of b.it.damages.filter(([drift]) => drift === "missing")) {
          await b.node.go([...b.it.needs, b.it.row]);
          await damage(b.world);
          await b.node.go(b.it.needs);
          expect(b.node.errors()).toEqual([]);
          await b.node.later();
          await calm(b);
          expect(read(b, b.it.row)).toEqual(before);
        }
      });

      test("damage is told and repaired", async () => {
        const b = bench(make, choose);
        const rows = [...b.it.needs, b.it.row];
        await b.node.go(rows);
        const before = read(b, b.it.row);
        const key = `${b.it.row.kind} ${planKey(b.it.row)}`;
        for (const [drift, damage] of b.it.damages) {
          await damage(b.world);
          const told = (await b.node.drift()).find((d) => d.startsWith(`${key}: `));
          expect(told).toContain(drift);
          expect(await b.node.drift([b.it.row])).toHaveLength(1);
          const { repaired } = b.node.repairs();
          await b.node.later();
          expect({ drift, errors: b.node.errors() }).toEqual({ drift, errors: [] });
          expect({ drift, holds: read(b, b.it.row) }).toEqual({ drift, holds: before });
          expect(await b.node.drift()).toEqual([]);
          expect(b.node.repairs().repaired).toBeGreaterThan(repaired);
        }
      });

      test("leftovers of ours are pruned, what is others' stays", async () => {
        const b = bench(make, choose);
        const rows = [...b.it.needs, b.it.row];
        await b.node.go(rows);
        await b.it.foreign?.make(b.world);
        await b.node.later();
        const before = read(b, b.it.row);
        for (const [key, makeLeftover] of b.it.leftovers ?? []) {
          await makeLeftover(b.world);
          expect(await b.node.drift()).toEqual([`${b.it.row.kind} ${key}: not asked for`]);
          await b.node.later();
          expect(await b.node.drift()).toEqual([]);
        }
        expect(read(b, b.it.row)).toEqual(before);
        expect(b.node.repairs()).toEqual({ repaired: 0, pruned: b.it.leftovers?.length ?? 0 });
        expect(b.it.foreign?.stands(b.world) ?? true).toBe(true);
        await b.node.go([]);
        expect(b.it.foreign?.stands(b.world) ?? true).toBe(true);
      });
    });
  }
}

const absent = (it: Case): string => (it.row.kind === "sysctl" ? "is 0, not 1" : "missing");
