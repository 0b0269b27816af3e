/** What the API asks for, told at every moment of what is being done about it. */
import { expect, test } from "bun:test";
import { systemClock } from "@weft/base";
import type { ApiClient, ApiRequest } from "@weft/cluster/client";
import type { PodObject } from "../controllers/objects.ts";
import type { NodeNetwork } from "./node-network.ts";
import { Pods } from "./pods.ts";
import { Limit } from "./wait.ts";

const KEY = "default/a";
/** Nothing of it can be started, as the lab does not have the image: no processes, no network. */
const podOf = (uid: string, metadata: object = {}): PodObject => ({
  metadata: { name: "a", namespace: "default", uid, ...metadata },
  spec: { nodeName: "node1", containers: [{ name: "c", image: "no-such-image" }] },
});
const going = (uid: string): PodObject =>
  podOf(uid, { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 0 });

function startPods(): { pods: Pods; deleted: string[] } {
  const deleted: string[] = [];
  const client = {
    server: "http://server",
    namespace: "default",
    close() {},
    async request({ method, body }: ApiRequest) {
      const { preconditions } = body as { preconditions: { uid: string } };
      if (method === "DELETE") deleted.push(preconditions.uid);
      return { kind: "Status" };
    },
  } as unknown as ApiClient;
  const network = { node: { name: "node1", addresses: [] } } as unknown as NodeNetwork;
  const pods = new Pods(new Map([["node1", network]]), {
    lab: "t",
    executable: "/nowhere",
    clock: systemClock,
    client,
    limit: new Limit(1),
    changed() {},
    notReady: () => undefined,
    event() {},
  });
  return { pods, deleted };
}

/** Lets everything run that waits for nothing. */
const settle = (): Promise<void> => Bun.sleep(0);

test("a pod that is to go goes, at whatever moment that is told", async () => {
  const lost: number[] = [];
  for (let moments = 0; moments < 30; moments++) {
    const { pods, deleted } = startPods();
    pods.take(KEY, podOf("1"));
    for (let i = 0; i < moments; i++) await null;
    pods.take(KEY, going("1"));
    await settle();
    if (!deleted.includes("1")) lost.push(moments);
    await pods.stop();
  }
  expect(lost).toEqual([]);
});

test("a pod that follows another of its name runs, at whatever moment that is told", async () => {
  const lost: number[] = [];
  for (let moments = 0; moments < 30; moments++) {
    const { pods } = startPods();
    pods.take(KEY, podOf("1"));
    await settle();
    pods.take(KEY, undefined);
    for (let i = 0; i < moments; i++) await null;
    pods.take(KEY, podOf("2"));
    await settle();
    if (pods.runner(KEY)?.uid !== "2") lost.push(moments);
    await pods.stop();
  }
  expect(lost).toEqual([]);
});
