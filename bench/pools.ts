/**
 * What address pools cost an ADD: Weft with a pool beside Weft with the node's podCIDR. Both are measured as in "cni".
 *
 * The node with the pool is one of a cluster as it runs: `weft server`, `weft controller`, a pool in small blocks, so
 * that a burst claims and gives back some, and pods that the API server knows before their ADD.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { macFromSeed, parseIp, parseIpWithLength, WeftError } from "@weft/base";
import { ALONE, measureRounds } from "./cni/rounds.ts";
import { createSide, newIdentity, type Pod, podIn, podsIn } from "./cni/runner.ts";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import type { Report } from "./report.ts";
import { logTail, type Session } from "./session/session.ts";
import { connect, startWeft, type WeftNode } from "./sides/weft.ts";

const NODE = "node1";
const ADDRESS = "198.18.1.11";
/** Of both nodes, which do not know of each other. */
const RANGE = "10.244.0.0/20";
const READY_MS = 120_000;
/** What a kubelet takes at least between hearing of a pod and its ADD: volumes, cgroups, a sandbox. */
const BEFORE_ADD_MS = 200;
const POOL = { apiVersion: "weft.network/v1alpha1", kind: "IPPool", metadata: { name: "bench" } };

export async function benchPools(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const wire = session.node("wire");
  const nodeOf = (label: string, link: string) => {
    const namespace = session.node(label);
    connect(
      { namespace, link: "eth0", address: parseIpWithLength(`${ADDRESS}/24`) },
      { namespace: wire, link },
      macFromSeed,
    );
    return namespace;
  };
  const api = await startApi(session);
  const pooled = await startWeft(session, "pooled", nodeOf("pooled", "a"), NODE, {
    kubeconfig: api.kubeconfig,
  });
  const plain = await startWeft(session, "plain", nodeOf("plain", "b"), NODE, [
    { name: NODE, address: parseIp(ADDRESS), podRange: RANGE },
  ]);
  const sideOf = (name: "weft" | "peer", { namespace, list, plugins }: WeftNode) =>
    createSide({ name, node: namespace, list, plugins, cache: join(session.memory, name) });
  const { rounds, figures } = await measureRounds(
    session,
    options,
    [
      {
        side: sideOf("weft", pooled),
        agent: pooled.agent.pid,
        pods: async (namespaces) => {
          const pods: Pod[] = [];
          for (const namespace of namespaces) pods.push(podIn(namespace, await api.pod(newIdentity().name)));
          await Bun.sleep(BEFORE_ADD_MS);
          return pods;
        },
      },
      { side: sideOf("peer", plain), agent: plain.agent.pid, pods: podsIn },
    ],
    say,
  );
  const blocks = await api.ask<{ items: unknown[] }>("GET", "/apis/weft.network/v1alpha1/ipblocks");
  return {
    suite: "pools",
    peer: "Weft with spec.podCIDRs of the node",
    figures: [...figures, count("blocks at the end", blocks.items.length)],
    notes: [
      `${options.pods} pods on each side; IPv4; a pool ${RANGE} in blocks of 64 addresses`,
      `each percentile is the median of those of ${rounds} rounds; ${ALONE} operations alone in a round`,
      `the API server knows a pod ${BEFORE_ADD_MS} ms before its ADD, as kubelets take that long at least`,
      "CPU is of the plugins' processes and of the agent, without the API server's and the controller's",
    ],
    machine: describeMachine(session.weft, []),
    command: `node_modules/.bin/bun run bench/run.ts pools --pods ${options.pods} --burst ${options.burst} --rounds ${rounds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

const count = (name: string, weft: number): Report["figures"][number] => ({
  name,
  unit: "count",
  weft,
  peer: undefined,
  better: "lower",
});

interface Api {
  readonly kubeconfig: string;
  ask<T>(method: string, path: string, body?: object): Promise<T>;
  /** Makes a pod of the node, as its scheduler and kubelet have it before they ask for its network. */
  pod(name: string): Promise<{ readonly name: string; readonly uid: string }>;
}

const core = (kind: string) => ({ apiVersion: "v1", kind });

/** An API server on a socket, with a node and a pool that the controller has found good. */
async function startApi(session: Session): Promise<Api> {
  const namespace = session.node("api");
  const data = join(session.directory, "server");
  const kubeconfig = join(data, "kubeconfig.socket");
  session.start(namespace, "server", [session.weft, "server", "--data", data, "--port", "0"]);
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await fetch(`http://server${path}`, {
      method,
      unix: join(data, "server.sock"),
      ...(body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
    return (await answer.json()) as T;
  };
  await until(
    session,
    "server",
    async () => existsSync(kubeconfig) && (await ask("GET", "/api")) !== undefined,
  );
  const pods = "/api/v1/namespaces/bench/pods";
  for (const name of ["bench", "weft-system"])
    await ask("POST", "/api/v1/namespaces", { ...core("Namespace"), metadata: { name } });
  await ask("POST", "/api/v1/nodes", {
    ...core("Node"),
    metadata: { name: NODE },
    status: { addresses: [{ type: "InternalIP", address: ADDRESS }] },
  });
  const words = ["--kubeconfig", kubeconfig, "--namespace", "weft-system"];
  session.start(namespace, "controller", [session.weft, "controller", ...words]);
  const pools = "/apis/weft.network/v1alpha1/ippools";
  await until(session, "controller", async () => {
    // Until the controller has made the kind.
    await ask("POST", pools, { ...POOL, spec: { cidr: RANGE, blockSize: 26 } });
    return true;
  });
  await until(session, "controller", async () => {
    const { status } = await ask<{ status?: { conditions?: { type: string; status: string }[] } }>(
      "GET",
      `${pools}/bench`,
    );
    return status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
  });
  return {
    kubeconfig,
    ask,
    async pod(name) {
      const { metadata } = await ask<{ metadata: { uid: string } }>("POST", pods, {
        ...core("Pod"),
        metadata: { name },
        spec: { nodeName: NODE, containers: [{ name: "c", image: "example/image:1" }] },
      });
      return { name, uid: metadata.uid };
    },
  };
}

async function until(session: Session, label: string, done: () => Promise<boolean>): Promise<void> {
  let last: unknown;
  for (const end = performance.now() + READY_MS; performance.now() < end; await Bun.sleep(50)) {
    try {
      if (await done()) return;
    } catch (error) {
      last = error;
    }
  }
  throw new WeftError("timeout", `the ${label} was not ready in ${READY_MS / 1000} s`, {
    object: label,
    hint: `The end of its log:\n${await logTail(session, label)}`,
    cause: last,
  });
}
