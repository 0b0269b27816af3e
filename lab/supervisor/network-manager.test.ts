import { afterAll, beforeAll, expect, test } from "bun:test";
import { silentLogger } from "@weft/base";
import { namedPath } from "@weft/kernel/netns";
import { openNamespace } from "@weft/kernel/rtnetlink";
import { buildUnderlay, removeNamespaces } from "../build.ts";
import { parseLabOptions } from "../options.ts";
import { planTopology } from "../topology.ts";
import { manageUnderlay } from "./network-manager.ts";

const name = `nm${process.pid % 100000}`;
const plan = planTopology(parseLabOptions({ name, nodes: 2, racks: 1 }));

beforeAll(() => buildUnderlay(plan));
afterAll(() => void removeNamespaces(name));

test("a link that was down and up has its addresses and routes again; a deleted route stays deleted", async () => {
  const node = openNamespace(namedPath(`weft-${name}-node1`));
  const state = () =>
    JSON.stringify([
      node
        .addresses("eth0")
        .filter((a) => a.scope === "global")
        .map((a) => a.address)
        .sort(),
      node
        .routes({ link: "eth0", protocol: 4 })
        .map((r) => `${r.destination} ${r.gateway}`)
        .sort(),
    ]);
  const before = state();
  const stop = manageUnderlay(plan, silentLogger);
  try {
    await Bun.sleep(50);
    for (const pause of [0, 50]) {
      node.changeLink("eth0", { up: false });
      expect(state()).not.toBe(before);
      await Bun.sleep(pause);
      node.changeLink("eth0", { up: true });
      for (let i = 0; i < 3000 && state() !== before; i++) await Bun.sleep(10);
      expect(state()).toBe(before);
    }
    const [route] = node.routes({ link: "eth0", protocol: 4 });
    if (route === undefined) throw new Error("there is no default route");
    node.deleteRoute(route);
    await Bun.sleep(100);
    expect(state()).not.toBe(before);
  } finally {
    stop();
    node.close();
  }
});
