/** An agent that cannot reach its API server says where it asks and what comes of it; with a copy on disk it serves. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { writeKubeconfig } from "@weft/cluster/client/testing";
import { spawnIn, spawnSyncIn } from "@weft/kernel/netns";
import { ADDRESSES, BLOCKS, NODE, TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

const SERVER = "https://127.0.0.1:9";
let node: TestNode;
let kubeconfig: string;
beforeAll(() => {
  node = new TestNode();
  kubeconfig = `${node.root}/kubeconfig`;
  writeKubeconfig(kubeconfig, SERVER);
});
afterAll(() => node.close());

function agent(): Bun.Subprocess {
  const words = ["agent", "--node", NODE, "--root", node.root, "--kubeconfig", kubeconfig];
  const child = spawnIn(node.node.self, ["setpriv", "--pdeathsig", "KILL", node.executable, ...words], {
    env: { PATH: process.env["PATH"] ?? "" },
    stdout: "ignore",
    stderr: "ignore",
  });
  node.companions.push(child);
  return child;
}

const probe = (word: "ready" | "alive"): { code: number; err: string } => {
  const words = ["agent", word, "--socket", node.options.socket];
  const { exitCode, stderr } = spawnSyncIn(node.node.self, [node.executable, ...words]);
  return { code: exitCode, err: stderr.toString() };
};

test("not ready, alive, and the probe's words name the server and the reason; no conflist is written", async () => {
  const child = agent();
  await eventually("it is alive", () => probe("alive").code === 0);
  await eventually("the reason is known", () => /refused/i.test(probe("ready").err));
  const { code, err } = probe("ready");
  expect(code).toBe(3);
  expect(err).toContain(SERVER);
  expect(existsSync(node.options.conflist)).toBe(false);
  child.kill("SIGKILL");
  await child.exited;
});

test("with the last reading on disk it is ready, and the status says that the server is away", async () => {
  mkdirSync(`${node.root}/var/lib/weft`, { recursive: true });
  const origin = { kind: "Node", name: NODE };
  const copy = {
    nodes: [{ name: NODE, addresses: ADDRESSES, origin }],
    blocks: BLOCKS.map((prefix) => ({ prefix, node: NODE, origin })),
  };
  writeFileSync(`${node.root}/var/lib/weft/cluster.json`, JSON.stringify(copy));
  const child = agent();
  await eventually("it is ready", () => probe("ready").code === 0);
  await eventually("the status says so", async () => /away since/.test((await node.status()).source));
  child.kill("SIGKILL");
  await child.exited;
});
