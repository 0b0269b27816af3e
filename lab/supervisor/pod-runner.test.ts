/** One pod's end, with real processes in this process's own network. */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { systemClock } from "@weft/base";
import { openOwnNetns } from "@weft/kernel/netns";
import type { Handler, PodObject } from "../controllers/objects.ts";
import { labPaths } from "../state.ts";
import type { NodeNetwork } from "./node-network.ts";
import { PodRunner } from "./pod-runner.ts";
import { Limit } from "./wait.ts";

const LAB = `tr-${process.pid}`;
afterAll(() => rmSync(labPaths(LAB).base, { recursive: true, force: true }));

const PATIENCE_MS = 20_000;
const podOf = (preStop: Handler): PodObject => ({
  metadata: { name: "a", namespace: "default", uid: "1" },
  spec: {
    nodeName: "node1",
    hostNetwork: true,
    containers: [{ name: "c", image: "weft/pause", lifecycle: { preStop } }],
  },
});

test.each([
  ["sleep", { sleep: { seconds: 100 } }],
  ["a command", { exec: { command: ["sleep", "100"] } }],
] as const)(
  "a shorter grace counts also while preStop runs: %s",
  async (_, preStop) => {
    const told: string[] = [];
    const network = {
      node: { name: "node1", addresses: [] },
      namespace: openOwnNetns(),
      attach: async () => ({
        containerId: undefined,
        namespace: openOwnNetns(),
        interface: undefined,
        addresses: [],
      }),
      detach: async (_: unknown, { namespace }: { namespace: { close(): void } }) => namespace.close(),
    } as unknown as NodeNetwork;
    const runner = new PodRunner(podOf(preStop as Handler), network, {
      lab: LAB,
      executable: "/nowhere",
      clock: systemClock,
      limit: new Limit(1),
      changed() {},
      notReady: () => undefined,
      event: (_pod, _node, { reason }) => void told.push(reason),
    });
    runner.start();
    try {
      while (!told.includes("Started")) await Bun.sleep(5);
      const ended = runner.terminate(100_000, new AbortController().signal);
      while (!told.includes("Killing")) await Bun.sleep(5);
      runner.hasten(100);
      const late = Bun.sleep(PATIENCE_MS).then(() => "it went on");
      expect(await Promise.race([ended.then(() => "it ended"), late])).toBe("it ended");
      expect(told.filter((reason) => reason === "Started")).toHaveLength(1);
    } finally {
      await runner.stop();
      network.namespace.close();
    }
  },
  60_000,
);
