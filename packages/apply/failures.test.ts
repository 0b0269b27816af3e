/** Calls that fail: the row says so, the others go on, it is tried again; and the order in which things are done. */
import { beforeEach, describe, expect, test } from "bun:test";
import { type ErrorCode, hostPrefix, parseIp, parseMac, parsePrefix, WeftError } from "@weft/base";
import type { FakeKernel } from "@weft/kernel/fake";
import type { Nftables } from "@weft/kernel/port";
import { PLAN_KINDS, type PlanRow, type PlanRowOf, planKey } from "@weft/model";
import { HOST_PORTS_RULESET } from "./host-ports.ts";
import { RULESET, RULESET_VERSION } from "./ruleset.ts";
import { attachmentCase } from "./testing/attachment-case.ts";
import { CASES, UPLINK } from "./testing/cases.ts";
import { TestNode } from "./testing/node.ts";
import { type Container, fakeWorld, type World } from "./testing/worlds.ts";

let world: World;
let fake: FakeKernel;
let node: TestNode;
let container: Container;
beforeEach(() => {
  world = fakeWorld();
  fake = world.fake as FakeKernel;
  world.setUplink(1500, UPLINK);
  container = world.newContainer();
  node = new TestNode(world);
});

const busy = (code: ErrorCode = "busy"): WeftError =>
  new WeftError(code, "told to fail", { hint: "Try again." });
const rowOf = (name: string): PlanRow => CASES.find((c) => c.name === name)?.row as PlanRow;
const tunnel = rowOf("tunnel");
const source = rowOf("address 10.244.1.1/32");
const route = (number: number): PlanRowOf<"route"> => ({
  ...(rowOf("route 10.244.3.0/24") as PlanRowOf<"route">),
  destination: parsePrefix(`10.244.${number}.0/24`),
  gateway: parseIp(`10.244.${number}.1`),
});
const status = (row: PlanRow) =>
  node.plan.kinds.find((k) => k.kind === row.kind)?.reconciler.status(planKey(row));

describe("a failure stops at its row", () => {
  test("the others are applied; the row says why, is tried again, and recovers", async () => {
    const rows = [tunnel, source, route(3), route(4), route(5)];
    fake.failNext("replaceRoute", busy());
    await node.go(rows);
    expect(node.errors()).toEqual([`route ${planKey(route(3))}: told to fail`]);
    expect(status(route(3))).toMatchObject({ state: "error", attempts: 1, code: "busy", hint: "Try again." });
    expect(await node.drift()).toEqual([`route ${planKey(route(3))}: missing`]);
    expect(world.self.routes({ protocol: 87 })).toHaveLength(2);
    expect(node.warnings).toHaveLength(1);
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(world.self.routes({ protocol: 87 })).toHaveLength(3);
    expect(node.repairs()).toEqual({ repaired: 0, pruned: 0 });
  });

  test("a device that cannot be made keeps what hangs on it waiting, and nothing else", async () => {
    const free = rowOf("rule 10.244.1.0/24");
    fake.failNext("createVxlan", busy("unsupported"));
    await node.go([tunnel, source, route(3), free]);
    expect(node.errors().map((e) => e.split(" ")[0])).toEqual(["tunnel", "address", "route"]);
    expect(status(free)?.state).toBe("done");
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("a device that cannot be made again is made later, with all that hung on it", async () => {
    await node.go([tunnel, source, route(3)]);
    fake.failNext("createVxlan", busy());
    await node.go([{ ...(tunnel as PlanRowOf<"tunnel">), vni: 5 }, source, route(3)]);
    expect(node.errors()).toEqual([`tunnel ${planKey(tunnel)}: told to fail`]);
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("an element that cannot be added does not keep its neighbours out", async () => {
    const one = rowOf("allowed-source 10.244.1.5") as PlanRowOf<"allowed-source">;
    const two = { ...one, ip: parseIp("10.244.1.6") };
    await node.go([{ ...one, ip: parseIp("10.244.1.4") }]);
    // The first call is for both, the second for one alone.
    fake.failNext("addElements", busy());
    fake.failNext("addElements", busy());
    await node.go([{ ...one, ip: parseIp("10.244.1.4") }, one, two]);
    expect(node.errors()).toEqual([`allowed-source ${planKey(one)}: told to fail`]);
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("a container that cannot be opened does not hide the others from repair", async () => {
    const other = world.newContainer();
    const { row } = attachmentCase(container, "dual");
    const mine = row as PlanRowOf<"attachment">;
    const second: PlanRow = {
      ...mine,
      workload: "b/eth0",
      hostLink: "weft0000000000b",
      namespacePath: other.path,
      namespaceIdentity: other.identity,
    };
    await node.go([mine, second]);
    world.self.changeLink("weft0000000000b", { mtu: 1400 });
    fake.failNext("open", busy("permission"));
    expect(await node.drift()).toEqual([
      "attachment a/eth0: cannot be read: told to fail",
      "attachment b/eth0: mtu is 1400, not 1450",
    ]);
    fake.failNext("open", busy("permission"));
    await node.later();
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("a removal that fails is tried again", async () => {
    await node.go([tunnel, source, route(3)]);
    fake.failNext("deleteRoute", busy());
    await node.go([tunnel, source]);
    expect(node.errors()).toEqual([`route ${planKey(route(3))}: told to fail`]);
    await node.later();
    expect(node.errors()).toEqual([]);
    expect(world.self.routes({ protocol: 87 })).toEqual([]);
  });

  test("a kernel that cannot be read is no reason to write or to give up", async () => {
    await node.go([tunnel, source, route(3)]);
    world.writes.length = 0;
    fake.failNext("routes", busy("overflow"));
    await node.later();
    expect(world.writes).toEqual([]);
    expect(node.plan.applier.summary()["route"]?.repairError).toContain("told to fail");
    await node.later();
    expect(node.plan.applier.summary()["route"]?.repairError).toBeUndefined();
  });
});

test("a namespace that its path does not name any more is not touched", async () => {
  const { row } = attachmentCase(container, "dual");
  await node.go([{ ...(row as PlanRowOf<"attachment">), namespaceIdentity: "another" }]);
  expect(node.errors()).toEqual([`attachment a/eth0: ${container.path} names another namespace than at ADD`]);
  expect(container.inside.link("eth0")).toBeUndefined();
});

test("an interface that another made in the container is not touched", async () => {
  const { row } = attachmentCase(container, "dual");
  container.inside.createBridge("eth0", parseMac("02:00:00:00:00:77"), 1500);
  await node.go([row]);
  expect(node.errors()).toEqual(["attachment a/eth0: the container already has an interface eth0"]);
  expect(container.inside.link("eth0")?.kind).toBe("bridge");
});

describe("order", () => {
  /** What a row's write looks like, in the words of the writes. */
  const WRITE: Readonly<Record<string, RegExp>> = {
    sysctl: /^setSysctl net\/ipv4/,
    "allowed-source": /^(add|delete)Elements inet weft sources4/,
    "masquerade-inside": /^changeRanges inet weft-masquerade inside4/,
    "masquerade-source": /^changeRanges inet weft-masquerade sources4/,
    tunnel: /^(createVxlan|deleteLink weft-vxlan)/,
    attachment: /^(createVeth|deleteLink weft0)/,
    address: /^(replace|delete)Address .*10\.244\.1\.1\/32/,
    neighbour: /^(replace|delete)Neighbour weft-vxlan/,
    forwarding: /^(replace|delete)Forwarding/,
    route: /^(replace|delete)Route .*10\.244\.3\.0/,
    rule: /^(replace|delete)Rule/,
    "host-port-hairpin": /^(add|delete)Elements inet weft-hostports hairpins4/,
    "host-port": /^(add|delete)Elements inet weft-hostports any4/,
  };
  const order = (): string[] =>
    Object.entries(WRITE)
      .map(([kind, pattern]) => [kind, world.writes.findIndex((w) => pattern.test(w))] as const)
      .filter(([, at]) => at >= 0)
      .sort(([, a], [, b]) => a - b)
      .map(([kind]) => kind);

  test("what others need comes first, and goes last", async () => {
    const rows = [
      ...["host-port 0.0.0.0", "host-port-hairpin 10.244.1.5"].map(rowOf),
      ...["rule 10.244.1.0/24", "route 10.244.3.0/24", "forwarding", "neighbour 10.244.2.1"].map(rowOf),
      source,
      attachmentCase(container, "IPv4").row,
      ...["tunnel", "allowed-source 10.244.1.5", "sysctl"].map(rowOf),
      ...["masquerade-source 10.244.1.0/24", "masquerade-inside 10.244.1.0/24"].map(rowOf),
    ];
    await node.plan.ensureSkeletons();
    // Else the first of its two kinds would make it, elements of both and all.
    await world.nftables.run(HOST_PORTS_RULESET);
    world.writes.length = 0;
    await node.go(rows);
    expect(node.warnings).toEqual([]);
    expect(order()).toEqual([...PLAN_KINDS]);
    world.writes.length = 0;
    await node.go([]);
    expect(node.warnings).toEqual([]);
    expect(order()).toEqual(PLAN_KINDS.toReversed().filter((kind) => kind !== "sysctl"));
  });

  test("what may be sent is known before the link of a container is up, and until it is gone", async () => {
    const allowed = rowOf("allowed-source 10.244.1.5");
    await node.go([attachmentCase(container, "IPv4").row, allowed]);
    const up = world.writes.findIndex((w) => /^changeLink weft0.*"up":true/.test(w));
    expect(world.writes.findIndex((w) => w.startsWith("run"))).toBeLessThan(up);
    world.writes.length = 0;
    await node.go([]);
    expect(world.writes.map((w) => w.split(" ")[0])).toEqual([
      "deleteLink",
      "deleteElements",
      "deleteElements",
    ]);
  });

  test("a device that is made again has all that hung on it at once, without a comparison to come", async () => {
    const peers = [3, 4].flatMap((n): PlanRow[] => [
      { ...(rowOf("neighbour 10.244.2.1") as PlanRowOf<"neighbour">), ip: parseIp(`10.244.${n}.1`) },
      route(n),
    ]);
    const rows = [source, ...peers, rowOf("forwarding")];
    await node.go([tunnel, ...rows]);
    for (const change of [
      { vni: 5 },
      { port: 8472 },
      { local: parseIp("198.18.1.77") },
      { mac: "02:00:00:00:00:a9" },
    ]) {
      await node.go([{ ...tunnel, ...change } as PlanRow, ...rows]);
      expect(await node.drift()).toEqual([]);
    }
    expect(node.warnings).toEqual([]);
  });
});

describe("what hangs on a container's link", () => {
  const attachment = (): PlanRowOf<"attachment"> =>
    attachmentCase(container, "dual").row as PlanRowOf<"attachment">;
  const hanging = (): PlanRow[] =>
    attachment().addresses.flatMap((ip): PlanRow[] => [
      { ...(rowOf("neighbour 10.244.2.1") as PlanRowOf<"neighbour">), link: attachment().hostLink, ip },
      {
        ...route(3),
        destination: hostPrefix(ip),
        link: attachment().hostLink,
        gateway: undefined,
        onlink: false,
        source: undefined,
      },
    ]);

  test.each([
    ["the link went", () => world.self.deleteLink("weft0000000000a")],
    ["the link was down", () => world.self.changeLink("weft0000000000a", { up: false })],
    [
      "the link had another Ethernet address",
      () => world.self.changeLink("weft0000000000a", { mac: parseMac("02:00:00:00:00:b1") }),
    ],
    [
      "the container's end went to another name",
      () => {
        container.inside.changeLink("eth0", { up: false });
        container.inside.changeLink("eth0", { rename: "net0" });
      },
    ],
  ])("is back with the attachment alone: %s", async (_, damage) => {
    const rows = [attachment(), ...hanging()];
    await node.go(rows);
    await damage();
    expect(await node.drift()).not.toEqual([]);
    await node.plan.applier.repair(node.plan.keys([attachment()]));
    expect(await node.drift()).toEqual([]);
  });

  test("is back when the attachment changes so that the kernel drops it", async () => {
    await node.go([attachment(), ...hanging()]);
    await node.go([{ ...attachment(), hostMac: parseMac("02:00:00:00:00:b2") }, ...hanging()]);
    expect(await node.drift()).toEqual([]);
  });
});

describe("what happens between reading and writing", () => {
  const leftover = "weft0000000000a";
  const strayPair = (): void =>
    world.self.createVeth({
      name: leftover,
      mac: parseMac("02:00:00:00:00:a8"),
      mtu: 1400,
      peer: { name: "stray", mac: parseMac("02:00:00:00:00:a7"), mtu: 1400 },
    });

  test("a link that is a leftover when it is read, and wanted when it would be removed, stays", async () => {
    strayPair();
    const attachments = node.plan.kinds.find((k) => k.kind === "attachment");
    const [found] = [...((await attachments?.ops.actual.list()) ?? [])];
    expect(attachments?.ops.actual.keyOf(found)).toBe(`link ${leftover}`);
    await node.go([attachmentCase(container, "dual").row]);
    await attachments?.ops.actual.delete(found);
    expect(await node.drift()).toEqual([]);
    // Nor is another link that has come to have the name.
    await node.go([]);
    strayPair();
    await attachments?.ops.actual.delete(found);
    expect(world.self.link(leftover)).toBeDefined();
  });

  test("a container comes back while its old pair is on its way out", async () => {
    const { row } = attachmentCase(container, "dual");
    await node.go([row]);
    node.want([]);
    const gone = node.plan.applier.flush();
    node.want([row]);
    await Promise.all([gone, node.settle()]);
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
  });

  test("an element that comes while the tables are being made is not lost", async () => {
    const one = rowOf("allowed-source 10.244.1.5") as PlanRowOf<"allowed-source">;
    const [two, three] = [
      { ...one, ip: parseIp("10.244.1.6") },
      { ...one, ip: parseIp("10.244.1.7") },
    ];
    const begun = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const run = (script: string): Promise<void> => {
      begun.resolve();
      return taken.promise.then(() => world.kernel.nftables.run(script));
    };
    const slow: Nftables = new Proxy(world.kernel.nftables, {
      get: (nftables, name: keyof Nftables) => (name === "run" ? run : nftables[name]),
    });
    const late = new TestNode({ ...world, kernel: { ...world.kernel, nftables: slow } });
    // An older version stands, which takes elements that would go with it.
    await world.nftables.run(RULESET.replaceAll(`version_${RULESET_VERSION}`, "version_0"));
    await late.drift();
    late.want([one, two]);
    const first = late.plan.applier.flush();
    await begun.promise;
    late.want([one, three]);
    const second = late.plan.applier.flush(late.plan.keys([two, three]));
    taken.resolve();
    await Promise.all([first, second]);
    expect(late.errors()).toEqual([]);
    expect(await late.drift()).toEqual([]);
    expect(world.writes.filter((w) => w.startsWith("run"))).toHaveLength(1);
  });

  test("the masquerading table is made with all of both kinds, by whichever comes first", async () => {
    const rows = ["masquerade-source", "masquerade-inside"].flatMap((kind) =>
      ["10.244.1.0/24", "fd00:10:244:1::/64"].map((prefix) => rowOf(`${kind} ${prefix}`)),
    );
    const runs = (): boolean[] => world.writes.map((w) => w.startsWith("run")).filter((w, i) => w || i === 0);
    await node.go(rows);
    expect(runs()).toEqual([true]);
    for (const damage of [
      "delete table inet weft-masquerade",
      "flush chain inet weft-masquerade untranslated",
    ]) {
      await world.nftables.run(damage);
      world.writes.length = 0;
      expect(await node.drift()).toHaveLength(4);
      await node.later();
      expect(runs()).toEqual([true]);
      expect(await node.drift()).toEqual([]);
    }
    expect(node.repairs()).toEqual({ repaired: 8, pruned: 0 });
  });

  test("one range gives way to others in one transaction, and only what is wanted is put in", async () => {
    const inside = (prefix: string): PlanRow => ({
      kind: "masquerade-inside",
      prefix: parsePrefix(prefix),
      origin: { kind: "Node", name: "n1" },
    });
    const blocks = Array.from({ length: 200 }, (_, i) => inside(`10.244.${i}.0/24`));
    await node.go([inside("10.244.0.0/16")]);
    const held = (): number[] =>
      world.writes.filter((w) => w.startsWith("changeRanges")).map((w) => w.split("first").length - 1);
    world.writes.length = 0;
    // The first that comes finds the way taken, and puts in all that is wanted of it; others are there already then.
    await node.go(blocks);
    expect(held()[1]).toBe(201);
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
    world.writes.length = 0;
    await node.go([inside("10.244.0.0/16")]);
    expect(held()[1]).toBe(201);
    expect(node.errors()).toEqual([]);
    expect(await node.drift()).toEqual([]);
    expect(node.repairs()).toEqual({ repaired: 0, pruned: 0 });
  });

  test("the tables come back whole: in no moment without what containers may send", async () => {
    const one = rowOf("allowed-source 10.244.1.5") as PlanRowOf<"allowed-source">;
    const two = { ...one, ip: parseIp("fd00:10:244:1::6") };
    await node.go([one, two]);
    await world.nftables.run("delete table inet weft");
    world.writes.length = 0;
    // To look is not to write.
    expect(await node.drift()).toHaveLength(2);
    expect(world.writes).toEqual([]);
    await node.later();
    expect(world.writes.filter((w) => w.startsWith("run"))).toHaveLength(1);
    expect(world.writes.filter((w) => w.startsWith("addElements"))).toEqual([]);
    expect(await node.drift()).toEqual([]);
    expect(node.repairs()).toEqual({ repaired: 2, pruned: 0 });
  });
});
