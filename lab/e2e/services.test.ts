/** Services of manifests, with real packets between nodes: who answers, from which address, and what the command line says. */
import { beforeAll, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ServiceDetail, ServiceSummary } from "@weft/model";
import { Lab } from "./harness/lab.ts";
import { newDirectory, until, useWeft, weft, weftOk } from "./harness/weft.ts";

useWeft();
let lab: Lab;
let manifests: string;
const ips = new Map<string, readonly string[]>();

const write = (name: string, ...objects: readonly object[]): void =>
  writeFileSync(join(manifests, `${name}.yaml`), objects.map((o) => JSON.stringify(o)).join("\n---\n"));

const pod = (name: string, nodeName: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { nodeName, containers: [{ name: "echo", image: "weft/echo" }] },
});
const service = (name: string, spec: object): object => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec,
});
/** The pods' echo on TCP 7000, in the slice of a family. */
function slice(
  of: string,
  family: 4 | 6,
  ...endpoints: readonly { name: string; node: string; conditions?: object }[]
) {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${of}-${family}`, labels: { "kubernetes.io/service-name": of } },
    addressType: `IPv${family}`,
    ports: [{ name: "", port: 7000, protocol: "TCP" }],
    endpoints: endpoints.map(({ name, node, conditions = { ready: true } }) => ({
      addresses: [ips.get(name)?.[family === 4 ? 0 : 1]],
      nodeName: node,
      conditions,
    })),
  };
}

interface Heard {
  readonly name: string;
  readonly client: string;
}
/** Connects some times; what the pods that answered said, each once. */
async function ask(from: string, host: string, port: number): Promise<Heard[]> {
  const line = `for i in $(seq 32); do (exec 3<>/dev/tcp/${host}/${port} && head -n 1 <&3) 2>/dev/null || echo refused; done`;
  const said = (await lab.sh(from, line)).trim().split("\n");
  const heard = new Map<string, Heard>();
  for (const text of said) {
    const answer = text === "refused" ? { name: "refused", client: "" } : (JSON.parse(text) as Heard);
    heard.set(`${answer.name} ${answer.client}`, { name: answer.name, client: answer.client });
  }
  return [...heard.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
const names = (heard: readonly Heard[]): string[] => [...new Set(heard.map((h) => h.name))];

/** Every node has that many frontends, in the kernel too. */
const served = (frontends: number): Promise<boolean> =>
  until(`${frontends} frontends on every node`, 60_000, async () => {
    const agents = await lab.agents();
    return agents.every(
      ({ services: s }) =>
        s.state === "active" && s.frontends === frontends && s.plan.every((t) => t.done === t.rows),
    );
  });

beforeAll(async () => {
  manifests = newDirectory("services");
  lab = new Lab("--nodes", "2", "--racks", "2", "--manifests", manifests);
  write("pods", pod("a", "node1"), pod("b", "node2"), pod("client", "node1"));
  await lab.upOk();
  for (const name of ["a", "b", "client"]) ips.set(name, (await lab.untilReady(name)).podIPs);
}, 240_000);

const BOTH = [
  { name: "a", node: "node1" },
  { name: "b", node: "node2" },
];

test("a cluster address and a node port lead to pods of all nodes, in both families", async () => {
  const spec = {
    type: "NodePort",
    clusterIPs: ["10.96.0.10", "fd00:96::10"],
    ports: [{ port: 80, nodePort: 30080 }],
  };
  write("web", service("web", spec), slice("web", 4, ...BOTH), slice("web", 6, ...BOTH));
  await served(4);
  for (const host of ["10.96.0.10", "fd00:96::10"]) {
    const heard = await ask("client", host, 80);
    expect(names(heard)).toEqual(["a", "b"]);
    // A pod's own address all the way, to the other node as well.
    for (const { client } of heard) expect(ips.get("client")).toContain(client);
  }
  expect(names(await ask("node2", "10.96.0.10", 80))).toEqual(["a", "b"]);
  // To itself through the service: it must not see its own address as the client, or it would answer past the node.
  expect(names(await ask("a", "10.96.0.10", 80))).toEqual(["a", "b"]);
  for (const node of lab.topology.nodes) {
    for (const address of node.addresses) {
      expect(names(await ask("outside", address, 30080))).toEqual(["a", "b"]);
    }
  }
}, 120_000);

test("external traffic that stays on the node keeps its source; a node without endpoints does not answer", async () => {
  const spec = {
    type: "LoadBalancer",
    clusterIP: "10.96.0.11",
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 32000,
    ports: [{ port: 80, nodePort: 30081 }],
  };
  const [node1, node2] = lab.topology.nodes.map((n) => n.addresses[0] as string);
  write("local", service("local", spec), slice("local", 4, { name: "b", node: "node2" }));
  await served(7);
  expect(await ask("outside", node2 ?? "", 30081)).toEqual([{ name: "b", client: "203.0.113.10" }]);
  const health = (host: string | undefined): Promise<string> =>
    lab.sh("outside", `curl -s -o /dev/null -w '%{http_code}' http://${host}:32000/`);
  await until("the ports are open", 60_000, async () => (await health(node2)) === "200");
  expect(await health(node1)).toBe("503");
  const { code } = await lab.exec("outside", `timeout 2 bash -c 'exec 3<>/dev/tcp/${node1}/30081'`);
  expect(code).toBe(124);
  // The node's own pods go to wherever the endpoint is.
  expect(names(await ask("client", node1 ?? "", 30081))).toEqual(["b"]);
}, 120_000);

test("the command line shows who is used, and why others are not", async () => {
  write(
    "web",
    service("web", { clusterIP: "10.96.0.10", ports: [{ port: 80 }] }),
    slice("web", 4, { name: "a", node: "node1", conditions: { ready: false } }, { name: "b", node: "node2" }),
  );
  await served(4);
  expect(names(await ask("client", "10.96.0.10", 80))).toEqual(["b"]);
  const shown = await weftOk("service", "show", "web", "--lab", lab.name);
  expect(shown).toContain("default/web, ClusterIP");
  expect(shown).toMatch(
    /node1 +10\.96\.0\.10:80\/TCP +all +1, random +kept for this node's +done +spec\.clusterIPs?/,
  );
  expect(shown).toMatch(/node1 +[\d.]+:7000\/TCP +node1 +unready +nothing +0 +web-4 +is not ready/);
  expect(shown).toMatch(
    /node1 +[\d.]+:7000\/TCP +node2 +ready +traffic to any node +0 +web-4 +is on node node2/,
  );
  const json = JSON.parse(await weftOk("service", "show", "web", "--lab", lab.name, "--json")) as {
    nodes: ServiceDetail[];
  };
  expect(json.nodes.map((n) => n.node)).toEqual(["node1", "node2"]);
  const list = JSON.parse(await weftOk("service", "ls", "--lab", lab.name, "--json")) as {
    services: ServiceSummary[];
  };
  expect(list.services.map((s) => [s.name, s.ready, s.endpoints])).toEqual([
    ["local", 1, 1],
    ["web", 1, 2],
  ]);
  expect(await weftOk("service", "ls", "--lab", lab.name, "-n", "default")).toMatch(
    /default +web +ClusterIP +10\.96\.0\.10 +- +80\/TCP +1\/2/,
  );
  const none = await weft("service", "show", "nobody", "--lab", lab.name);
  expect([none.code, none.stderr]).toEqual([
    1,
    "weft: there is no Service default/nobody\n      See: weft service ls\n",
  ]);
}, 120_000);

test("endpoints that end still answer while nobody is ready; without any it is refused; and all of it goes", async () => {
  const ending = { ready: false, serving: true, terminating: true };
  const web = service("web", { clusterIP: "10.96.0.10", ports: [{ port: 80 }] });
  write("web", web, slice("web", 4, ...BOTH.map((e) => ({ ...e, conditions: ending }))));
  await until("both end", 60_000, async () => names(await ask("client", "10.96.0.10", 80)).join() === "a,b");
  write("web", web);
  await until(
    "it is refused",
    60_000,
    async () => names(await ask("client", "10.96.0.10", 80)).join() === "refused",
  );
  rmSync(join(manifests, "web.yaml"));
  rmSync(join(manifests, "local.yaml"));
  await served(0);
  const left = await lab.sh("node1", "nft list map inet weft-services frontends4");
  expect(left).not.toContain("10.96.0.10");
}, 120_000);
