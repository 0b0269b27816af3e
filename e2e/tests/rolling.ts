/** Services whose endpoints are all replaced while clients ask them without a pause. */
import assert from "node:assert/strict";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster } from "../cluster.ts";
import { until } from "../command.ts";
import { say } from "../progress.ts";
import { deletePods, deployment, inPod, pod, readyOfLabel, runPods, serviceOf } from "./pods.ts";
import type { Case } from "./suite.ts";

const SERVICES = 100;
const REPLICAS = 2;
/**
 * Seconds that an endpoint serves on after it was told to end. The controller writes some 20 slices a second, and each
 * of the services has one: it must last until the last of them knows.
 */
const LINGER = 40;
const MOST_ROUNDS = 400;

const named = (i: number): string => `rolled-${i}`;

/** Asks every address, again and again, until there is a file /stop; gives how many requests there were, and failed. */
async function ask(cluster: Cluster, name: string, addresses: readonly string[]): Promise<[number, number]> {
  const urls = addresses.map((a) => `http://${urlHost(a)}/hostname`).join(" ");
  const script = `n=0; bad=0; round=0
    while [ ! -e /stop ] && [ $round -lt ${MOST_ROUNDS} ]; do
      round=$((round + 1))
      for url in ${urls}; do
        n=$((n + 1))
        netexec get $url > /dev/null 2>> /errors || { bad=$((bad + 1)); echo " $url" >> /errors; }
      done
    done
    echo $n $bad
    tail -n 5 /errors`;
  const [counts, ...errors] = (await inPod(cluster, name, script, 300_000)).trim().split("\n");
  const [asked, failed] = (counts as string).split(" ").map(Number) as [number, number];
  if (failed > 0) say(`  ${name}: ${errors.join("; ")}`);
  return [asked, failed];
}

export const rollingUpdate: Case = {
  name: `the endpoints of ${SERVICES} services are replaced under load, and no request fails`,
  async run(cluster) {
    await cluster.apply(
      deployment("rolled", REPLICAS, {
        linger: LINGER,
        rollingUpdate: { maxSurge: REPLICAS, maxUnavailable: 0 },
      }),
      ...Array.from({ length: SERVICES }, (_, i) => serviceOf("rolled", named(i))),
    );
    const first = await readyOfLabel(cluster, "app=rolled", REPLICAS, 90);
    const { items } = await cluster.get<{ items: { spec: { clusterIP: string } }[] }>(
      "services",
      "-l",
      "app=rolled",
    );
    const addresses = items.map((s) => s.spec.clusterIP);
    assert.equal(addresses.length, SERVICES);
    const askers = cluster.nodes.map(({ name }) => ({ name: `asker-${name}`, node: name }));
    await runPods(cluster, ...askers.map(({ name, node }) => pod(name, node)));
    for (const { name } of askers) {
      await until(`${name} reaches every service`, 60, async () => {
        const all = addresses
          .map((a) => `netexec get http://${urlHost(a)}/hostname > /dev/null`)
          .join(" && ");
        await inPod(cluster, name, all);
        return true;
      });
    }

    const asking = Promise.all(askers.map(({ name }) => ask(cluster, name, addresses)));
    await cluster.kubectl(["rollout", "restart", "deployment/rolled"]);
    await cluster.kubectl(["rollout", "status", "deployment/rolled", "--timeout=120s"], { timeout: 130_000 });
    // Those that were there before are gone, and so has every slice to be.
    const old = first.map((p) => `pod/${p.metadata.name}`);
    await cluster.kubectl(["wait", "--for=delete", "--timeout=120s", ...old], { timeout: 130_000 });
    for (const { name } of askers) await inPod(cluster, name, "touch /stop");
    const counts = await asking;

    const asked = counts.reduce((n, [all]) => n + all, 0);
    const failed = counts.reduce((n, [, bad]) => n + bad, 0);
    say(`  ${asked} requests, ${failed} failed`);
    assert(asked > SERVICES * askers.length, "every asker went round more than once");
    assert.equal(failed, 0);
    await cluster.kubectl(["delete", "service,deployment", "-l", "app=rolled"]);
    await cluster.kubectl(["delete", "deployment", "rolled", "--ignore-not-found", "--wait"]);
    await deletePods(cluster, ...askers.map(({ name }) => name));
  },
};
