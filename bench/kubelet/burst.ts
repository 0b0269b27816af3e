/** One burst: so many pods created at once on a side's node, until all are ready; then all are deleted. */
import { WeftError } from "@weft/base";
import { type Cluster, type Node, PAUSE_IMAGE } from "@weft/e2e";
import { setupsBetween, setupsSoFar } from "./plugins.ts";
import { watchPods } from "./watch.ts";

/** A watch is not told of as established: what is created later is certain to be seen. */
const WATCH_MS = 2000;
/** What the kernel, containerd and kubelet do after a burst's end must not fall into the next. */
const REST_MS = 5000;
const SECONDS = 300;

export interface Burst {
  /** Milliseconds from created to ready, one a pod. */
  readonly starts: readonly number[];
  /** Milliseconds from the first created to the last ready. */
  readonly whole: number;
  /** Milliseconds of each pod's network, mean. */
  readonly add: number;
}

export async function runBurst(cluster: Cluster, round: number, size: number): Promise<Burst> {
  const node = cluster.nodes[0] as Node;
  const label = `burst=r${round}`;
  const names = Array.from({ length: size }, (_, i) => `r${round}-${i}`);
  const watch = await watchPods(cluster, label);
  try {
    await Bun.sleep(WATCH_MS);
    const before = await setupsSoFar(node);
    const list = { apiVersion: "v1", kind: "List", items: names.map((name) => pod(name, `r${round}`)) };
    await cluster.kubectl(["create", "-f", "-"], { input: JSON.stringify(list), timeout: 120_000 });
    const seen = await watch.ready(size, SECONDS);
    const { count, seconds } = setupsBetween(before, await setupsSoFar(node));
    if (count !== size)
      throw new WeftError("internal", `containerd set up ${count} networks for ${size} pods`);
    return {
      starts: seen.map((s) => s.ready - s.created),
      whole: Math.max(...seen.map((s) => s.ready)) - Math.min(...seen.map((s) => s.created)),
      add: (seconds / count) * 1000,
    };
  } finally {
    await watch.stop();
    const remove = ["delete", "pods", "-l", label, "--wait", "--timeout=240s"];
    await cluster.kubectl(remove, { timeout: 250_000 });
    await Bun.sleep(REST_MS);
  }
}

/** It only sleeps, and is ready when it runs: what is measured is what lies before. */
const pod = (name: string, burst: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { burst } },
  spec: {
    terminationGracePeriodSeconds: 1,
    enableServiceLinks: false,
    automountServiceAccountToken: false,
    containers: [{ name: "pause", image: PAUSE_IMAGE }],
  },
});
