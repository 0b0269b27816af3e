/** What routes go through besides their own row: a source that leaves, a way that changes under way. */
import { afterEach, describe, expect, test } from "bun:test";
import { parseIp, parseIpWithLength, parsePrefix } from "@weft/base";
import { ROUTE_PROTOCOL } from "@weft/kernel/port";
import type { PlanRowOf } from "@weft/model";
import { CASES, UPLINK } from "../testing/cases.ts";
import { TestNode } from "../testing/node.ts";
import { WORLDS, type World } from "../testing/worlds.ts";

let close: (() => Promise<void>) | undefined;
afterEach(() => close?.());

function begin(make: () => World): { world: World; node: TestNode } {
  const world = make();
  world.setUplink(1500, UPLINK);
  const node = new TestNode(world);
  close = async () => {
    await node.stop();
    world.close();
  };
  return { world, node };
}

const rowOf = (name: string) => CASES.find((c) => c.name === name);
const sixth = rowOf("route fd00:10:244:3::/64");

describe.each(WORLDS)("%s", (_, make) => {
  test("without its source a destination is still reached; the row says what is missing, and is whole again with it", async () => {
    const { world, node } = begin(make);
    const row: PlanRowOf<"route"> = {
      ...(rowOf("route 10.244.3.0/24")?.row as PlanRowOf<"route">),
      link: "eth0",
      gateway: parseIp("198.18.1.12"),
      onlink: false,
      source: parseIp("198.18.1.77"),
    };
    await node.go([row]);
    world.self.deleteAddress("eth0", parseIpWithLength("198.18.1.77/24"));
    await node.later();
    expect(node.errors()).toEqual([
      "route 10.244.3.0/24 table 254 metric 87: its source address 198.18.1.77 is on none of the node's links: RTM_NEWROUTE route 10.244.3.0/24: EINVAL (Invalid prefsrc address)",
    ]);
    expect(await node.drift()).toEqual([
      "route 10.244.3.0/24 table 254 metric 87: source is absent, not 198.18.1.77",
    ]);
    expect(world.self.routes({ protocol: ROUTE_PROTOCOL })).toMatchObject([{ gateway: row.gateway }]);
    world.self.replaceAddress({ link: "eth0", address: parseIpWithLength("198.18.1.77/24") });
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("a block that was reached directly goes into the tunnel, by a gateway inside of it, and back", async () => {
    const { world, node } = begin(make);
    const tunnelled = sixth?.row as PlanRowOf<"route">;
    const direct: PlanRowOf<"route"> = {
      ...tunnelled,
      link: "eth0",
      gateway: parseIp("fd57:eff7:0:1::12"),
      onlink: false,
      source: parseIp("fd57:eff7:0:1::11"),
    };
    const needs = sixth?.needs ?? [];
    await node.go([...needs, direct]);
    for (const row of [tunnelled, direct, tunnelled]) {
      await node.go([...needs, row]);
      expect(node.warnings).toEqual([]);
      expect(world.self.routes({ protocol: ROUTE_PROTOCOL, family: 6 })).toMatchObject([
        { destination: parsePrefix("fd00:10:244:3::/64"), link: row.link, gateway: row.gateway },
      ]);
    }
  });
});
