/** The control plane goes back in time. */
import assert from "node:assert/strict";
import type { Cluster } from "../cluster.ts";
import { until } from "../command.ts";
import { nothingLeft, pair, removePair, serverBack } from "./faults.ts";
import { everyAgent } from "./nodes.ts";
import { allReachAll } from "./pods.ts";
import type { Case } from "./suite.ts";

/** In the order in which they start. */
const CONTROL_PLANE = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/** Stops the control plane, runs a command on its machine, and starts it again. */
async function withoutControlPlane(cluster: Cluster, script: string): Promise<void> {
  const services = CONTROL_PLANE.map((name) => cluster.controlPlane.running(name));
  for (const service of services.toReversed()) await service.stop();
  await cluster.controlPlane.exec(["sh", "-ec", script]);
  for (const service of services) service.start();
  await serverBack(cluster);
}

export const restored: Case = {
  name: "etcd restored from a backup: every agent comes to what is there, though its versions are older",
  async run(cluster) {
    const pods = await pair(cluster);
    await withoutControlPlane(cluster, "cp -a /run/etcd /run/backup");
    // What the backup does not know: a node, and a good many versions.
    const ghost = { name: "ghost", address: "172.31.1.251", podCIDR: "10.244.251.0/24" };
    await cluster.apply(
      {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: ghost.name },
        spec: { podCIDR: ghost.podCIDR, podCIDRs: [ghost.podCIDR] },
      },
      ...Array.from({ length: 50 }, (_, i) => ({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: `filler-${i}` },
      })),
    );
    const status = { addresses: [{ type: "InternalIP", address: ghost.address }] };
    const patch = ["--subresource=status", "--type=merge", "-p", JSON.stringify({ status })];
    await cluster.kubectl(["patch", "node", ghost.name, ...patch]);
    await everyAgent(cluster, "knows the new node", ({ peers }) => peers.some((p) => p.node === ghost.name));
    await withoutControlPlane(cluster, "rm -r /run/etcd && mv /run/backup /run/etcd");
    await everyAgent(cluster, "knows what is in the backup", ({ peers, source }) => {
      const known = new Set(peers.map((p) => p.node));
      return !known.has(ghost.name) && known.size === cluster.nodes.length - 1 && /: watching$/.test(source);
    });
    for (const { machine } of cluster.nodes) {
      assert(!(await machine.exec(["ip", "route"])).includes(ghost.podCIDR));
      // They wait for the former versions.
      await machine.running("kubelet").restart();
      await machine.running("kube-proxy").restart();
    }
    await cluster.untilReady();
    // A kubelet that has just started says of its pods that they do not exist, until it has looked.
    for (const { metadata } of pods)
      await until(`kubelet knows ${metadata.name}`, 60, async () => {
        const { code } = await cluster.attempt(["exec", metadata.name, "--", "sh", "-c", ":"]);
        return code === 0 ? true : undefined;
      });
    await allReachAll(cluster, pods);
    await removePair(cluster);
    await nothingLeft(cluster);
  },
};
