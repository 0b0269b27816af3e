/** Several interfaces of one container: the first one has the default route, the others stand by. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Baseline } from "./testing/baseline.ts";
import { TestNode, type TestPod } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let baseline: Baseline;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
  await node.del(await node.add());
  baseline = await Baseline.of(node);
});
afterAll(() => node.close());

const second = { interface: "net1" };
const defaults = (pod: TestPod): string[] =>
  ["-4", "-6"].map((family) => /dev (\S+)/.exec(pod.sh(`ip ${family} route show default`))?.[1] ?? "none");
const addressOn = (pod: TestPod, link: string): string =>
  pod.self
    .addresses(link)
    .find((a) => a.address.startsWith("10."))
    ?.address.split("/")[0] ?? "none";

test("a second interface takes nothing from the first, and takes over when that goes", async () => {
  const pod = await node.add();
  expect((await node.call("ADD", pod, second)).error).toBeUndefined();
  expect(defaults(pod)).toEqual(["eth0", "eth0"]);
  expect(await node.drift()).toEqual([]);
  expect(addressOn(pod, "eth0")).not.toBe(addressOn(pod, "net1"));
  pod.sh("ping -c1 -W20 172.30.0.11");
  // Other pods reach it by either.
  const other = await node.add();
  for (const link of ["eth0", "net1"]) {
    if (link === "net1") pod.sh(`ip rule add from ${addressOn(pod, link)} table 100`);
    if (link === "net1") pod.sh("ip route add default via 169.254.1.1 dev net1 onlink table 100");
    other.sh(`ping -c1 -W20 ${addressOn(pod, link)}`);
  }

  await node.del(pod);
  expect(pod.self.link("eth0")).toBeUndefined();
  await eventually("the other one has the default route", () => defaults(pod).join() === "net1,net1");
  expect(await node.drift()).toEqual([]);
  await node.del(pod, second);
  await node.del(other);
  await baseline.expectSame();
});

test("what is spoilt on either is put right on either", async () => {
  const pod = await node.add();
  await node.call("ADD", pod, second);
  for (const link of ["eth0", "net1"]) {
    pod.sh(`ip address flush dev ${link}`);
    await eventually(`${link} has its address`, () => addressOn(pod, link) !== "none", 30_000);
  }
  await node.settled();
  expect(defaults(pod)).toEqual(["eth0", "eth0"]);
  await node.del(pod, second);
  expect(defaults(pod)).toEqual(["eth0", "eth0"]);
  await node.del(pod);
  await baseline.expectSame();
});
