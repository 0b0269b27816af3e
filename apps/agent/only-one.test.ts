/** Two agents on one node: the second waits, touches nothing, and takes over when the first ends, however it ends. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { spawnIn } from "@weft/kernel/netns";
import { NODE, TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(60_000);

let node: TestNode;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
});
afterAll(() => node.close());

function second(): Bun.Subprocess {
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
  pod.sh("ping -c1 -W2 172.30.0.11");
  await node.del(pod);
  node.removePod(pod);

  child.kill("SIGKILL");
  await child.exited;
  await node.start();
});
