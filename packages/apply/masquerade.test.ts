import { expect, test } from "bun:test";
import { MASQUERADE_RULESET, MASQUERADE_SKELETON, MASQUERADE_VERSION } from "./masquerade.ts";
import { skeletonStands } from "./skeleton.ts";
import { CASES } from "./testing/cases.ts";
import { TestNode } from "./testing/node.ts";
import { WORLDS } from "./testing/worlds.ts";

const ranges = CASES.filter((c) => c.name.startsWith("masquerade")).map((c) => c.row);

for (const [name, make] of WORLDS) {
  test(`${name}: it stands once it is made, and not when anything of it is gone`, async () => {
    const world = make();
    try {
      expect(skeletonStands(world.nftables, MASQUERADE_SKELETON)).toBe(false);
      for (const damage of [
        "flush chain inet weft-masquerade postrouting",
        "flush chain inet weft-masquerade untranslated",
        "delete table inet weft-masquerade",
        "flush ruleset",
      ]) {
        await world.nftables.run(MASQUERADE_RULESET);
        expect(`${damage}: ${skeletonStands(world.nftables, MASQUERADE_SKELETON)}`).toBe(`${damage}: true`);
        await world.nftables.run(damage);
        expect(`${damage}: ${skeletonStands(world.nftables, MASQUERADE_SKELETON)}`).toBe(`${damage}: false`);
      }
    } finally {
      world.close();
    }
  });

  test(`${name}: an older version is replaced by one transaction that has the elements`, async () => {
    const world = make();
    await world.nftables.run(
      MASQUERADE_RULESET.replaceAll(`version_${MASQUERADE_VERSION}`, "version_0").replace(
        " fully-random",
        "",
      ),
    );
    const node = new TestNode(world);
    try {
      await node.go(ranges);
      expect(world.writes[0]?.split(" ")[0]).toBe("run");
      for (const { prefix } of ranges as readonly { prefix: string }[])
        expect(world.writes[0]).toContain(prefix);
      expect(world.writes.filter((w) => w.startsWith("run"))).toHaveLength(1);
      expect(await node.drift()).toEqual([]);
      expect(skeletonStands(world.nftables, MASQUERADE_SKELETON)).toBe(true);
    } finally {
      await node.stop();
      world.close();
    }
  });

  test(`${name}: tables are made by themselves, and leave each other alone`, async () => {
    const world = make();
    const node = new TestNode(world);
    try {
      await node.plan.ensureSkeletons();
      const scripts = world.writes.filter((w) => w.startsWith("run")).length;
      world.writes.length = 0;
      await node.plan.ensureSkeletons();
      expect(world.writes).toEqual([]);
      await world.nftables.run("delete table inet weft-masquerade");
      await node.plan.ensureSkeletons();
      expect(world.writes).toHaveLength(1);
      expect(world.writes[0]).not.toContain("table arp");
      expect(scripts).toBeGreaterThan(1);
    } finally {
      await node.stop();
      world.close();
    }
  });
}
