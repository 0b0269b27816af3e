/** Settings, manifests and the underlay change under a running agent: the plan follows, pods stay connected. */
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { parseIpWithLength } from "@weft/base";
import { ADDRESSES, BLOCKS, NODE, TestNode, type TestPod } from "./testing/node.ts";
import { StandingPods } from "./testing/standing.ts";
import { changes, viewOf } from "./testing/view.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let pod: TestPod;
let standing: StandingPods;
beforeAll(async () => {
  node = new TestNode();
  node.writeNode("node2", ["172.30.0.12"], ["10.240.2.0/24"]);
  node.writeNode("node3", ["172.31.0.13"], ["10.240.3.0/24"]);
  await node.start();
  standing = await StandingPods.start(node);
  pod = standing.pods[0] as TestPod;
  await node.settled();
});
afterAll(() => node.close());
afterEach(async () => {
  await node.settled();
  for (const ip of standing.pods[1]?.addresses ?? []) pod.sh(`ping -c1 -W20 ${ip}`);
});

const route = (destination: string): string => node.node.sh(`ip route show ${destination}`).trim();
const tunnel = () => node.node.self.link("weft-vxlan");
const mtus = (): (number | undefined)[] => [
  pod.self.link("eth0")?.mtu,
  node.node.self.link(pod.hostLink)?.mtu,
];
const becomes = (what: string, look: () => unknown): Promise<unknown> =>
  eventually(
    what,
    () => look() === true,
    25_000,
    () => JSON.stringify([tunnel(), mtus(), route("proto 87")]),
  );

test("backend: auto, direct, vxlan, and auto again", async () => {
  expect(route("10.240.2.0/24")).toContain("via 172.30.0.12 dev eth0");
  expect(route("10.240.3.0/24")).toContain("dev weft-vxlan");
  node.writeSettings("backend: direct\n");
  await becomes("the tunnel goes", () => tunnel() === undefined);
  await becomes("pods get the underlay's MTU", () => mtus().join() === "1500,1500");
  expect(route("10.240.3.0/24")).toContain("unreachable");
  const { problems, settings } = await node.status();
  expect(settings.backend).toBe("direct");
  expect(problems.map((p) => p.message).join()).toContain(
    "10.240.3.0/24 of node node3 cannot be reached directly",
  );
  node.writeSettings("backend: vxlan\n");
  await becomes("all by the tunnel", () => route("10.240.2.0/24").includes("dev weft-vxlan"));
  await becomes("pods get the tunnel's MTU", () => mtus().join() === "1450,1450");
  node.writeSettings("");
  await becomes("direct where it can", () => route("10.240.2.0/24").includes("dev eth0"));
});

test("vni, port and mtu", async () => {
  node.writeSettings("vxlan:\n  vni: 77\n  port: 8472\nmtu: 1300\n");
  await becomes(
    "the tunnel is made anew",
    () => tunnel()?.vxlan?.vni === 77 && tunnel()?.vxlan?.port === 8472,
  );
  await becomes("pods get the MTU", () => mtus().join() === "1300,1300");
  expect(node.node.self.forwarding("weft-vxlan").map((e) => e.remote as string)).toContain("172.31.0.13");
  const extra = await node.add();
  expect(extra.self.link("eth0")?.mtu).toBe(1300);
  await node.del(extra);
});

test("invalid settings: the last good ones stay in force, also over a restart, and status says why", async () => {
  const before = viewOf(node.node);
  const faults: readonly [string, string][] = [
    ["vxlan:\n  vni: 0\n", "vxlan.vni"],
    ["mtu: [\n", "settings.yaml:"],
    ["backend: carrier-pigeon\nspeed: 3\n", "carrier-pigeon"],
  ];
  for (const [text, words] of faults) {
    node.writeSettings(text);
    await eventually("the fault is told", async () => (await node.status()).settingsError?.includes(words));
    expect((await node.status()).settings).toMatchObject({ vxlan: { vni: 77 }, mtu: 1300 });
  }
  await node.stop();
  await node.start();
  await node.settled();
  expect((await node.status()).settingsError).toContain("carrier-pigeon");
  expect((await node.status()).settings).toMatchObject({ vxlan: { vni: 77 }, mtu: 1300 });
  expect(changes(before, viewOf(node.node))).toEqual([]);
  node.writeSettings("");
  await eventually("the fault is gone", async () => (await node.status()).settingsError === undefined);
  await becomes(
    "the defaults are in force",
    () => tunnel()?.vxlan?.vni === 4096 && mtus().join() === "1450,1450",
  );
});

test("an mtu that does not fit is refused with what would, and changes no pod", async () => {
  node.writeSettings("mtu: 9000\n");
  await eventually("the problem is told", async () => (await node.status()).problems.length > 0);
  const [problem] = (await node.status()).problems;
  expect(`${problem?.message} ${problem?.hint}`).toContain("1450");
  expect(mtus()).toEqual([1450, 1450]);
  node.writeSettings("");
  await eventually("the problem is gone", async () => (await node.status()).problems.length === 0);
});

test("the underlay's MTU, lowered and raised: tunnel and running pods follow", async () => {
  for (const mtu of [1400, 1600, 1500]) {
    node.outside.sh(`ip link set up0 mtu ${mtu}`);
    node.node.sh(`ip link set eth0 mtu ${mtu}`);
    await becomes(
      `everything has ${mtu - 50}`,
      () => `${[...mtus(), tunnel()?.mtu]}` === `${mtu - 50},${mtu - 50},${mtu - 50}`,
    );
  }
});

test("a peer is added, moves, gets another block, and goes", async () => {
  const remotes = (): string[] =>
    node.node.self
      .forwarding("weft-vxlan")
      .flatMap((e) => (e.remote === undefined ? [] : [e.remote as string]));
  node.writeNode("node4", ["172.31.0.14"], ["10.240.4.0/24"]);
  await becomes(
    "it is there",
    () => route("10.240.4.0/24").includes("weft-vxlan") && remotes().includes("172.31.0.14"),
  );
  node.writeNode("node4", ["172.31.0.99"], ["10.240.4.0/24"]);
  await becomes(
    "it has moved",
    () => remotes().includes("172.31.0.99") && !remotes().includes("172.31.0.14"),
  );
  node.writeNode("node4", ["172.30.0.14"], ["10.240.5.0/24"]);
  await becomes(
    "it is near",
    () => route("10.240.5.0/24").includes("via 172.30.0.14") && route("10.240.4.0/24") === "",
  );
  expect(remotes()).not.toContain("172.31.0.99");
  node.removeNode("node4");
  await becomes("it is gone", () => route("10.240.5.0/24") === "");
});

test("a bad manifest leaves what was known, and is named", async () => {
  const before = viewOf(node.node);
  node.node.run("sh", "-c", `echo 'kind: [' > ${node.clusterDirectory}/node2.yaml`);
  await eventually("it is named", async () =>
    (await node.status()).sourceErrors.join().includes("node2.yaml"),
  );
  await node.settled();
  expect(changes(before, viewOf(node.node))).toEqual([]);
  node.writeNode("node2", ["172.30.0.12"], ["10.240.2.0/24"]);
  await eventually("it is good", async () => (await node.status()).sourceErrors.length === 0);
});

test("the own Node is removed: the last plan stays, also over a restart, until the Node is back", async () => {
  const before = viewOf(node.node);
  node.removeNode(NODE);
  await eventually("it is told", async () => (await node.status()).problems.length > 0);
  await Bun.sleep(500);
  expect(changes(before, viewOf(node.node))).toEqual([]);
  await node.stop();
  await node.start("listening");
  await eventually("it is told", async () => (await node.status()).problems.length > 0);
  expect((await node.status()).ready).toBe(false);
  expect(changes(before, viewOf(node.node))).toEqual([]);
  node.writeNode(NODE, ADDRESSES, BLOCKS);
  await eventually("it is ready", async () => (await node.status()).ready);
  await node.settled();
  expect(changes(before, viewOf(node.node))).toEqual([]);
});

test("through all of this no packet between standing pods was lost", async () => {
  for (const { what, sent, received } of await standing.stop()) {
    console.log(`${what}: ${received} of ${sent} packets`);
    if (what.startsWith("pod")) expect(sent - received).toBeLessThanOrEqual(1);
  }
});

test("the node's own addresses leave their link: pods keep each other, new ones are refused, until they are back", async () => {
  const addresses = ["172.30.0.11/24", "fd00:30::11/64"].map(parseIpWithLength);
  const before = viewOf(node.node);
  const peer = standing.pods[1] as TestPod;
  for (const address of addresses) node.node.self.deleteAddress("eth0", address);
  await eventually("it is told", async () => (await node.status()).problems.length > 0);
  for (const ip of peer.addresses)
    await eventually(`${ip} is reached`, () => pod.try("ping", "-c1", "-W1", ip).code === 0);
  const extra = node.pod();
  const { error } = await node.call("ADD", extra);
  expect(error?.code).toBe(107);
  expect(error?.msg).toContain("is on none of this machine's links");
  expect(error?.details).toContain("Give the link its address");
  expect(extra.self.link("eth0")).toBeUndefined();
  const { ready, plan } = await node.status();
  expect(ready).toBe(true);
  const errors = plan.find((t) => t.kind === "route")?.items.flatMap((row) => row.error ?? []);
  expect(errors?.join()).toContain("is on none of the node's links");
  for (const address of addresses) node.node.self.replaceAddress({ link: "eth0", address });
  node.node.sh("ip route replace default via 172.30.0.1 dev eth0");
  await eventually("it is good again", async () => (await node.status()).problems.length === 0);
  await node.settled();
  expect(changes(before, viewOf(node.node))).toEqual([]);
  await node.add(extra);
  await node.del(extra);
});
