import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createAnonymous, inNetns } from "@weft/kernel/netns";
import { RULESET, RULESET_VERSION, SOURCES_SKELETON } from "./ruleset.ts";
import { skeletonStands } from "./skeleton.ts";
import { CASES, UPLINK } from "./testing/cases.ts";
import { TestNode } from "./testing/node.ts";
import { WORLDS } from "./testing/worlds.ts";

const GOLDEN = `${import.meta.dir}/ruleset.golden.nft`;

test("the ruleset is as in ruleset.golden.nft (WEFT_GOLDEN=write refreshes it)", () => {
  if (process.env["WEFT_GOLDEN"] === "write") writeFileSync(GOLDEN, RULESET);
  expect(RULESET).toBe(readFileSync(GOLDEN, "utf8"));
});

test("nft takes it", () => {
  const namespace = createAnonymous();
  try {
    const { exitCode, stderr } = inNetns(namespace.fd, () =>
      Bun.spawnSync(["nft", "--check", "-f", "-"], { stdin: Buffer.from(RULESET) }),
    );
    expect(`${exitCode} ${stderr}`).toBe("0 ");
  } finally {
    namespace.close();
  }
});

const sources = CASES.filter((c) => c.name.startsWith("allowed-source")).map((c) => c.row);

for (const [name, make] of WORLDS) {
  test(`${name}: it stands once it is made, and not when anything of it is gone`, async () => {
    const world = make();
    try {
      expect(skeletonStands(world.nftables, SOURCES_SKELETON)).toBe(false);
      for (const damage of [
        "flush chain inet weft prerouting",
        "flush chain arp weft input",
        "delete table arp weft",
        "delete table inet weft",
        "flush ruleset",
      ]) {
        await world.nftables.run(RULESET);
        expect(`${damage}: ${skeletonStands(world.nftables, SOURCES_SKELETON)}`).toBe(`${damage}: true`);
        await world.nftables.run(damage);
        expect(`${damage}: ${skeletonStands(world.nftables, SOURCES_SKELETON)}`).toBe(`${damage}: false`);
      }
    } finally {
      world.close();
    }
  });

  test(`${name}: an older version is replaced by one transaction that has the elements`, async () => {
    const world = make();
    world.setUplink(1500, UPLINK);
    const older = RULESET.replaceAll(`version_${RULESET_VERSION}`, "version_0").replace(
      "icmpv6 type nd-router-advert counter name spoofed drop",
      "icmpv6 type nd-router-advert accept",
    );
    await world.nftables.run(older);
    const node = new TestNode(world);
    try {
      await node.go(sources);
      expect(world.writes.map((w) => w.split(" ")[0])).toEqual(["run"]);
      expect(await node.drift()).toEqual([]);
      expect(skeletonStands(world.nftables, SOURCES_SKELETON)).toBe(true);
    } finally {
      await node.stop();
      world.close();
    }
  });
}
