/** Two agents on one node: the second waits, touches nothing, and takes over when the first ends, however it ends. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@weft/base";
import { spawnIn, spawnSyncIn } from "@weft/kernel/netns";
import { beAlone, isTaken } from "./only-one.ts";
import { NODE, TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
});
afterAll(() => node.close());

function second(...flags: readonly string[]): Bun.Subprocess {
  const log = Bun.file(`${node.root}/second.log`);
  const argv = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    node.executable,
    "agent",
    "--node",
    NODE,
    "--root",
    node.root,
    ...flags,
  ];
  const child = spawnIn(node.node.self, argv, {
    env: { PATH: process.env["PATH"] ?? "" },
    stdout: log,
    stderr: log,
  });
  node.companions.push(child);
  return child;
}
const waits = () =>
  eventually("the second waits", () =>
    readFileSync(`${node.root}/second.log`, "utf8").includes("another agent"),
  );

test.each(["SIGTERM", "SIGKILL"] as const)("the first ends by %s", async (signal) => {
  const child = second();
  await waits();
  const first = await node.status();
  expect(first.pid).toBe(node.agent?.pid as number);
  const pod = await node.add();
  expect(child.exitCode).toBeNull();

  await node.stop(signal);
  await eventually("the second serves", async () => {
    const status = await node.status().catch(() => undefined);
    return status?.ready === true && status.pid === child.pid;
  });
  expect((await node.status()).workloads).toHaveLength(1);
  pod.sh("ping -c1 -W20 172.30.0.11");
  await node.del(pod);
  node.removePod(pod);

  child.kill("SIGKILL");
  await child.exited;
  await node.start();
});

test("one for services only is an agent as well: it waits, and no node is cleaned below it, also when it hangs", async () => {
  const child = second("--only", "services");
  await waits();
  await node.stop();
  await eventually("the second serves", async () => {
    const status = await node.status().catch(() => undefined);
    return status?.ready === true && status.pid === child.pid;
  });
  const weft = (...words: string[]): { code: number; err: string } => {
    const { exitCode, stderr } = spawnSyncIn(node.node.self, [node.executable, "agent", ...words]);
    return { code: exitCode, err: stderr.toString() };
  };
  const socket = ["--socket", `${node.root}/run/weft/agent.sock`];
  expect(weft("alive", ...socket)).toEqual({ code: 0, err: "" });
  const ready = weft("ready", ...socket);
  expect(ready.code).not.toBe(0);
  expect(ready.err).toContain("serves services only");
  expect(weft("cleanup", "--root", node.root).err).toContain("the agent runs on this node");
  child.kill("SIGSTOP");
  expect(weft("cleanup", "--root", node.root).err).toContain("the agent runs on this node");
  child.kill("SIGKILL");
  await child.exited;
  expect(weft("cleanup", "--root", node.root).code).toBe(0);
  await node.start();
});

test("a lock whose file was removed meanwhile keeps nobody out, and is taken anew", async () => {
  const directory = mkdtempSync(join(tmpdir(), "weft-lock-test-"));
  try {
    const first = await beAlone(directory, silentLogger);
    const waiting = beAlone(directory, silentLogger);
    await Bun.sleep(100);
    rmSync(join(directory, "agent.lock"));
    first();
    const second = await waiting;
    expect(isTaken(directory)).toBe(true);
    second();
    expect(isTaken(directory)).toBe(false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
