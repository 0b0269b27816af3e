/** Which events lead to which comparisons. Nothing is compared periodically here, so that only events can. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createPlan, type Plan } from "@weft/apply";
import {
  FakeClock,
  type IpAddress,
  type Mac,
  parseIpWithLength,
  parsePrefix,
  silentLogger,
} from "@weft/base";
import { createFakeKernel, type FakeKernel } from "@weft/kernel/fake";
import type { SetElement } from "@weft/kernel/port";
import type { PlanKind, PlanRow } from "@weft/model";
import { watchDrift } from "./drift-watch.ts";
import { KnownPods } from "./known-pods.ts";
import { PodPlan } from "./pod-plan.ts";

const origin = { kind: "Test", name: "test" };
const LINK = "weft0000000000a";
const MAC = "02:00:00:00:00:0a" as Mac;
const IP = "10.240.1.2" as IpAddress;
const ROWS: readonly PlanRow[] = [
  { kind: "allowed-source", link: LINK, mac: MAC, ip: IP, origin },
  {
    kind: "route",
    destination: parsePrefix("10.240.2.0/24"),
    table: 254,
    type: "unicast",
    link: "eth0",
    gateway: "172.30.0.12" as IpAddress,
    onlink: false,
    metric: 87,
    origin,
  } as PlanRow,
];
const ELEMENT: SetElement = {
  key: [
    { type: "ifname", value: LINK },
    { type: "mac", value: MAC },
    { type: "ip", value: IP },
  ],
};

let fake: FakeKernel;
let clock: FakeClock;
let plan: Plan;
let stop: () => void = () => {};
let underlay: number;

beforeEach(async () => {
  fake = createFakeKernel();
  clock = new FakeClock();
  underlay = 0;
  const self = fake.outsider(fake.kernel.self);
  const fabric = fake.newNamespace();
  const peer = { name: "up0", mac: "02:00:00:00:00:01" as Mac, mtu: 1500, namespace: fabric };
  self.createVeth({ name: "eth0", mac: "02:00:00:00:00:02" as Mac, mtu: 1500, peer });
  fabric.changeLink("up0", { up: true });
  self.changeLink("eth0", { up: true });
  self.replaceAddress({ link: "eth0", address: parseIpWithLength("172.30.0.11/24") });
  // The fake does not know raw payload: for it, that is an address with a name.
  const { nftables } = fake.kernel;
  const run = nftables.run.bind(nftables);
  Object.assign(nftables, { run: (script: string) => run(script.replaceAll("@th,64,128", "ip6 saddr")) });
  plan = createPlan({
    kernel: { ...fake.kernel, nftables },
    clock,
    logger: silentLogger,
    repairInterval: () => 0,
  });
  plan.change(ROWS, []);
  plan.applier.start();
  await plan.applier.settled();
  expect(await plan.drift("n1")).toEqual([]);
  stop = watchDrift({
    kernel: fake.kernel,
    plan,
    pods: new PodPlan(plan, new KnownPods()),
    clock,
    logger: silentLogger,
    onUnderlay: () => {
      underlay++;
    },
    onPodLink: () => {},
    enabled: () => true,
  });
});
afterEach(async () => {
  stop();
  await plan.applier.stop();
});

const lastRepairs = (): Map<PlanKind, number | undefined> =>
  new Map(plan.kinds.map(({ kind, reconciler }) => [kind, reconciler.summary().lastRepair]));

/** Lets the events of `change` arrive, and be acted upon; the kinds that were compared. */
async function compared(change: () => unknown): Promise<PlanKind[]> {
  clock.advance(5000);
  await plan.applier.settled();
  const before = lastRepairs();
  await change();
  await Bun.sleep(1);
  // Less than a second, all in all.
  clock.advance(400);
  await plan.applier.settled();
  clock.advance(400);
  await plan.applier.settled();
  const after = lastRepairs();
  return plan.kinds.map((k) => k.kind).filter((kind) => before.get(kind) !== after.get(kind));
}

const outsider = () => fake.outsiderNftables(fake.kernel.self);

test.each<[string, () => unknown]>([
  ["an element that is deleted", () => outsider().deleteElements("inet", "weft", "sources4", [ELEMENT])],
  ["a chain that is flushed", () => outsider().run("flush chain inet weft from_pod")],
  ["a table that is deleted", () => outsider().run("delete table arp weft")],
  ["a ruleset that is flushed", () => outsider().run("flush ruleset")],
])("%s is put right by its event", async (_, spoil) => {
  const kinds = await compared(spoil);
  expect(kinds).toContain("allowed-source");
  expect(kinds).not.toContain("route");
  expect(await plan.drift("n1")).toEqual([]);
  expect(fake.kernel.nftables.presentElements("inet", "weft", "sources4", [ELEMENT])).toHaveLength(1);
  expect(fake.kernel.nftables.ruleCount("inet", "weft")).toBeGreaterThan(0);
});

test("a table of ours for one thing is compared as well", async () => {
  const kinds = await compared(() => outsider().run("add table ip weft-something"));
  expect(kinds).toContain("allowed-source");
  expect(await compared(() => outsider().run("add table ip wefts"))).toEqual([]);
});

test("tables of others are none of ours", async () => {
  const churn = async (): Promise<void> => {
    await outsider().run("add table ip kube-proxy\nadd set ip kube-proxy s { type ipv4_addr; }");
    outsider().addElements("ip", "kube-proxy", "s", [{ key: [{ type: "ip", value: IP }] }]);
  };
  expect(await compared(churn)).toEqual([]);
});

test("routes are compared for a route, and nothing else is", async () => {
  const self = fake.outsider(fake.kernel.self);
  const [route] = self.routes({ protocol: 87 });
  expect(route).toBeDefined();
  expect(await compared(() => self.deleteRoute(route as NonNullable<typeof route>))).toEqual(["route"]);
  expect(self.routes({ protocol: 87 })).toHaveLength(1);
  expect(underlay).toBe(0);
});

test("neighbours of the underlay come and go without a comparison", async () => {
  const self = fake.outsider(fake.kernel.self);
  const change = () => self.replaceNeighbour("eth0", "172.30.0.12" as IpAddress, MAC);
  expect(await compared(change)).toEqual([]);
  expect(underlay).toBe(0);
});

test("an address or a link of the underlay is news to all that hangs on links", async () => {
  const self = fake.outsider(fake.kernel.self);
  const kinds = await compared(() =>
    self.replaceAddress({ link: "eth0", address: parseIpWithLength("172.30.0.99/24") }),
  );
  expect(kinds).toEqual(
    expect.arrayContaining<PlanKind>(["route", "neighbour", "address", "rule", "tunnel"]),
  );
  expect(kinds).not.toContain("allowed-source");
  expect(underlay).toBe(1);
});

test("lost events of nftables are a change of ours, lost events of the rest a change of everything", async () => {
  const kinds = await compared(() => fake.overflow());
  expect(kinds).toContain("allowed-source");
  expect(kinds).toContain("route");
});
