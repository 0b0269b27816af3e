/** A restart changes nothing, and a compile that takes its time delays nothing that has a deadline. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { spawnIn } from "@weft/kernel/netns";
import { hears } from "./testing/hears.ts";
import type { TestNamespace } from "./testing/namespaces.ts";
import { TestNode, type TestPod } from "./testing/node.ts";
import { StandingPods } from "./testing/standing.ts";
import { changes, isOfServices, viewOf } from "./testing/view.ts";
import { eventually, timed } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let standing: StandingPods;
beforeAll(async () => {
  node = new TestNode();
  node.writeNode("node2", ["172.30.0.12", "fd00:30::12"], ["10.240.2.0/24", "fd00:240:2::/64"]);
  node.writeNode("node3", ["172.31.0.13"], ["10.240.3.0/24"]);
  await node.start();
  standing = await StandingPods.start(node);
  await node.settled();
});
afterAll(() => node.close());
beforeEach(() => node.writeFaults());

/** Everything that ip(8) and nft(8) hear in a namespace until stopped. */
class Monitor {
  readonly #children: readonly Bun.Subprocess<"ignore", "pipe", "inherit">[];
  readonly #heard: readonly Promise<void>[];
  readonly #texts: string[];

  constructor(ns: TestNamespace) {
    const commands = [
      ["stdbuf", "-oL", "ip", "monitor", "link", "address", "route", "rule", "neigh", "nsid"],
      ["stdbuf", "-oL", "nft", "monitor"],
    ];
    this.#children = commands.map((argv) => spawnIn(ns.self, argv, { stdout: "pipe" }));
    // A test that fails does not come to their end.
    node.companions.push(...this.#children);
    this.#texts = commands.map(() => "");
    this.#heard = this.#children.map(async (child, i) => {
      const decoder = new TextDecoder();
      for await (const bytes of child.stdout) this.#texts[i] += decoder.decode(bytes, { stream: true });
    });
  }

  /** Both have begun to listen. */
  get listens(): boolean {
    return this.#children.every(({ pid }) => hears(pid));
  }

  /** What was heard so far, with these words in it. */
  has(words: string): boolean {
    return this.#texts.some((text) => text.includes(words));
  }

  async stop(): Promise<string[]> {
    for (const child of this.#children) child.kill();
    await Promise.all(this.#heard);
    return this.#texts.flatMap((text) => text.split("\n")).filter((line) => line !== "");
  }
}

/**
 * The kernel's own: reachability of the router, which packets of the pings confirm now and then; and entries of groups,
 * which are cleared away when the machine has many neighbours, whosever they are.
 */
const isOwnDoing = (line: string): boolean =>
  /dev (eth0|up0) lladdr \S+ .*(STALE|DELAY|PROBE|REACHABLE)/.test(line) ||
  /^(Deleted )?(ff[0-9a-f]{2}:|22[4-9]\.|23\d\.)\S* dev /.test(line) ||
  /^Deleted \S+ dev \S+ .*\bNOARP\b/.test(line);

test.each(["SIGTERM", "SIGKILL"] as const)(
  "%s and a start again: the kernel hears of nothing",
  async (signal) => {
    const [first, second] = standing.pods as [TestPod, TestPod];
    const watched = [node.node, first, second];
    const before = watched.map(viewOf);
    const monitors = watched.map((ns) => new Monitor(ns));
    // A monitor that hears nothing proves nothing: this is what the end of its listening is known by.
    await eventually("all of them listen", () => monitors.every((m) => m.listens));
    node.node.sh("ip route add 203.0.113.1/32 dev lo");
    await node.stop(signal);
    await node.start();
    await node.settled();
    await Bun.sleep(500);
    node.node.sh("ip route del 203.0.113.1/32 dev lo");
    await eventually("its end is heard", () => monitors[0]?.has("Deleted 203.0.113.1"));
    const heard = await Promise.all(monitors.map((m) => m.stop()));
    expect(heard.map((lines) => lines.filter((line) => !isOwnDoing(line)))).toEqual([
      [expect.stringContaining("203.0.113.1 dev lo"), expect.stringContaining("Deleted 203.0.113.1 dev lo")],
      [],
      [],
    ]);
    expect(watched.flatMap((ns, i) => changes(before[i] ?? [], viewOf(ns)))).toEqual([]);
    const { plan } = await node.status();
    expect(plan.filter((t) => t.repaired + t.pruned > 0).map((t) => t.kind)).toEqual([]);
  },
);

test("without the tunnel yet, the probe for it leaves nothing", async () => {
  const other = new TestNode({ settings: "backend: direct\n" });
  try {
    await other.start();
    expect(other.node.self.links().map((l) => l.name)).toEqual(["lo", "eth0"]);
  } finally {
    await other.close();
  }
});

test("what was asked for while the agent was away is done at its start, and nothing else", async () => {
  await node.stop();
  node.removeNode("node3");
  node.writeNode("node4", ["172.31.0.14"], ["10.240.4.0/24"]);
  const before = viewOf(node.node);
  await node.start();
  await node.settled();
  const changed = changes(before, viewOf(node.node))
    .filter((line) => !isOfServices(line))
    .map((line) => `${line.slice(0, 2)}${line.split(" ")[1]}`);
  // In nftables: the pods and the address of a node, which are inside of the cluster.
  const kinds = ["forwarding", "neighbour", "route", "route", "nft", "nft"];
  expect(changed.sort()).toEqual(kinds.flatMap((kind) => [`+ ${kind}`, `- ${kind}`]).sort());
});

test("a pod that went while the agent was away, and an object that somebody left, are cleared away", async () => {
  const before = viewOf(node.node);
  const [gone, moved] = [await node.add(), await node.add()];
  await node.stop("SIGKILL");
  node.removePod(gone);
  node.node.sh(`ip link del ${moved.hostLink}`);
  node.node.sh("ip route add 10.240.1.99 dev eth0 proto 87");
  node.node.sh("ip link add weft00000000000 type veth peer name weft00000000001");
  node.node.sh("ip link add weft-old type vxlan id 77 dstport 4790 local 172.30.0.11 dev eth0");
  await node.start();
  await node.settled();
  moved.sh("ping -c1 -W20 172.30.0.11");
  await node.del(moved);
  node.removePod(moved);
  expect(changes(before, viewOf(node.node))).toEqual([]);
});

test("ADDs are answered while a compile is stalled", async () => {
  const latencies = async (count: number): Promise<number[]> => {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const pod = node.pod();
      times.push(await timed(() => node.add(pod)));
      await node.del(pod);
      node.removePod(pod);
    }
    return times.sort((a, b) => a - b);
  };
  const peers = async (): Promise<string[]> => (await node.status()).peers.map((p) => p.node);
  const quiet = await latencies(10);
  // Longer than ten ADDs take on a machine that has other things to do as well.
  node.writeFaults("stall compile 15000");
  node.writeNode("node5", ["172.31.0.15"], ["10.240.5.0/24"]);
  await eventually("the stall has begun", () => node.faultsLeft().length === 0);
  const stalled = await latencies(10);
  // The stall is still on: what was compiled behind it is not there.
  expect(await peers()).not.toContain("node5");
  await eventually("the compile goes on", async () => (await peers()).includes("node5"));
  const p50 = (times: readonly number[]): string => (times[times.length >> 1] ?? 0).toFixed(1);
  console.log(`ADD, p50: ${p50(quiet)} ms, while a compile is stalled ${p50(stalled)} ms`);
});

test("through all of this no packet between standing pods was lost", async () => {
  expect(standing.changes()).toEqual([]);
  for (const { what, sent, received } of await standing.stop()) {
    console.log(`${what}: ${received} of ${sent} packets`);
    expect(sent - received).toBeLessThanOrEqual(1);
    expect(received).toBeGreaterThan(50);
  }
});
