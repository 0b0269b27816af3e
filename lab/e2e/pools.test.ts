/**
 * Address pools on a lab of IPv4 pods, over both racks, with real packets: added live, a node that is full, addresses on
 * loan, fixed addresses, a range that is replaced under load, translation, a second family.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { contains } from "@weft/base";
import {
  type ApiClient,
  createClient,
  createObject,
  deleteObject,
  getObject,
  IP_BLOCKS,
  IP_POOLS,
  type KubernetesObject,
  loadCredentials,
  NAMESPACES,
  PODS,
  patchObject,
  pathOf,
  SERVICES,
} from "@weft/cluster/client";
import { Lab } from "./harness/lab.ts";
import { newDirectory, start, until, useWeft, WEFT } from "./harness/weft.ts";

useWeft();
const SOURCE = join(import.meta.dir, "harness/source.ts");
const PORT = 5997;
const DEPLOYMENTS = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments", namespaced: true };
const NODES = ["node1", "node2", "node3"] as const;

let lab: Lab;
let client: ApiClient;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  lab = new Lab("--manifests", newDirectory("empty"), "--pods", "ipv4", "--underlay", "dual");
  await lab.upOk();
  client = createClient({ credentials: loadCredentials({ path: `/run/weft-lab/${lab.name}/kubeconfig` }) });
}, 180_000);
afterAll(async () => {
  for (const end of ends) await end();
  client?.close();
});

interface PodObject extends KubernetesObject {
  readonly spec: { readonly nodeName?: string };
  readonly status?: {
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}
interface BlockObject extends KubernetesObject {
  readonly spec: {
    readonly node?: string;
    readonly pool: string;
    readonly cidr: string;
    readonly loans?: readonly {
      readonly address?: string;
      readonly node: string;
      readonly returned?: boolean;
    }[];
  };
}

const list = async <T>(path: string): Promise<readonly T[]> =>
  (await client.request<{ items: readonly T[] }>({ path })).items;
const blocks = async (pool: string): Promise<readonly BlockObject[]> =>
  (await list<BlockObject>(pathOf(IP_BLOCKS))).filter((b) => b.spec.pool === pool);
const loans = async (pool: string) =>
  (await blocks(pool)).flatMap((b) =>
    (b.spec.loans ?? []).filter((l) => l.address !== undefined && l.returned !== true),
  );

async function makePool(name: string, cidr: string, spec: object = {}): Promise<void> {
  await createObject(client, IP_POOLS, { metadata: { name }, spec: { cidr, ...spec } });
  await until(`pool ${name} is ready`, 60_000, async () => (await readyOf(name)) === "True");
  // Agents hear of it a moment later.
  await until(`agents know pool ${name}`, 60_000, async () => {
    const agents = await lab.agents();
    return agents.every((a) => a.pools?.enabled === true);
  });
}
/** Agents hear of a change to pools a moment later: from then on each node gives pods addresses of the range. */
async function given(range: string): Promise<void> {
  const gives = async (node: string): Promise<boolean> => {
    const isGiven = on(await run(`try-${node}`, node), range);
    await remove(`try-${node}`);
    return isGiven;
  };
  await Promise.all(NODES.map((node) => until(`${node} gives ${range}`, 60_000, () => gives(node))));
}
async function readyOf(name: string): Promise<string | undefined> {
  const { status } = (await getObject(client, IP_POOLS, { name })) as unknown as {
    status?: { conditions?: { type: string; status: string }[] };
  };
  return status?.conditions?.find((c) => c.type === "Ready")?.status;
}

const template = (annotations: object = {}) => ({
  metadata: { labels: { app: "x" }, annotations },
  spec: {
    terminationGracePeriodSeconds: 3,
    containers: [
      {
        name: "echo",
        image: "weft/echo",
        ports: [{ name: "http", containerPort: 8080 }],
        readinessProbe: { httpGet: { port: "http" }, periodSeconds: 1 },
        lifecycle: { preStop: { sleep: { seconds: 2 } } },
      },
    ],
  },
});

/** Starts a pod on a node and gives its addresses when it is ready. */
async function run(name: string, node: string, annotations: object = {}): Promise<readonly string[]> {
  const { metadata, spec } = template(annotations);
  await createObject(client, PODS, {
    metadata: { ...metadata, name, namespace: "default", labels: { app: name } },
    spec: { ...spec, nodeName: node },
  });
  return ready(name);
}
async function ready(name: string): Promise<readonly string[]> {
  let last: PodObject | undefined;
  return until(
    `pod ${name} is ready`,
    60_000,
    async () => {
      last = await getObject<PodObject>(client, PODS, { namespace: "default", name });
      const isReady = last.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True");
      return isReady === true && (last.status?.podIPs ?? []).map((p) => p.ip);
    },
    () => last?.status,
    200,
  );
}
async function remove(...names: string[]): Promise<void> {
  for (const name of names) await deleteObject(client, PODS, { namespace: "default", name });
  await until("pods are gone", 60_000, async () => {
    const left = await list<PodObject>(pathOf(PODS, { namespace: "default" }));
    return !left.some((p) => names.includes(p.metadata.name));
  });
}
const on = (addresses: readonly string[], range: string): boolean =>
  addresses.every((a) => contains(range, `${a}/${a.includes(":") ? 128 : 32}`));

/** Everybody reaches everybody, nodes and pods, as `weft check` proves it. */
async function allReachAll(): Promise<void> {
  let said: unknown;
  await until(
    "all reach all",
    60_000,
    async () => {
      const { code, report } = await lab.check();
      said = report;
      return code === 0;
    },
    () => said,
    500,
  );
}

test("a pool added live: new pods have addresses of it, old ones keep theirs, all reach all by tunnel and without", async () => {
  for (const node of NODES) expect(on(await run(`old-${node}`, node), "10.244.0.0/16")).toBe(true);
  await makePool("p", "10.200.0.0/26", { blockSize: 28 });
  for (const node of NODES) expect(on(await run(`new-${node}`, node), "10.200.0.0/26")).toBe(true);
  const all = await blocks("p");
  expect(new Set(all.map((b) => b.spec.node))).toEqual(new Set(NODES));
  await allReachAll();
  const paths = (await lab.agent("node1")).peers.filter((p) => contains("10.200.0.0/26", p.block));
  expect(new Set(paths.map((p) => p.backend))).toEqual(new Set(["direct", "vxlan"]));
}, 240_000);

test("a node that is full claims a second block, then borrows; borrowed addresses are reached from everywhere", async () => {
  await makePool("small", "10.201.0.0/28", {
    blockSize: 30,
    namespaceSelector: { matchLabels: { none: "x" } },
  });
  const asks = { "weft.network/pools": "small" };
  for (const node of ["node2", "node3"])
    expect(on(await run(`small-${node}`, node, asks), "10.201.0.0/28")).toBe(true);
  const names = Array.from({ length: 9 }, (_, i) => `full-${i}`);
  const addresses: string[] = [];
  for (const name of names) addresses.push(...(await run(name, "node1", asks)));
  expect(new Set(addresses).size).toBe(9);
  expect(on(addresses, "10.201.0.0/28")).toBe(true);
  const all = await blocks("small");
  expect(all.filter((b) => b.spec.node === "node1")).toHaveLength(2);
  const lent = await loans("small");
  expect(lent.length).toBeGreaterThan(0);
  expect(lent.every((l) => l.node === "node1" && addresses.includes(l.address as string))).toBe(true);
  await allReachAll();
  // From the outside of nodes too: each node, the lender among them, has a route to the one address.
  for (const node of NODES) {
    for (const { address } of lent)
      await lab.sh(node, `curl -sf --max-time 200 -o /dev/null http://${address}:8080/`);
  }
  await remove(...names);
  await until("loans went back", 60_000, async () => (await loans("small")).length === 0);
  // Free again: whoever has the block can give it out.
  await remove("small-node2", "small-node3");
}, 240_000);

test("a pod with a fixed address moves over both racks with it", async () => {
  const address = "10.200.0.50";
  const asks = { "weft.network/addresses": address };
  for (const node of ["node1", "node3", "node2", "node1"]) {
    expect(await run("fixed", node, asks)).toEqual([address]);
    for (const from of [...NODES, "default/old-node1", "default/new-node3"]) {
      const ask = `for i in 1 2 3 4 5 6 7 8; do curl -sf --max-time 20 -o /dev/null http://${address}:8080/ && exit 0; sleep 0.3; done; exit 1`;
      await lab.sh(from, ask);
    }
    await remove("fixed");
  }
}, 180_000);

test("what pods send out is translated or not, as their pool says", async () => {
  const outside = lab.topology.outside.find((a) => !a.includes(":")) as string;
  const server = start(
    [
      WEFT,
      "lab",
      "exec",
      "--name",
      lab.name,
      "outside",
      "--",
      process.execPath,
      SOURCE,
      "serve",
      String(PORT),
    ],
    180_000,
  );
  const { value } = await server.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("listening\n");
  ends.push(() => server.kill());
  const seen = async (): Promise<string> => {
    const words = ["default/new-node3", "--", process.execPath, SOURCE, "ask", "udp", outside, String(PORT)];
    const asked = start([WEFT, "lab", "exec", "--name", lab.name, ...words]);
    return (await new Response(asked.stdout).text()).trim();
  };
  const node3 = lab.topology.nodes.find((n) => n.name === "node3")?.addresses.find((a) => !a.includes(":"));
  expect(await seen()).toBe(node3 as string);
  // Nobody outside knows a way back to a pod: packets with its own address are counted where they pass.
  const rule = [
    "nft add table inet pools",
    "nft add chain inet pools c '{ type filter hook prerouting priority -400; }'",
    "nft add rule inet pools c ip saddr 10.200.0.0/16 ip daddr $OUTSIDE counter",
  ].join(" && ");
  await lab.sh("spine", rule.replace("$OUTSIDE", outside));
  const count = async (): Promise<number> =>
    Number(/packets (\d+)/.exec(await lab.sh("spine", "nft list table inet pools"))?.[1]);
  expect(await count()).toBe(0);
  await patchObject(client, IP_POOLS, { name: "p" }, "merge", { spec: { natOutgoing: false } });
  await until("it goes untranslated", 60_000, async () => {
    await lab.exec("default/new-node3", `ping -c 1 -W 1 ${outside}`);
    return (await count()) > 0;
  });
  await patchObject(client, IP_POOLS, { name: "p" }, "merge", { spec: { natOutgoing: true } });
  await until("it is translated again", 60_000, async () => (await seen()) === node3);
  await lab.sh("spine", "nft delete table inet pools");
}, 240_000);

test("a range is replaced under load, and no request fails; the pool goes when its last pod has", async () => {
  await createObject(client, DEPLOYMENTS, {
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas: 4,
      selector: { matchLabels: { app: "web" } },
      template: { ...template(), metadata: { labels: { app: "web" } } },
    },
  } as KubernetesObject);
  await createObject(client, SERVICES, {
    metadata: { name: "web", namespace: "default" },
    spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
  } as KubernetesObject);
  const pods = async (): Promise<readonly PodObject[]> =>
    (await list<PodObject>(pathOf(PODS, { namespace: "default" }))).filter((p) =>
      p.metadata.name.startsWith("web-"),
    );
  const settled = (range: string) =>
    until(`four pods in ${range}`, 60_000, async () => {
      const all = await pods();
      const ips = all.flatMap((p) => p.status?.podIPs ?? []).map((p) => p.ip);
      const isReady = (p: PodObject) =>
        p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True");
      return all.length === 4 && all.every(isReady) && ips.length === 4 && on(ips, range);
    });
  await settled("10.200.0.0/26");
  const { spec } = (await getObject(client, SERVICES, { namespace: "default", name: "web" })) as unknown as {
    spec: { clusterIP: string };
  };
  const url = `http://${spec.clusterIP}/`;
  await until(
    "the service answers",
    60_000,
    async () => (await lab.exec("node2", `curl -sf --max-time 20 ${url}`)).code === 0,
  );
  await makePool("q", "10.202.0.0/24", { blockSize: 28 });
  await patchObject(client, IP_POOLS, { name: "p" }, "merge", { spec: { disabled: true } });
  await given("10.202.0.0/24");
  const load = lab.exec(
    "node2",
    `for i in $(seq 600); do curl -sf --max-time 20 -o /dev/null ${url} || echo failed $i $?; sleep 0.02; done; echo done`,
  );
  const restartedAt = new Date().toISOString();
  await patchObject(client, DEPLOYMENTS, { namespace: "default", name: "web" }, "merge", {
    spec: { template: { metadata: { annotations: { restartedAt } } } },
  });
  await settled("10.202.0.0/24");
  expect((await load).stdout).toBe("done\n");
  await deleteObject(client, IP_POOLS, { name: "p" });
  // Pods of it run on, and it says what it waits for.
  await until("it is going", 60_000, async () => (await readyOf("p")) === "False");
  await allReachAll();
  await remove(...NODES.map((n) => `new-${n}`));
  await until(
    "pool p is gone",
    120_000,
    async () => (await list<KubernetesObject>(pathOf(IP_POOLS))).every((p) => p.metadata.name !== "p"),
    () => "",
    500,
  );
  expect(await blocks("p")).toEqual([]);
  for (const node of NODES)
    expect(await lab.sh(node, "ip route show table all proto 87")).not.toContain("10.200.0.");
}, 240_000);

test("a second family added live: pods that start have both, those that run stay as they are", async () => {
  await makePool("six", "fd00:200::/64");
  await until("each node has a block of it", 60_000, async () => {
    const owners = new Set((await blocks("six")).map((b) => b.spec.node));
    return owners.size === NODES.length;
  });
  for (const node of NODES) {
    const addresses = await run(`both-${node}`, node);
    expect(addresses).toHaveLength(2);
    expect(
      on(
        addresses.filter((a) => a.includes(":")),
        "fd00:200::/64",
      ),
    ).toBe(true);
  }
  expect(await ready("old-node1")).toHaveLength(1);
  await allReachAll();
}, 240_000);

test("a pool in the range of Services is refused, with the reason", async () => {
  await createObject(client, IP_POOLS, { metadata: { name: "services" }, spec: { cidr: "10.96.8.0/24" } });
  const condition = await until("the pool is judged", 60_000, async () => {
    const { status } = (await getObject(client, IP_POOLS, { name: "services" })) as unknown as {
      status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
    };
    return status?.conditions?.find((c) => c.type === "Ready");
  });
  expect(condition).toMatchObject({ status: "False", reason: "OverlapsServiceRange" });
  expect(condition.message).toContain("10.96.0.0/16 of ServiceCIDR kubernetes");
  await deleteObject(client, IP_POOLS, { name: "services" });
});

test("a pool is for the namespaces that it selects", async () => {
  await createObject(client, NAMESPACES, { metadata: { name: "team", labels: { team: "x" } } });
  await makePool("team", "10.203.0.0/24", {
    blockSize: 28,
    namespaceSelector: { matchLabels: { team: "x" } },
  });
  const { spec } = template();
  const started = async (): Promise<string> => {
    await createObject(client, PODS, {
      metadata: { name: "ours", namespace: "team" },
      spec: { ...spec, nodeName: "node2" },
    } as KubernetesObject);
    return until("it has an address", 60_000, async () => {
      const pod = await getObject<PodObject>(client, PODS, { namespace: "team", name: "ours" });
      return pod.status?.podIPs?.find((p) => !p.ip.includes(":"))?.ip;
    });
  };
  // The oldest that applies comes first; it is the pool of all.
  expect(on([await started()], "10.202.0.0/24")).toBe(true);
  await patchObject(client, NAMESPACES, { name: "team" }, "merge", {
    metadata: { annotations: { "weft.network/pools": "team" } },
  });
  // From when the agent has heard of it.
  await until("a new one has an address of its namespace's pool", 60_000, async () => {
    await deleteObject(client, PODS, { namespace: "team", name: "ours" });
    await until(
      "it is gone",
      60_000,
      async () => (await list(pathOf(PODS, { namespace: "team" }))).length === 0,
    );
    return on([await started()], "10.203.0.0/24");
  });
  await allReachAll();
}, 240_000);
