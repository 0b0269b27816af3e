/**
 * A process that watches a whole cluster and says how much memory that takes: `bun memory-client.ts URL`. It prints a
 * line of JSON once everything is listed, and one more for each line that it reads: a version and a round, once it has
 * heard of that version and has a row of that round.
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

const newest = (): number | undefined =>
  rows?.pods.reduce((most, pod) => Math.max(most, Number(pod.labels["round"])), 0);

function say(): void {
  const peak = process.memoryUsage().rss;
  Bun.gc(true);
  const now = process.memoryUsage();
  const line = {
    nodes: rows?.nodes.length,
    blocks: rows?.blocks.length,
    pods: rows?.pods.length,
    newest: newest(),
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
  const [version, round] = line.trim().split(" ");
  while (watch.status().pods.resourceVersion !== version) await Bun.sleep(10);
  // Gathered changes are told a moment later.
  do await Bun.sleep(300);
  while (newest() !== Number(round));
  say();
}
await watch.stop();
