/**
 * kill -9 of agent and plugin at every step of ADD and DEL and at moments between. Afterwards a runtime does what
 * runtimes do (DEL, GC, or nothing but removing the namespace), and nothing may be left: no link, route, neighbour,
 * element, address or file. Two pods talk to each other all the while, and lose no packet.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { utimesSync, writeFileSync } from "node:fs";
import { PLUGIN_STEPS } from "@weft/plugin-weft";
import { STEPS } from "./steps.ts";
import { Baseline } from "./testing/baseline.ts";
import { type CallOptions, TestNode, type TestPod } from "./testing/node.ts";
import { StandingPods } from "./testing/standing.ts";
import { eventually, timed } from "./testing/wait.ts";

setDefaultTimeout(400_000);

const AGENT_ROUNDS = 8;
const PLUGIN_ROUNDS = 7;
const RANDOM_BATCHES = 10;
const RANDOM_BATCH = 10;

/** Few addresses: an address that leaks is missed soon. */
const BLOCKS = ["10.240.1.0/27", "fd00:240:1::/64"];

let node: TestNode;
let standing: StandingPods;
let baseline: Baseline;
const kills = new Map<string, number>();
const count = (step: string): void => void kills.set(step, (kills.get(step) ?? 0) + 1);
const started = performance.now();

beforeAll(async () => {
  node = new TestNode({ blocks: BLOCKS });
  await node.start();
  standing = await StandingPods.start(node);
  await node.settled();
  baseline = await Baseline.of(node);
});
afterAll(() => node.close());

const AFTERMATHS = ["DEL at once", "DEL after the restart", "GC", "namespace removed"] as const;
type Aftermath = (typeof AFTERMATHS)[number];

async function clean(pod: TestPod, how: Aftermath, when: "at once" | "after the restart"): Promise<void> {
  if (when === "at once") {
    if (how === "DEL at once") await node.del(pod);
    if (how === "namespace removed") node.removePod(pod);
  } else if (how === "DEL after the restart") await node.del(pod);
}

/** A GC that lists the standing pods alone. */
async function collectGarbage(): Promise<void> {
  const valid = standing.pods.map((p) => ({ containerID: p.containerId, ifname: "eth0" }));
  const { error } = await node.call("GC", undefined, {
    configuration: { "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid },
  });
  expect(error).toBeUndefined();
}

async function afterKill(pods: readonly TestPod[], round: number): Promise<void> {
  const hows = pods.map((_, i) => AFTERMATHS[(round + i) % AFTERMATHS.length] as Aftermath);
  for (const [i, pod] of pods.entries()) await clean(pod, hows[i] as Aftermath, "at once");
  await node.restartAfterFault();
  for (const [i, pod] of pods.entries()) await clean(pod, hows[i] as Aftermath, "after the restart");
  if (hows.includes("GC")) await collectGarbage();
  await baseline.expectSoon();
  for (const [i, pod] of pods.entries()) if (hows[i] !== "namespace removed") node.removePod(pod);
}

test.each(STEPS)("the agent is killed at %s", async (step) => {
  const isAdd = step.startsWith("add:");
  for (let round = 0; round < AGENT_ROUNDS; round++) {
    const pods = [node.pod(), node.pod()];
    if (!isAdd) for (const pod of pods) await node.add(pod);
    node.writeFaults(`kill ${step}`);
    const answers = await Promise.all(pods.map((pod) => node.call(isAdd ? "ADD" : "DEL", pod)));
    await node.agent?.exited;
    expect(node.faultsLeft()).toEqual([]);
    count(step);
    // A DEL that was not heard is on disk; an ADD that was not answered has failed.
    if (isAdd) expect(answers.filter((a) => a.exit !== 0).map((a) => a.error?.code)).toContain(100);
    else expect(answers.map((a) => a.exit)).toEqual([0, 0]);
    await afterKill(pods, round);
  }
});

test("the agent is killed while it works the queue off at its start", async () => {
  for (const step of STEPS.filter((s) => s.startsWith("del:"))) {
    const pod = await node.add();
    await node.stop("SIGKILL");
    await node.del(pod);
    node.writeFaults(`kill ${step}`);
    const failed = await node.start().catch((error: unknown) => error);
    expect(String(failed)).toContain("SIGKILL");
    count(`start, ${step}`);
    await node.start();
    await baseline.expectSoon();
    node.removePod(pod);
  }
});

test.each(PLUGIN_STEPS)("the plugin is killed at %s", async (step) => {
  const faults = `${node.root}/plugin-faults`;
  const isAdd = step.startsWith("plugin:add");
  const unheard = ["plugin:del-unheard", "plugin:del-written", "plugin:del-queued"].includes(step);
  const options: CallOptions = {
    environment: { WEFT_FAULT_FILE: faults },
    ...(unheard ? { configuration: { socket: `${node.root}/absent.sock` } } : {}),
  };
  for (let round = 0; round < PLUGIN_ROUNDS; round++) {
    const pod = node.pod();
    if (!isAdd) await node.add(pod);
    writeFileSync(faults, `kill ${step}\n`);
    expect((await node.call(isAdd ? "ADD" : "DEL", pod, options)).exit).toBeNull();
    count(step);
    await cleanAfterPlugin(pod, round);
    for (const name of node.queue())
      if (name.endsWith(".tmp")) utimesSync(`${node.options.queue}/${name}`, 0, 0);
  }
  await baseline.expectSoon();
});

async function cleanAfterPlugin(pod: TestPod, round: number): Promise<void> {
  const how = round % 3;
  if (how === 0) await node.del(pod);
  if (how === 1) await collectGarbage();
  node.removePod(pod);
}

test("the plugin is killed at any moment", async () => {
  let finished = 0;
  const pod = node.pod();
  const wholeTime = await timed(() => node.add(pod));
  await node.del(pod);
  node.removePod(pod);
  for (let batch = 0; batch < RANDOM_BATCHES; batch++) {
    const command = batch % 2 === 0 ? "ADD" : "DEL";
    const pods = Array.from({ length: RANDOM_BATCH }, () => node.pod());
    if (command === "DEL") await Promise.all(pods.map((pod) => node.add(pod)));
    const stdin = Buffer.from(JSON.stringify(node.configuration()));
    const exits = await Promise.all(
      pods.map(async (pod, i) => {
        const child = node.spawn([node.executable], { environment: node.environment(command, pod), stdin });
        // From before the first line to the answer, as evenly as timers can.
        await Bun.sleep((wholeTime * (i + batch / RANDOM_BATCHES)) / RANDOM_BATCH);
        child.kill("SIGKILL");
        return (await child.exited).signal;
      }),
    );
    const killed = exits.filter((signal) => signal !== null).length;
    finished += exits.length - killed;
    for (let i = 0; i < killed; i++) count(`${command}, any moment`);
    for (const [i, pod] of pods.entries()) await cleanAfterPlugin(pod, i);
    await baseline.expectSoon();
  }
  console.log(`had answered before the signal came: ${finished} of ${RANDOM_BATCHES * RANDOM_BATCH}`);
});

test("two hundred kills and more: no address is lost, no standing pod lost a packet or anything else", async () => {
  await node.settled();
  await baseline.expectSame();
  expect(node.queue()).toEqual([]);
  // All of the /27, less first, last, the tunnel's and the standing pods'.
  const pods: TestPod[] = [];
  for (let i = 0; i < 27; i++) pods.push(await node.add());
  expect((await node.call("ADD", node.pod())).error?.code).toBe(102);
  await Promise.all(pods.map((pod) => node.del(pod)));
  expect(standing.changes()).toEqual([]);
  const losses = await standing.stop();
  const total = [...kills.values()].reduce((sum, n) => sum + n, 0);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${total} kills, ${node.starts} starts of the agent, ${seconds} s`);
  for (const [step, n] of kills) console.log(`  ${step.padEnd(24)} ${n}`);
  for (const { what, sent, received } of losses) console.log(`  ${what}: ${received} of ${sent} packets`);
  for (const { sent, received } of losses) expect(sent - received).toBeLessThanOrEqual(1);
  for (const step of [...STEPS, ...PLUGIN_STEPS]) expect(kills.get(step)).toBeGreaterThan(0);
  expect(total).toBeGreaterThanOrEqual(200);
  await eventually("nothing of the test runs", async () => (await node.status()).workloads.length === 2);
});
