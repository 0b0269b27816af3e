import { expect, test } from "bun:test";
import { HOST_PORTS_RULESET, HOST_PORTS_SKELETON, HOST_PORTS_VERSION } from "./host-ports.ts";
import { skeletonStands } from "./skeleton.ts";
import { CASES } from "./testing/cases.ts";
import { TestNode } from "./testing/node.ts";
import { WORLDS } from "./testing/worlds.ts";

const rows = CASES.filter((c) => c.name.startsWith("host-port")).map((c) => c.row);

for (const [name, make] of WORLDS) {
  test(`${name}: it stands once it is made, and not when anything of it is gone`, async () => {
    const world = make();
    const stands = (): boolean => skeletonStands(world.nftables, HOST_PORTS_SKELETON);
    try {
      expect(stands()).toBe(false);
      for (const damage of [
        "flush chain inet weft-hostports prerouting",
        "flush chain inet weft-hostports published",
        "delete table inet weft-hostports",
        "flush ruleset",
      ]) {
        await world.nftables.run(HOST_PORTS_RULESET);
        expect(`${damage}: ${stands()}`).toBe(`${damage}: true`);
        await world.nftables.run(damage);
        expect(`${damage}: ${stands()}`).toBe(`${damage}: false`);
      }
    } finally {
      world.close();
    }
  });

  test(`${name}: an older version is replaced by one transaction that has the elements`, async () => {
    const world = make();
    await world.nftables.run(HOST_PORTS_RULESET.replaceAll(`version_${HOST_PORTS_VERSION}`, "version_0"));
    const node = new TestNode(world);
    try {
      await node.go(rows);
      const scripts = world.writes.filter((w) => w.startsWith("run") && w.includes("weft-hostports"));
      expect(scripts).toHaveLength(1);
      for (const element of [
        "any4 { 6 . 8080 : 10.244.1.5 . 80 }",
        "addressed4 { 127.0.0.1 . 6 . 8080 : 10.244.1.5 . 80 }",
        "any6 { 6 . 8080 : fd00:10:244:1::5 . 80 }",
        "hairpins6 { fd00:10:244:1::5 . fd00:10:244:1::5 }",
      ])
        expect(scripts[0]).toContain(element);
      expect(await node.drift()).toEqual([]);
      expect(node.errors()).toEqual([]);
    } finally {
      await node.stop();
      world.close();
    }
  });

  test(`${name}: it is made with the first host port, and not before`, async () => {
    const world = make();
    const node = new TestNode(world);
    const stands = (): boolean => world.nftables.tableExists("inet", "weft-hostports");
    try {
      await node.plan.ensureSkeletons();
      expect(stands()).toBe(false);
      await node.go([]);
      await node.later();
      expect([stands(), await node.drift()]).toEqual([false, []]);
      await node.go(rows);
      expect([stands(), node.errors(), node.warnings]).toEqual([true, [], []]);
      await world.nftables.run("delete table inet weft-hostports");
      await node.plan.ensureSkeletons();
      expect(await node.drift()).toEqual([]);
      await node.go([]);
      expect([node.errors(), await node.drift()]).toEqual([[], []]);
    } finally {
      await node.stop();
      world.close();
    }
  });
}
