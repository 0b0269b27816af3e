/**
 * Services by the agent's executable: manifests to packets, health check ports, who may be off, restarts, and an ADD
 * beside a large change.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { inNetns } from "@weft/kernel/netns";
import type { ServiceDetail, ServiceSummary, ServicesStatus } from "@weft/model";
import { hears } from "./testing/hears.ts";
import type { TestNamespace } from "./testing/namespaces.ts";
import { TestNode, type TestPod } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(400_000);

const SETTINGS =
  'serviceCIDRs: [10.96.0.0/16, "fd00:96::/112"]\nclusterCIDRs: [10.240.0.0/16, "fd00:240::/32"]\n';
/** Answers each connection with one word, in the namespace, until the test ends. */
const SERVER = `
  const [word, ...hosts] = process.argv.slice(1);
  for (const hostname of hosts)
    Bun.listen({ hostname, port: 8080, socket: { open(s) { s.end(word); }, data() {} } });
  console.log("listening");
  setTimeout(() => process.exit(), 3_600_000);
`;

let node: TestNode;
let pods: TestPod[];
beforeAll(async () => {
  node = new TestNode({ settings: SETTINGS });
  await node.start();
  pods = [await node.add(), await node.add()];
  await Promise.all(pods.map((pod, i) => serve(pod, `pod${i}`, pod.addresses)));
  for (const range of ["10.96.0.0/16", "10.240.0.0/16"])
    node.outside.sh(`ip route replace ${range} via 172.30.0.11`);
});
afterAll(() => node.close());

/** Returns once it listens. */
async function serve(where: TestNamespace, word: string, hosts: readonly string[]): Promise<void> {
  const argv = ["setpriv", "--pdeathsig", "KILL", process.execPath, "-e", SERVER, word, ...hosts];
  const child = inNetns(where.self.fd, () => Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" }));
  node.companions.push(child);
  const { value } = await child.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("listening\n");
}

/** So many that two backends which are chosen at random both answer, once in a billion runs excepted. */
const DIALS = 32;

/** Each of what answers there, "refused" and "silent"; silence is only waited for as long as is said. */
async function answers(from: TestNamespace, host: string, port = 80, patience = 20_000): Promise<string[]> {
  const script = `
    const dial = () => {
      const word = Promise.withResolvers();
      Bun.connect({ hostname: ${JSON.stringify(host)}, port: ${port}, socket: {
        data(s, d) { word.resolve(d.toString()); }, close() { word.resolve("closed"); },
        connectError(s, e) { word.resolve("refused"); }, open() {} } }).catch(() => word.resolve("refused"));
      return Promise.race([word.promise, Bun.sleep(${patience}).then(() => "silent")]);
    };
    const heard = await Promise.all(Array.from({ length: ${DIALS} }, dial));
    console.log([...new Set(heard)].sort().join());
    process.exit();
  `;
  const child = inNetns(from.self.fd, () => Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" }));
  return (await new Response(child.stdout).text()).trim().split(",");
}

const service = (name: string, spec: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, uid: u-${name}}\nspec: ${spec}\n`;
const slice = (name: string, of: string, family: 4 | 6, endpoints: string): string =>
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: {kubernetes.io/service-name: ${of}}}\n` +
  `addressType: IPv${family}\nports: [{name: "", port: 8080}]\nendpoints: ${endpoints}\n`;
const endpoints = (family: 4 | 6, more = "nodeName: node1"): string =>
  `[${pods.map((p) => `{addresses: ["${p.addresses[family === 4 ? 0 : 1]}"], ${more}}`).join(", ")}]`;

async function services(until: (s: ServicesStatus) => boolean): Promise<ServicesStatus> {
  let last: ServicesStatus | undefined;
  await eventually(
    "services are as they should be",
    async () => {
      last = (await node.status()).services;
      return until(last) && last.plan.every((t) => t.pending === 0);
    },
    60_000,
    () => `${JSON.stringify(last, null, 1).slice(0, 3000)}\n${node.log()}`,
  );
  return last as ServicesStatus;
}
const ruleset = (): string => node.node.sh("nft list ruleset");

test("manifests of a Service and its slices are connections to its pods, in both families", async () => {
  const spec =
    '{type: NodePort, clusterIPs: [10.96.0.1, "fd00:96::1"], ports: [{port: 80, nodePort: 30080}]}';
  const text =
    service("web", spec) + slice("w4", "web", 4, endpoints(4)) + slice("w6", "web", 6, endpoints(6));
  node.writeManifest("web", text);
  const state = await services((s) => s.frontends === 4);
  expect([state.state, state.healthy, state.problems, state.sourceErrors]).toEqual(["active", true, [], []]);
  for (const from of [pods[0] as TestPod, node.node, node.outside]) {
    expect(await answers(from, "10.96.0.1")).toEqual(["pod0", "pod1"]);
  }
  expect(await answers(pods[1] as TestPod, "fd00:96::1")).toEqual(["pod0", "pod1"]);
  expect(await answers(node.outside, "172.30.0.11", 30080)).toEqual(["pod0", "pod1"]);
  expect(await answers(pods[0] as TestPod, "10.96.0.1", 81)).toEqual(["refused"]);
  expect(await answers(pods[0] as TestPod, "10.96.0.77")).toEqual(["refused"]);

  const { service: detail } = JSON.parse(
    (await node.request("POST", "/v1/services/show", JSON.stringify({ namespace: "default", name: "web" })))
      .text,
  ) as { service: ServiceDetail };
  expect(detail.frontends.map((f) => [f.state, String(f.row.match.address)])).toEqual([
    ["done", "10.96.0.1"],
    ["done", "fd00:96::1"],
    ["done", "node"],
    ["done", "node"],
  ]);
  expect(detail.endpoints.map((e) => [e.slice, e.cluster, e.local, e.why])).toEqual([
    ["w4", true, true, undefined],
    ["w4", true, true, undefined],
    ["w6", true, true, undefined],
    ["w6", true, true, undefined],
  ] as never);
  const list = await node.get<ServiceSummary[]>("/v1/services");
  expect(list.map((s) => [s.name, s.ports, s.ready, s.endpoints])).toEqual([["web", ["80:30080/TCP"], 4, 4]]);
  const none = await node.request("POST", "/v1/services/show", JSON.stringify({ namespace: "x", name: "y" }));
  expect([none.status, none.text]).toEqual([200, '{"service":null}']);
});

test("a client that keeps to one port is led away from an endpoint that is gone", async () => {
  const only = (n: number): string => `[{addresses: ["${pods[n]?.addresses[0]}"], nodeName: node1}]`;
  const manifest = (n: number): string =>
    service("dns", "{clusterIPs: [10.96.0.53], ports: [{port: 53, protocol: UDP}]}") +
    slice("d4", "dns", 4, only(n)).replace("port: 8080}", "port: 8080, protocol: UDP}");
  const flows = (): string[] =>
    [
      ...node.node
        .sh("conntrack -L -p udp --orig-dst 10.96.0.53 2>/dev/null")
        .matchAll(/dport=53 .*src=(\S+) dst/g),
    ].map((m) => m[1] as string);
  const connections = async (): Promise<(readonly number[] | undefined)[]> => {
    const body = JSON.stringify({ namespace: "default", name: "dns" });
    const { service: detail } = JSON.parse((await node.request("POST", "/v1/services/show", body)).text) as {
      service: ServiceDetail;
    };
    return detail.frontends.map((f) => f.connections);
  };
  node.writeManifest("dns", manifest(0));
  const before = (await services((s) => s.services > 0 && s.state === "active")).frontends;
  await eventually("the service is there", () => ruleset().includes("10.96.0.53"));
  expect(before).toBeGreaterThan(0);
  const client = pods[1] as TestPod;
  await eventually("it has a flow", () => {
    if (flows().length > 0) return true;
    client.run("bash", "-c", "echo x > /dev/udp/10.96.0.53/53");
    return flows().length > 0;
  });
  expect([flows(), await connections()]).toEqual([[pods[0]?.addresses[0] as string], [[1]]]);
  node.writeManifest("dns", manifest(1));
  await eventually("its flow is gone", () => flows().length === 0);
  expect(await connections()).toEqual([[0]]);
  node.removeManifest("dns");
  await eventually("the service is gone", () => !ruleset().includes("10.96.0.53"));
});

test("an agent that is started again writes nothing; what drifts is put right", async () => {
  const before = ruleset();
  const monitor = inNetns(node.node.self.fd, () => Bun.spawn(["nft", "monitor"], { stdout: "pipe" }));
  await eventually("it listens", () => hears(monitor.pid));
  await node.stop("SIGKILL");
  await node.start();
  await services((s) => s.state === "active" && s.frontends === 4);
  await Bun.sleep(500);
  monitor.kill();
  expect(await new Response(monitor.stdout).text()).not.toContain("weft-services");
  expect(ruleset()).toBe(before);
  node.node.sh("nft flush table inet weft-services");
  await eventually("it was noticed", async () =>
    (await services(() => true)).plan.some((t) => t.repaired > 0),
  );
  expect(await node.drift()).toEqual([]);
  expect(await answers(pods[0] as TestPod, "10.96.0.1")).toEqual(["pod0", "pod1"]);
});

test("health check ports and healthz say what kube-proxy's say", async () => {
  const spec =
    "{type: LoadBalancer, clusterIP: 10.96.0.2, externalTrafficPolicy: Local, healthCheckNodePort: 31000, " +
    "ports: [{port: 80, nodePort: 30081}]}";
  node.writeManifest("local", service("local", spec) + slice("l4", "local", 4, endpoints(4)));
  await services((s) => s.frontends === 7);
  const ask = (host: string, port: number, path = "/"): string =>
    node.outside
      .try("curl", "-s", "-i", "-m", "20", `http://${host}:${port}${path}`)
      .out.replaceAll("\r", "");
  await eventually("the port is open", async () => ask("172.30.0.11", 31000).includes("200 OK"));
  const answer = ask("172.30.0.11", 31000);
  expect(answer.toLowerCase()).toContain("x-load-balancing-endpoint-weight: 2");
  expect(JSON.parse(answer.split("\n\n")[1] ?? "")).toEqual({
    service: { namespace: "default", name: "local" },
    localEndpoints: 2,
    serviceProxyHealthy: true,
  });
  expect(ask("[fd00:30::11]", 31000)).toContain("200 OK");
  expect(ask("172.30.0.11", 10256, "/healthz")).toContain('"nodeEligible":true');
  expect(ask("172.30.0.11", 10256, "/livez")).toContain("200 OK");
  expect(ask("172.30.0.11", 10256, "/other")).toContain("404");
  node.writeManifest(
    "local",
    service("local", spec) + slice("l4", "local", 4, endpoints(4, "nodeName: node2")),
  );
  await eventually("nobody is here", async () => ask("172.30.0.11", 31000).includes("503"));
  // A balancer that sends here all the same gets no answer, and the node's own pods do.
  expect(await answers(node.outside, "172.30.0.11", 30081, 1500)).toEqual(["silent"]);
  expect(await answers(pods[0] as TestPod, "172.30.0.11", 30081)).toEqual(["pod0", "pod1"]);

  // A port that somebody holds is a problem of that service, and nothing else.
  const holder = inNetns(node.node.self.fd, () => createServer().listen(31001, "172.30.0.11"));
  const other = spec.replace("31000", "31001").replace("30081", "30082").replace("96.0.2", "96.0.3");
  node.writeManifest("held", service("held", other));
  const state = await services((s) => s.problems.length > 0);
  expect(state.problems[0]?.message).toContain("health check port 31001 cannot be opened on 172.30.0.11");
  holder.close();
  await eventually("it is tried again", async () => ask("172.30.0.11", 31001).includes("503"));
  node.removeManifest("held");
  node.removeManifest("local");
  await services((s) => s.frontends === 4 && s.problems.length === 0);
  await eventually("the port is closed", async () => ask("172.30.0.11", 31000) === "");
});

test("kube-proxy on the node: services are off until it is gone, or the settings say on", async () => {
  node.node.sh("nft add table ip nat");
  node.node.sh("nft add chain ip nat KUBE-SERVICES");
  const off = await services((s) => s.state === "off");
  expect(off.why).toContain("iptables chain KUBE-SERVICES (ip nat)");
  expect(ruleset()).not.toContain("weft-services");
  node.writeSettings(`${SETTINGS}services: {enabled: on, healthzPort: 0}\n`);
  const on = await services((s) => s.state === "active" && s.frontends === 4);
  expect(on.healthz).toBe("off");
  node.writeSettings(`${SETTINGS}services: {enabled: off}\n`);
  expect((await services((s) => s.state === "off")).why).toBe("services.enabled is off");
  expect(ruleset()).not.toContain("weft-services");
  node.writeSettings(SETTINGS);
  node.node.sh("nft delete table ip nat");
  node.node.sh("nft add table ip6 kube-proxy");
  expect((await services((s) => s.why?.includes("kube-proxy serves") === true)).why).toContain(
    "table ip6 kube-proxy",
  );
  node.node.sh("nft delete table ip6 kube-proxy");
  await services((s) => s.state === "active" && s.frontends === 4);
});

test("an own Node that vanishes takes no service down", async () => {
  const before = ruleset();
  node.removeNode("node1");
  node.writeManifest("second", service("second", "{clusterIP: 10.96.0.9, ports: [{port: 80}]}"));
  await eventually(
    "the second is known",
    async () => (await node.get<unknown[]>("/v1/services")).length === 2,
  );
  await Bun.sleep(500);
  expect(ruleset()).toBe(before);
  node.writeNode("node1", ["172.30.0.11", "fd00:30::11"], ["10.240.1.0/24", "fd00:240:1::/64"]);
  await services((s) => s.frontends === 5);
  node.removeManifest("second");
  await services((s) => s.frontends === 4);
});

test("nothing but services, beside another network plugin", async () => {
  await node.stop();
  const before = ruleset();
  await node.start("ready", ["--only", "services"]);
  const state = await services((s) => s.state === "active" && s.frontends === 4);
  expect(state.healthy).toBe(true);
  expect(ruleset()).toBe(before);
  expect(await answers(pods[0] as TestPod, "10.96.0.1")).toEqual(["pod0", "pod1"]);
  const add = await node.request("POST", "/v1/cni/add", "{}");
  expect([add.status, JSON.parse(add.text).message]).toEqual([404, "no such call: POST /v1/cni/add"]);
});
