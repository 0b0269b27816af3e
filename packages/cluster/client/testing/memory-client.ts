/**
 * A process that watches a whole cluster and says how much memory that takes: `bun memory-client.ts URL`. It prints a
 * line of JSON once everything is listed, and one more for each line that it reads.
 */
import { type ClusterRows, createClient, watchCluster } from "../index.ts";
import { anonymous } from "./setup.ts";

const server = process.argv[2] as string;
const client = createClient({ credentials: anonymous(server) });
Bun.gc(true);
const before = process.memoryUsage();
let rows: ClusterRows | undefined;
let batches = 0;
const watch = watchCluster({
  client,
  containers: false,
  onChange(next) {
    rows = next;
    batches++;
  },
});

function say(): void {
  const peak = process.memoryUsage().rss;
  Bun.gc(true);
  const now = process.memoryUsage();
  const newest = rows?.pods.reduce((most, pod) => Math.max(most, Number(pod.labels["round"])), 0);
  const line = {
    nodes: rows?.nodes.length,
    blocks: rows?.blocks.length,
    pods: rows?.pods.length,
    newest,
    batches,
    version: watch.status().pods.resourceVersion,
    heap: now.heapUsed - before.heapUsed,
    rss: now.rss - before.rss,
    peak: peak - before.rss,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

await watch.ready;
say();
for await (const line of console) {
  // Gathered changes are told a moment later.
  while (watch.status().pods.resourceVersion !== line.trim()) await Bun.sleep(10);
  await Bun.sleep(300);
  say();
}
await watch.stop();
