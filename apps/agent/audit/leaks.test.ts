/**
 * Addresses leak in every way there is, and come back: exactly these, each with its event, and nobody else's.
 *
 * Other sizes: WEFT_LEAK_PODS=60 WEFT_LEAK_SHARE=0.8 WEFT_LEAK_SEED=7 ./test apps/agent/audit/leaks.test.ts
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { parseMac, parsePrefix, seededRandom } from "@weft/base";
import { openLedger } from "@weft/ipam";
import { ROUTE_PROTOCOL } from "@weft/kernel";
import type { AddressOrigin, AuditFinding, Workload } from "@weft/model";
import { TestCluster } from "../testing/cluster.ts";
import { TestNode, type TestPod } from "../testing/node.ts";
import { type OwnProcess, OwnProcesses } from "../testing/own-processes.ts";
import { eventually } from "../testing/wait.ts";

const PODS = Number(process.env["WEFT_LEAK_PODS"] ?? 14);
const SHARE = Number(process.env["WEFT_LEAK_SHARE"] ?? 0.6);
const SEED = Number(process.env["WEFT_LEAK_SEED"] ?? 1);
/** Many pods are many seconds. */
setDefaultTimeout(240_000 + 2_000 * PODS);
const GRACE = 10;
/** Room for four thousand pods. */
const BLOCKS = ["10.240.0.0/20", "fd00:240:1::/64"];
/** Of that, what no pod gets here. */
const UNUSED = "10.240.15.250";

let node: TestNode;
let cluster: TestCluster;
let processes: OwnProcesses;
beforeAll(async () => {
  processes = await OwnProcesses.start();
  const settings = `ipam: { leakGrace: ${GRACE}s }\n`;
  node = new TestNode({ settings, agentBy: processes.by, blocks: BLOCKS });
  cluster = new TestCluster(node, BLOCKS);
  await node.start("ready", cluster.flags);
});
afterAll(async () => {
  await node.close();
  cluster.stop();
  await processes.stop();
});

interface Sandbox {
  readonly name: string;
  readonly pod: TestPod;
  readonly process: OwnProcess;
}

let number = 0;
async function sandbox(): Promise<Sandbox> {
  const name = `web-${number++}`;
  const pod = await node.add(node.pod(), cluster.pod(name));
  return { name, pod, process: await processes.run(pod.self, "sleep", "3600") };
}

/** Ways in which an attachment is lost, each with what is said of it. */
const WAYS: Readonly<Record<string, (s: Sandbox) => Promise<void>>> = {
  // The sandbox's process is killed, its namespace unmounted, and no DEL comes.
  "namespace-gone": async (s) => {
    await s.process.end();
    node.removePod(s.pod);
  },
  // The runtime has forgotten a sandbox in which nothing lives; the pod is gone.
  "pod-gone": async (s) => {
    cluster.deletePod(s.name);
    await s.process.end();
  },
};

const holders = async (): Promise<Map<string, readonly string[]>> =>
  new Map((await node.status()).workloads.map((w: Workload) => [w.podName ?? w.id, w.addresses]));
let lastFindings: readonly AuditFinding[] = [];
const findings = async (): Promise<readonly AuditFinding[]> => {
  lastFindings = (await node.status()).audit?.findings ?? [];
  return lastFindings;
};
const text = (o: AddressOrigin | undefined): string | undefined => o?.pod;

test("what leaks comes back, with an event that says where it came from; nothing else does", async () => {
  const random = seededRandom(SEED);
  const sandboxes: Sandbox[] = [];
  for (let i = 0; i < PODS; i++) sandboxes.push(await sandbox());
  const before = await holders();
  const leaked = sandboxes.filter(() => random() < SHARE);
  const ways = Object.keys(WAYS);
  const wayOf = new Map(leaked.map((s, i) => [s, ways[i % ways.length] as string]));
  for (const [s, way] of wayOf) await WAYS[way]?.(s);
  const kept = sandboxes.filter((s) => !wayOf.has(s));
  await eventually(
    "what leaked is free",
    async () => (await holders()).size === before.size - leaked.length,
    60_000 + 200 * PODS,
    () => node.log(),
  );
  const after = await holders();
  for (const s of kept) expect(after.get(s.name)).toEqual(before.get(s.name) as readonly string[]);
  await eventually(
    "each has its event",
    () => leaked.every((s) => cluster.events("AddressReclaimed").some((e) => e.regarding.name === s.name)),
    60_000 + 200 * PODS,
    () => JSON.stringify(cluster.events().map((e) => [e.reason, e.regarding.name])),
  );
  for (const [s, way] of wayOf) {
    const [event] = cluster.events("AddressReclaimed").filter((e) => e.regarding.name === s.name);
    expect(event).toMatchObject({ type: "Warning", regarding: { kind: "Pod", uid: `uid-${s.name}` } });
    for (const part of [
      ...s.pod.addresses,
      `pod shop/${s.name}`,
      s.pod.containerId.slice(0, 12),
      "node node1",
    ])
      expect(event?.note).toContain(part);
    expect(event?.note).toContain(
      way === "pod-gone" ? "the API has no such pod" : "network namespace is gone",
    );
    expect(
      cluster
        .events("AddressReclaimed")
        .some((e) => e.regarding.kind === "Node" && e.related?.name === s.name) || leaked.length > 20,
    ).toBe(true);
  }
  const told = cluster.events("AddressReclaimed").filter((e) => e.regarding.kind === "Pod");
  expect(told.map((e) => e.regarding.name).sort()).toEqual(leaked.map((s) => s.name).sort());
  const { audit } = await node.status();
  expect(Object.values(audit?.reclaimed ?? {}).reduce((n, c) => n + c, 0)).toBe(leaked.length);
  // The kernel has nothing of them, and the others go on.
  const links = node.node.sh("ip -o link show type veth");
  for (const s of leaked) expect(links).not.toContain(s.pod.hostLink);
  for (const s of kept) {
    node.node.sh(`ping -c 1 -W20 ${s.pod.addresses[0]}`);
    node.node.sh(`ping -c 1 -W20 ${s.pod.addresses[1]}`);
  }
});

test("a pod that is gone from the API and runs on keeps its addresses, and it is said; until it ends", async () => {
  const s = await sandbox();
  cluster.deletePod(s.name);
  const waiting = await eventually("it is suspected", async () =>
    (await findings()).find((f) => f.code === "pod-gone" && text(f.origin) === `shop/${s.name}`),
  );
  expect(waiting.addresses as readonly string[]).toEqual(s.pod.addresses);
  expect(waiting.needsPerson).toBe(false);
  expect(waiting.due).toBeGreaterThan(waiting.since);
  const lives = await eventually(
    "it is seen to live",
    async () => (await findings()).find((f) => f.code === "sandbox-lives"),
    60_000,
  );
  expect(lives).toMatchObject({ object: `pod shop/${s.name}`, needsPerson: true });
  expect((await holders()).get(s.name)).toEqual(s.pod.addresses);
  await eventually("an event", () =>
    cluster.events("AddressNotReclaimed").some((e) => e.regarding.name === s.name),
  );
  // By hand it is refused as long as it lives; once it does not, it is free at once.
  const weft = (...words: string[]): { code: number; out: string } =>
    node.node.try(node.executable, "ipam", ...words, "--socket", node.options.socket);
  const refused = weft("release", s.pod.addresses[0] as string);
  expect([refused.code, refused.out]).toEqual([1, expect.stringContaining("processes of its sandbox live")]);
  expect(weft("check").out).toContain(`pod shop/${s.name} on node node1`);
  expect(weft("check").code).toBe(1);
  await s.process.end();
  expect(weft("show", `shop/${s.name}`).out).toContain(s.pod.addresses[1] as string);
  const given = weft("release", `shop/${s.name}`);
  expect([given.code, given.out]).toEqual([
    0,
    expect.stringContaining(`${s.pod.addresses.join(", ")} of shop/${s.name} are free`),
  ]);
  expect(weft("show", s.pod.addresses[0] as string).out).toMatch(
    /nobody has it[\s\S]*somebody released it by hand/,
  );
  const forced = await sandbox();
  expect(weft("release", forced.pod.containerId).code).toBe(1);
  expect(weft("release", forced.pod.containerId, "--force").code).toBe(0);
  expect((await holders()).has(forced.name)).toBe(false);
  expect(forced.pod.sh("ip -o link")).not.toContain("eth0");
  expect(weft("release", "10.99.9.9").code).toBe(1);
});

test("an agent that is killed in the middle of a grace gives the whole of it again", async () => {
  const s = await sandbox();
  cluster.deletePod(s.name);
  await s.process.end();
  const isSuspected = async (): Promise<AuditFinding | undefined> =>
    (await findings()).find((f) => f.code === "pod-gone" && text(f.origin) === `shop/${s.name}`);
  await eventually("it is suspected", isSuspected);
  await node.stop("SIGKILL");
  await node.start("ready", cluster.flags);
  const { startedAt } = await node.status();
  const again = await eventually("it is suspected anew", isSuspected);
  expect(again.since).toBeGreaterThanOrEqual(startedAt - 1000);
  await eventually(
    "it is free",
    async () => (await findings()) && !(await holders()).has(s.name),
    60_000,
    () => `${JSON.stringify(lastFindings)} ${node.log()}`,
  );
  const { audit } = await node.status();
  const reclaimed = audit?.recent.find((r) => r.origin.pod === `shop/${s.name}`);
  expect((reclaimed?.at ?? 0) - again.since).toBeGreaterThanOrEqual((GRACE - 1) * 1000);
});

test("an ADD that an agent's end cut off, and a row that leads to nothing", async () => {
  const name = `web-${number++}`;
  const args = cluster.pod(name);
  const cut = node.pod();
  node.writeFaults("kill add:applied");
  expect((await node.call("ADD", cut, args)).exit).not.toBe(0);
  await node.agent?.exited;
  // What a restored or damaged ledger could have: a row of a container that nobody knows.
  const ledger = openLedger(node.options.ledger);
  const row = ledger.allocate(
    {
      id: "ghost/eth0",
      network: "weft",
      containerId: "ghost",
      interface: "eth0",
      namespacePath: "/run/netns/there-is-none",
      namespaceIdentity: "4:1",
      podNamespace: undefined,
      podName: undefined,
      podUid: undefined,
      hostPorts: [],
      mac: parseMac("02:00:00:00:00:99"),
      hostLink: "weft00000000abc",
    },
    BLOCKS.map(parsePrefix),
    [],
  );
  ledger.markReady("ghost/eth0");
  ledger.close();
  await node.start("ready", cluster.flags);
  await eventually("both are free", async () => {
    const held = await holders();
    return !held.has(name) && !held.has("ghost/eth0");
  });
  const note = async (what: string): Promise<string> =>
    eventually(
      `an event of ${what}`,
      () => cluster.events("AddressReclaimed").find((e) => e.note.includes(what))?.note,
    );
  expect(await note(`pod shop/${name}`)).toContain("ended in the middle");
  expect(await note("container ghost")).toContain(`${row.addresses.join(", ")} of container ghost`);
});

test("a link and routes without an attachment go, and it is said whose they were", async () => {
  const s = await sandbox();
  const [address = ""] = s.pod.addresses;
  await s.process.end();
  node.removePod(s.pod);
  await eventually("the pod is gone", async () => !(await holders()).has(s.name));
  node.node.self.createVeth({
    name: s.pod.hostLink,
    mac: parseMac("02:00:00:00:00:77"),
    mtu: 1500,
    peer: { name: "nobody", mac: parseMac("02:00:00:00:00:78"), mtu: 1500, namespace: node.outside.self },
  });
  node.node.self.changeLink(s.pod.hostLink, { up: true });
  node.node.self.replaceRoute({
    destination: parsePrefix(`${address}/32`),
    link: s.pod.hostLink,
    scope: "link",
    protocol: ROUTE_PROTOCOL,
    metric: 87,
  });
  const link = s.pod.hostLink;
  await eventually("it is gone", () => node.node.try("ip", "link", "show", link).code !== 0, 60_000);
  const event = await eventually("an event", () =>
    cluster.events("LeftoverRemoved").find((e) => e.note.includes(link) || e.note.includes(address)),
  );
  expect(event.note).toContain(`pod shop/${s.name}`);
  expect((await node.status()).audit?.leftovers).toBeGreaterThan(0);
});

test("while repair is paused such a link is a finding; an address that somebody set inside of a pod is one too", async () => {
  const s = await sandbox();
  await node.pause(600_000);
  node.node.self.createVeth({
    name: "weft0123456789a",
    mac: parseMac("02:00:00:00:00:77"),
    mtu: 1500,
    peer: { name: "nobody2", mac: parseMac("02:00:00:00:00:78"), mtu: 1500, namespace: node.outside.self },
  });
  s.pod.sh(`ip address add ${UNUSED}/32 dev eth0`);
  const stray = await eventually(
    "the link is found",
    async () => (await findings()).find((f) => f.object === "link weft0123456789a"),
    60_000,
  );
  expect(stray).toMatchObject({ code: "link-unexplained", needsPerson: false });
  expect(stray.remedy).toContain("paused");
  await node.pause(0);
  await eventually(
    "it goes",
    () => node.node.try("ip", "link", "show", "weft0123456789a").code !== 0,
    60_000,
  );
  const foreign = await eventually(
    "the address is found",
    async () => (await findings()).find((f) => f.code === "foreign-inside"),
    120_000,
  );
  expect(foreign).toMatchObject({
    object: `pod shop/${s.name}`,
    addresses: [UNUSED],
    needsPerson: true,
  });
  s.pod.sh(`ip address del ${UNUSED}/32 dev eth0`);
  await eventually(
    "it is in order",
    async () => !(await findings()).some((f) => f.code === "foreign-inside"),
    60_000,
  );
});
